"""What is seen in worktrees becomes a wish: on the real git and a real store, with events that the test makes up."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from types import MappingProxyType

import pytest

from agent.adapters.watch import Seen
from agent.errors import OutsideError, RequestError
from agent.model.edit import Edit
from agent.model.environment import Environment
from agent.model.names import Slug
from agent.model.release import BindMount, Release
from agent.runtime.edits import Edits
from agent.runtime.edits_loop import EditsLoop
from tests.support.desk import ANNA, Desk
from tests.support.desk import desk as build
from tests.support.gitworld import GitWorld, git_world
from tests.support.plans import release, service


class Scene:
    """One environment, `main`, live at the head of its branch."""

    def __init__(self, world: GitWorld, desk: Desk) -> None:
        self.world, self.desk = world, desk
        self.folder = world.checkout()
        self.release: Release | None = None
        self.watched: frozenset[Path] = frozenset()
        self.environment = desk.live("main", world.fetch())
        self.edits = Edits(
            settings=lambda: desk.settings,
            store=desk.store,
            git=world.git,
            clock=desk.clock,
            release=lambda environment: self.release,
            wake=desk.woken.append,
        )
        self.loop = EditsLoop(
            settings=lambda: desk.settings, store=desk.store, git=world.git, clock=desk.clock, edits=self.edits
        )
        desk.woken.clear()

    def sees(self, *paths: str, blind: str = "", is_all: bool = True, after_s: float = 2.0) -> None:
        """A turn of the loop in which these were written."""

        def watch(folders: Callable[[], frozenset[Path]], *, stop: Event) -> Iterator[Seen]:
            self.watched = folders()
            self.desk.clock.forward(after_s)
            yield Seen(frozenset(self.folder / path for path in paths), blind, is_all)

        self.loop.run(watch, Event())

    def save(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)
        self.sees(path)

    @property
    def row(self) -> Environment:
        return self.desk.row(self.environment)

    def goes_live(self) -> None:
        self.desk.record.live(self.row, self.desk.current(self.environment))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with git_world() as world:
        scene = Scene(world, build(tmp_path))
        scene.sees()
        yield scene
        scene.desk.store.close()


def test_a_saved_file_is_what_is_wanted_and_a_deployment_tells_by_whom(scene: Scene) -> None:
    scene.save("src/app.py", "edited")
    row, current = scene.row, scene.desk.current(scene.environment)
    assert row.edited == row.target("") == current.revision == scene.world.git.checkout_revision("shop", row.slug)
    assert current.cause == f"edit of app.py by {row.edited_by}"
    assert current.caller == f"unix:{row.edited_by}"
    assert scene.desk.woken == [row.slug]
    assert f"edit by {current.caller}: {current.cause}" in scene.desk.events(row)


def test_an_edit_waits_for_the_deployment_that_goes_on(scene: Scene) -> None:
    scene.save("src/app.py", "first")
    first = scene.row.edited
    scene.save("src/app.py", "second")
    assert scene.row.edited == first
    scene.goes_live()
    scene.sees()
    assert scene.row.edited != first


def test_an_edit_never_overtakes_a_push_that_is_on_its_way(scene: Scene) -> None:
    pushed = scene.world.repository.commit("main", {"src/app.py": "pushed"})
    scene.desk.store.environments.update(scene.environment.slug, revision=scene.world.fetch())
    scene.save("src/app.py", "edited")
    assert scene.row.edited is None
    assert scene.row.target("") == pushed


def test_edits_that_are_undone_are_the_branch_again(scene: Scene) -> None:
    before = (scene.folder / "src/app.py").read_text()
    scene.save("src/app.py", "edited")
    scene.goes_live()
    scene.save("src/app.py", before)
    current = scene.desk.current(scene.environment)
    assert scene.row.edited is None
    assert current.revision == scene.row.revision
    assert current.cause.startswith("edits undone by")


def test_what_sleeps_takes_no_edits_until_it_is_awake(scene: Scene) -> None:
    scene.desk.operations.sleep(scene.environment.slug, caller=ANNA)
    scene.save("src/app.py", "edited")
    assert scene.row.edited is None
    scene.desk.operations.wake(scene.environment.slug, caller=ANNA)
    scene.goes_live()
    scene.sees()
    assert scene.row.edited is not None


def test_a_program_that_saves_all_the_time_gets_a_turn_now_and_then(scene: Scene) -> None:
    def saves(number: int) -> bool:
        (scene.folder / "src/app.py").write_text(f"{number}")
        scene.sees("src/app.py", after_s=0.3)
        if scene.desk.store.deployments.current(scene.environment.slug) is None:
            return False
        scene.goes_live()
        return True

    assert all(saves(number) for number in range(30))
    assert not any(saves(number) for number in range(30, 40))
    scene.sees(after_s=30.0)
    assert scene.desk.current(scene.environment)


def test_limits_of_the_kernel_are_told_once_and_everything_is_looked_at(scene: Scene) -> None:
    (scene.folder / "src/app.py").write_text("not told by an event")
    for _ in range(3):
        scene.sees(blind="sysctl -w fs.inotify.max_user_watches=1")
    told = [event for event in scene.desk.store.events.list() if "sysctl" in event.text]
    assert len(told) == 1
    assert scene.row.edited is not None


def test_what_was_kept_is_put_back_as_an_edit_by_who_asked(scene: Scene) -> None:
    scene.save("src/app.py", "edited")
    scene.goes_live()
    [kept] = scene.edits.kept(scene.row.slug, limit=10)
    scene.world.repository.commit("main", {"README.md": "pushed"})
    pushed = scene.world.fetch()
    scene.world.git.checkout("shop", scene.row.slug, pushed)
    scene.desk.store.environments.update(
        scene.row.slug, revision=pushed, deployed_revision=pushed, edited=None, edited_by="", edited_files=0
    )

    said = scene.edits.restore(scene.row.slug, kept.id, caller=ANNA)

    assert "is back" in said
    assert (scene.folder / "src/app.py").read_text() == "edited"
    assert (scene.row.edited_by, scene.row.edited_files) == ("anna", 1)
    assert scene.desk.current(scene.environment).caller == ANNA


def test_a_storm_of_files_is_taken_when_it_is_over(scene: Scene) -> None:
    def written(first: int) -> None:
        for at in range(first, first + 300):
            (scene.folder / f"{at}").write_text("x")
        scene.sees(*(f"{at}" for at in range(first, first + 300)), after_s=0.3)

    written(0)
    written(300)
    assert scene.row.edited is None
    scene.sees(after_s=0.5)
    assert scene.row.edited_files == 600


# -- what may go wrong: none of it ends the loop ----------------------------------------------------------------------


def breaks(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: BaseException) -> None:
    """The next call of it, and no other, raises."""
    works = getattr(owner, name)

    def broken(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(owner, name, works)
        raise error

    monkeypatch.setattr(owner, name, broken)


def test_an_environment_whose_project_left_the_settings_is_left_alone(scene: Scene) -> None:
    settings = scene.desk.settings
    scene.desk.settings = dataclasses.replace(settings, projects=MappingProxyType({}))
    for _ in range(2):
        scene.save("src/app.py", "edited")
    assert not scene.watched
    assert scene.row.edited is None
    scene.desk.settings = settings
    scene.sees()
    assert scene.watched
    assert scene.row.edited is not None


def test_a_file_whose_name_is_no_text_is_an_edit_and_is_told_as_text(scene: Scene) -> None:
    (scene.folder / os.fsdecode(b"caf\xe9.py")).write_text("x")
    scene.sees(is_all=False)
    assert scene.row.edited_files == 1
    [event] = [event for event in scene.desk.store.events.list() if event.kind == "edit"]
    event.text.encode()
    str(event.data["files"]).encode()


def test_a_look_that_fails_is_made_again_and_sees_everything(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError(28, "No space left on device"), OutsideError("busy", hint="", code="busy"), KeyError("x")):
        breaks(monkeypatch, scene.world.git, "snapshot", error)
        scene.save("src/app.py", f"saved before {error!r}")
        assert scene.desk.store.deployments.current(scene.environment.slug) is None
        scene.sees(after_s=16.0)
        scene.goes_live()


def test_a_store_that_is_away_for_a_while_ends_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    away = OutsideError("The disk is full.", hint="", code="disk-full")
    breaks(monkeypatch, scene.desk.store.environments, "all", away)
    scene.save("src/app.py", "edited")
    assert scene.row.edited is not None
    breaks(monkeypatch, scene.desk.store.events, "add", away)
    for _ in range(2):
        scene.sees(blind="sysctl -w fs.inotify.max_user_watches=1")
    assert len([event for event in scene.desk.store.events.list() if "sysctl" in event.text]) == 1


def test_a_path_that_nobody_may_look_at_is_heard(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (scene.folder / "src/app.py").write_text("edited")
    breaks(monkeypatch, Path, "lstat", PermissionError(13, "Permission denied"))
    scene.sees("src/app.py")
    assert scene.row.edited is not None


def test_an_edit_that_was_not_written_down_is_not_held_and_is_taken_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, scene.desk.store.events, "add", OSError(28, "No space left on device"))
    scene.save("src/app.py", "edited")
    held = scene.world.git.checkout_revision("shop", scene.row.slug)
    assert (scene.row.edited, held) == (None, scene.row.revision)
    scene.sees(after_s=16.0)
    held = scene.world.git.checkout_revision("shop", scene.row.slug)
    assert scene.row.edited == held != scene.row.revision


def test_a_worktree_that_somebody_removed_is_watched_as_soon_as_it_is_back(scene: Scene) -> None:
    assert scene.folder in scene.watched
    shutil.rmtree(scene.folder)
    scene.sees("")
    scene.sees()
    assert not scene.watched
    scene.world.git.checkout("shop", scene.row.slug, scene.world.fetch())
    scene.sees()
    assert {scene.folder, scene.folder / "src"} <= scene.watched


def test_folders_count_again_when_no_container_mounts_them_any_more(scene: Scene) -> None:
    scene.release = release(service("web", binds=(BindMount("src", "/src"),)))
    (scene.folder / "src/uploads").mkdir()
    scene.sees("src/uploads")
    scene.sees("src/uploads/x")
    assert scene.folder / "src/uploads" not in scene.watched
    scene.release = None
    scene.sees("README.md")
    scene.sees()
    assert scene.folder / "src/uploads" in scene.watched


def test_a_look_at_everything_is_not_narrowed_by_what_was_told(scene: Scene) -> None:
    (scene.folder / "README.md").write_text("not told by an event")
    (scene.folder / "src/app.py").write_text("told")
    scene.sees("src/app.py", is_all=False)
    assert scene.row.edited_files == 2


def test_what_was_written_into_a_new_folder_before_it_was_watched_is_taken(scene: Scene) -> None:
    (scene.folder / "new").mkdir()
    scene.sees("new")
    (scene.folder / "new/app.py").write_text("not told by an event")
    (scene.folder / "src/app.py").write_text("told")
    scene.sees("src/app.py")
    assert scene.row.edited_files == 2


def kept_once(scene: Scene) -> Edit:
    """An edit that was kept and then undone."""
    before = (scene.folder / "src/app.py").read_text()
    scene.save("src/app.py", "edited")
    scene.goes_live()
    scene.save("src/app.py", before)
    scene.goes_live()
    [kept] = scene.edits.kept(scene.row.slug, limit=10)
    return kept


def test_restoring_while_a_push_comes_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = kept_once(scene)
    scene.world.repository.commit("main", {"README.md": "pushed"})
    pushed, restore = scene.world.fetch(), scene.world.git.restore

    def pushes(project: str, slug: Slug, edit: Edit) -> None:
        restore(project, slug, edit)
        scene.desk.store.environments.update(slug, revision=pushed)

    monkeypatch.setattr(scene.world.git, "restore", pushes)
    with pytest.raises(RequestError) as refused:
        scene.edits.restore(scene.row.slug, kept.id, caller=ANNA)
    assert refused.value.http_status == 409
    assert scene.row.target("") == pushed


def test_restoring_before_the_worktree_is_where_its_environment_is_is_refused(scene: Scene) -> None:
    """It follows after the end of a deployment: what is in it until then is nobody's edit of what runs."""
    kept = kept_once(scene)
    scene.world.repository.commit("main", {"README.md": "pushed"})
    pushed = scene.desk.fetched(scene.environment, scene.world.fetch())
    scene.goes_live()
    with pytest.raises(RequestError) as refused:
        scene.edits.restore(pushed.slug, kept.id, caller=ANNA)
    assert refused.value.http_status == 409
    scene.world.checkout()
    scene.edits.restore(pushed.slug, kept.id, caller=ANNA)
    assert scene.row.edited is not None


def test_restored_files_are_never_taken_for_somebody_elses_edit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, restore = kept_once(scene), scene.world.git.restore
    loop = Thread(target=lambda: scene.sees(is_all=False))

    def seen(project: str, slug: Slug, edit: Edit) -> None:
        restore(project, slug, edit)
        loop.start()
        loop.join(0.5)  # it would be through with it by now

    monkeypatch.setattr(scene.world.git, "restore", seen)
    scene.edits.restore(scene.row.slug, kept.id, caller=ANNA)
    loop.join(20.0)
    assert not loop.is_alive()
    assert scene.row.edited_by == "anna"
    assert scene.desk.current(scene.environment).caller == ANNA
