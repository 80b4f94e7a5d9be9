"""What people change in a checkout becomes a commit of the mirror, and nothing that they see there is touched by it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters import process
from agent.errors import RequestError
from agent.model.edit import Edit
from agent.model.names import Revision, Slug
from tests.support.gitserver import Symlink
from tests.support.gitworld import GitWorld, git_world

MAIN = Slug("main")


@pytest.fixture
def world() -> Iterator[GitWorld]:
    with git_world() as found:
        yield found


def take(world: GitWorld, *paths: str, apart: tuple[str, ...] = (), user: str = "") -> Edit | None:
    head = Revision(world.repository.head())
    return world.git.snapshot("shop", MAIN, head, apart=apart, paths=paths, user=user)


def taken(world: GitWorld, *, apart: tuple[str, ...] = (), user: str = "") -> Edit:
    edit = take(world, apart=apart, user=user)
    assert edit is not None
    return edit


def content(world: GitWorld, edit: Edit, path: str) -> str:
    return world.mirrored().git("show", f"{edit.revision}:{path}")


def status(folder: Path) -> str:
    return subprocess.run(["git", "status", "--short"], cwd=folder, capture_output=True, text=True, check=True).stdout


# -- keeping ---------------------------------------------------------------------------------------------------------


def test_a_checkout_that_nobody_touched_holds_no_edit(world: GitWorld) -> None:
    world.checkout()
    assert take(world) is None
    assert take(world, "src/app.py", "src") is None
    assert world.git.edits("shop", MAIN, limit=10) == ()


def test_changed_new_and_removed_files_are_one_edit(world: GitWorld) -> None:
    folder = world.checkout()
    base = world.repository.head()
    (folder / "src/app.py").write_text("print('edited')\n")
    (folder / "src/new.py").write_text("new\n")
    (folder / "README.md").unlink()

    edit = taken(world)

    assert edit.files == ("README.md", "src/app.py", "src/new.py")
    assert edit.base == base
    assert content(world, edit, "src/app.py") == "print('edited')\n"
    assert world.git.checkout_revision("shop", MAIN) == edit.revision
    assert {change.path for change in world.git.changes("shop", Revision(base), edit.revision)} == set(edit.files)
    assert take(world) is None, "nothing changed since"


def test_git_tells_the_person_there_what_it_would_tell_anywhere(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("edited")
    (folder / "src/new.py").write_text("new")
    taken(world)
    assert status(folder) == " M src/app.py\n?? src/new.py\n"


def test_each_save_is_an_edit_of_its_own_and_counts_from_the_branch(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("first")
    first = taken(world)
    (folder / "src/util.py").write_text("second")
    second = taken(world)
    assert second.files == ("src/app.py", "src/util.py")
    assert [edit.id for edit in world.git.edits("shop", MAIN, limit=10)] == [second.id, first.id]
    assert world.git.edits("shop", MAIN, limit=1) == (second,)


def test_an_edit_back_to_the_branch_is_the_branch_again(world: GitWorld) -> None:
    folder = world.checkout()
    before = (folder / "src/app.py").read_text()
    (folder / "src/app.py").write_text("edited")
    taken(world)
    (folder / "src/app.py").write_text(before)
    edit = taken(world)
    assert (edit.revision, edit.files) == (world.repository.head(), ())
    assert world.git.checkout_revision("shop", MAIN) == world.repository.head()
    (folder / "src/app.py").write_text("edited again")
    assert taken(world).files == ("src/app.py",)


def test_places_that_are_gone_or_ignored_do_no_harm(
    world: GitWorld,
) -> None:
    world.repository.commit("main", {".gitignore": "*.log\n", "a/b/c.py": "c", "gone.py": "g"})
    folder = world.checkout()
    (folder / "src/app.py").write_text("named")
    (folder / "src/util.py").write_text("not named")
    (folder / "app.log").write_text("ignored")
    (folder / "new.py").write_text("new")
    (folder / "a/b/c.py").unlink()
    (folder / "a/b").rmdir()
    (folder / "gone.py").unlink()
    edit = take(world, "src/app.py", "app.log", "new.py", "a/b/c.py", "src/.app.py.swp", "never/was/there")
    assert edit is not None
    assert {"a/b/c.py", "new.py", "src/app.py"} <= set(edit.files)
    assert "app.log" not in edit.files


def test_only_named_places_are_looked_at_and_the_rest_by_the_next_thorough_look(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("named")
    (folder / "README.md").write_text("not named")
    first = take(world, "src/app.py")
    assert first is not None
    assert first.files == ("src/app.py",)
    assert taken(world).files == ("README.md", "src/app.py")


def test_ignored_files_and_the_agents_own_checkout_are_no_edits(world: GitWorld) -> None:
    world.repository.commit("main", {".gitignore": "node_modules/\n*.log\n"})
    folder = world.checkout()
    (folder / "node_modules/left-pad").mkdir(parents=True)
    (folder / "node_modules/left-pad/index.js").write_text("pad")
    (folder / "app.log").write_text("line")
    assert take(world) is None
    world.repository.commit("main", {"src/app.py": "two", "more/new.py": "n"})
    world.checkout()
    assert take(world) is None


def test_a_touched_file_and_a_changed_mode_are_no_edits(world: GitWorld) -> None:
    folder = world.checkout()
    os.utime(folder / "src/app.py", (1, 1))
    (folder / "README.md").chmod(0o777)
    assert take(world) is None


def test_new_files_where_containers_write_are_no_edits_but_changed_ones_are(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/cache").mkdir()
    (folder / "src/cache/x").write_text("written by a container")
    (folder / "src/app.pyc").write_text("written by a container")
    assert take(world, apart=("src",)) is None
    assert take(world, apart=(".",)) is None
    (folder / "src/app.py").write_text("edited")
    assert taken(world, apart=(".",)).files == ("src/app.py",)


def test_an_edit_names_the_owner_of_the_file_that_was_changed_last(world: GitWorld) -> None:
    if os.geteuid():
        pytest.skip("only root may give files away")
    folder = world.checkout()
    (folder / "src/app.py").write_text("by root")
    (folder / "src/util.py").write_text("by somebody")
    os.chown(folder / "src/util.py", 65534, -1)
    edit = taken(world)
    assert edit.user == pwd.getpwuid(65534).pw_name
    [listed] = world.git.edits("shop", MAIN, limit=10)
    assert listed == edit
    assert world.git.commit("shop", edit.revision).author == edit.user
    os.chown(folder / "src/util.py", 54321, -1)
    (folder / "src/util.py").write_text("by nobody that the host knows")
    os.chown(folder / "src/util.py", 54321, -1)
    assert taken(world).user == "54321"


def test_an_edit_costs_few_processes_and_looking_costs_one(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = world.checkout()
    ran: list[str] = []
    run = process.run

    def counted(argv: list[str], **options: object) -> process.Completed:
        ran.append(argv[3])
        return run(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "run", counted)
    take(world, "src/app.py")
    assert len(ran) == 1
    ran.clear()
    (folder / "src/app.py").write_text("edited")
    assert take(world, "src/app.py")
    assert len(ran) == 2
    assert world.mirrored().git("fsck", "--no-dangling").strip() == ""


def test_an_edit_in_two_thousand_files_takes_a_fraction_of_a_second(world: GitWorld) -> None:
    world.repository.commit("main", {f"pkg{at % 40}/module{at}.py": f"{at}\n" * 50 for at in range(2000)})
    folder = world.checkout()
    take(world)
    (folder / "pkg1/module1.py").write_text("edited")
    began = time.perf_counter()
    assert take(world, "pkg1/module1.py")
    assert time.perf_counter() - began < 0.5


def test_a_checkout_holds_an_edit_only_when_it_was_written_down(world: GitWorld) -> None:
    folder, head = world.checkout(), Revision(world.repository.head())

    def killed(edit: Edit) -> None:
        assert world.git.checkout_revision("shop", MAIN) == head
        raise KeyboardInterrupt

    (folder / "src/app.py").write_text("edited")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            world.git.snapshot("shop", MAIN, head, apart=(), accept=killed)
        assert world.git.checkout_revision("shop", MAIN) == head
    edit = taken(world)
    assert (edit.base, edit.files) == (head, ("src/app.py",))
    assert world.git.checkout_revision("shop", MAIN) == edit.revision


def test_a_kill_after_an_edit_was_written_down_changes_no_file(world: GitWorld) -> None:
    folder, head = world.checkout(), Revision(world.repository.head())
    wanted: list[Revision] = []

    def killed(edit: Edit) -> None:
        wanted.append(edit.revision)
        raise KeyboardInterrupt

    (folder / "src/app.py").write_text("edited")
    (folder / "src/new.py").write_text("new")
    with pytest.raises(KeyboardInterrupt):
        world.git.snapshot("shop", MAIN, head, apart=(), accept=killed)
    world.git.checkout("shop", MAIN, wanted[0])
    assert (folder / "src/app.py").read_text() == "edited"
    assert (folder / "src/new.py").read_text() == "new"
    assert take(world) is None


def test_a_checkout_that_holds_an_edit_already_is_left_as_it_is(world: GitWorld) -> None:
    folder, head = world.checkout(), Revision(world.repository.head())
    (folder / "src/app.py").write_text("edited")
    edit = taken(world)
    assert world.git.checkout("shop", MAIN, edit.revision) == ""
    (folder / "src/util.py").write_text("edited")
    assert status(folder) == " M src/app.py\n M src/util.py\n"
    assert taken(world).base == head


def test_a_checkout_that_somebody_removed_has_no_folders(world: GitWorld) -> None:
    shutil.rmtree(world.checkout())
    assert world.git.folders("shop", MAIN, apart=()) == ()


# -- what an update does with them -----------------------------------------------------------------------------------


def test_a_push_overwrites_an_edit_and_names_where_it_is_kept(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("edited")
    (folder / "src/new.py").write_text("new")
    edit = taken(world)
    world.repository.commit("main", {"README.md": "two"})

    ref = world.git.checkout("shop", MAIN, world.fetch())

    assert ref == f"refs/butai/edits/main/{edit.id}"
    assert (folder / "src/app.py").read_text() == "print('one')\n"
    assert not (folder / "src/new.py").exists()
    assert (folder / "README.md").read_text() == "two"
    assert status(folder) == ""
    assert take(world) is None


def test_what_was_saved_after_the_last_look_is_kept_by_the_update_too(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("seen")
    seen = taken(world)
    (folder / "src/app.py").write_text("not seen")
    world.repository.commit("main", {"src/app.py": "two"})

    ref = world.git.checkout("shop", MAIN, world.fetch())

    newest, before = world.git.edits("shop", MAIN, limit=10)
    assert ref.endswith(newest.id)
    assert before == seen
    assert content(world, newest, "src/app.py") == "not seen"
    assert (newest.base, newest.files) == (seen.base, ("src/app.py",))
    assert (folder / "src/app.py").read_text() == "two"


def test_a_commit_made_in_the_checkout_survives_edits_and_pushes(world: GitWorld) -> None:
    folder = world.checkout()
    who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.com"]
    (folder / "src/app.py").write_text("committed")
    subprocess.run(["git", *who, "commit", "--quiet", "--all", "--message", "mine"], cwd=folder, check=True)
    own = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    edit = taken(world)
    assert own.strip() in world.mirrored().git("rev-list", edit.revision).split()
    world.repository.commit("main", {"src/app.py": "two"})
    world.git.checkout("shop", MAIN, world.fetch())
    assert (folder / "src/app.py").read_text() == "two"
    assert take(world) is None


# -- getting them back -----------------------------------------------------------------------------------------------


def test_a_restored_edit_brings_its_files_back_and_leaves_what_was_pushed(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("edited")
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/new.py").write_text("new")
    (folder / "src/util.py").unlink()
    edit = taken(world)
    world.repository.commit("main", {"README.md": "two", "src/app.py": "two"})
    world.git.checkout("shop", MAIN, world.fetch())

    world.git.restore("shop", MAIN, edit)

    assert (folder / "src/app.py").read_text() == "edited"
    assert (folder / "deep/er/new.py").read_text() == "new"
    assert not (folder / "src/util.py").exists()
    assert (folder / "README.md").read_text() == "two"
    again = take(world, user="anna")
    assert again is not None
    assert (again.user, again.files) == ("anna", edit.files)


def test_restoring_never_overwrites_what_git_does_not_know(world: GitWorld) -> None:
    world.repository.commit("main", {".gitignore": ""})
    folder = world.checkout()
    (folder / "data.db").write_text("edited")
    edit = taken(world)
    world.repository.commit("main", {".gitignore": "*.db\n"})
    world.git.checkout("shop", MAIN, world.fetch())
    (folder / "data.db").write_text("precious")
    with pytest.raises(RequestError, match="put back"):
        world.git.restore("shop", MAIN, edit)
    assert (folder / "data.db").read_text() == "precious"


def test_a_patch_applies_to_the_revision_that_was_edited(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_bytes(b"\xff\x00binary")
    (folder / "src/new.py").write_text("new\n")
    (folder / "README.md").unlink()
    edit = taken(world)
    patch = world.git.patch("shop", edit)
    clone = world.root / "clone"
    subprocess.run(["git", "clone", "--quiet", world.server.url("shop"), str(clone)], check=True)
    subprocess.run(["git", "checkout", "--quiet", edit.base], cwd=clone, check=True)
    subprocess.run(["git", "apply", "--index", "-"], cwd=clone, input=patch, check=True)
    tree = subprocess.run(["git", "write-tree"], cwd=clone, capture_output=True, text=True, check=True).stdout.strip()
    assert tree == world.mirrored().git("rev-parse", f"{edit.revision}^{{tree}}").strip()


# -- where to look ---------------------------------------------------------------------------------------------------


def test_only_folders_in_which_a_change_may_count_are_watched(world: GitWorld) -> None:
    world.repository.commit("main", {".gitignore": "node_modules/\n", "web/a/b.txt": "x", "loop": Symlink("..")})
    folder = world.checkout()
    (folder / "web/node_modules/left-pad").mkdir(parents=True)
    (folder / "web/empty").mkdir()
    (folder / "src/cache").mkdir()
    found = world.git.folders("shop", MAIN, apart=("src",))
    assert sorted(found) == ["", "src", "web", "web/a", "web/empty"]
    paths = ("web/node_modules/x", "web/empty", "src/app.py", "src/new.py")
    assert world.git.ignored("shop", MAIN, paths) == {"web/node_modules/x", "src/new.py"}
