"""What is seen in worktrees becomes a wish: on the real git and a real store, with events that the test makes up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from agent.adapters.watch import Seen
from agent.model.environment import Environment
from agent.runtime.edits import Edits
from tests.support.desk import ANNA, Desk
from tests.support.desk import desk as build
from tests.support.gitworld import GitWorld, git_world


class Scene:
    """One environment, `main`, live at the head of its branch."""

    def __init__(self, world: GitWorld, desk: Desk) -> None:
        self.world, self.desk = world, desk
        self.folder = world.checkout()
        self.environment = desk.live("main", world.fetch())
        self.edits = Edits(
            settings=lambda: desk.settings,
            store=desk.store,
            git=world.git,
            clock=desk.clock,
            release=lambda environment: None,
            wake=desk.woken.append,
        )
        desk.woken.clear()

    def sees(self, *paths: str, blind: str = "", after_s: float = 2.0) -> None:
        """A turn of the loop in which these were written."""

        def watch(folders: Callable[[], frozenset[Path]], *, stop: Event) -> Iterator[Seen]:
            folders()
            self.desk.clock.forward(after_s)
            yield Seen(frozenset(self.folder / path for path in paths), blind)

        self.edits.run(watch, Event())

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
