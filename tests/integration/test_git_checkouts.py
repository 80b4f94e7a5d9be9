"""A checkout follows its branch in place, loses nothing that a person wrote, and trusts nothing that it finds there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.adapters.git import GitMirrors
from agent.errors import OutsideError
from agent.model.names import Revision, Slug
from tests.support.eventually import eventually
from tests.support.gitserver import Program, Symlink
from tests.support.gitworld import NOBODY, GitWorld, as_nobody, git_world, settings_for

MAIN = Slug("main")


@pytest.fixture
def world() -> Iterator[GitWorld]:
    with git_world() as found:
        yield found


def update(world: GitWorld) -> str:
    """Bring the checkout of `main` to the head of `main`; the ref of what was kept."""
    return world.git.checkout("shop", MAIN, world.fetch())


def kept(world: GitWorld, ref: str, path: str) -> str:
    return world.mirrored().git("show", f"{ref}:{path}")


def held(folder: Path) -> dict[str, str]:
    """Every file of a checkout with its text, `.git` aside."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".git"
    }


def rows(world: GitWorld) -> set[str]:
    """What git knows of worktrees."""
    return set(os.listdir(world.mirror / "worktrees"))  # noqa: PTH208


# -- following ---------------------------------------------------------------------------------------------------


def test_the_first_checkout_holds_the_revision_as_a_laptop_does(world: GitWorld) -> None:
    world.repository.commit("main", {"run": Program("x"), "link": Symlink("src/app.py")})
    old = os.umask(0o077)
    try:
        folder = world.checkout()
    finally:
        os.umask(old)
    assert world.git.checkout_revision("shop", MAIN) == world.repository.head()
    assert held(folder)["src/app.py"] == "print('one')\n"
    assert (folder / "run").stat().st_mode & 0o777 == 0o755
    assert (folder / "README.md").stat().st_mode & 0o777 == 0o644
    assert (folder / "link").readlink() == Path("src/app.py")


def test_git_works_in_a_checkout_for_the_person_who_goes_there(world: GitWorld) -> None:
    folder = world.checkout()
    done = subprocess.run(["git", "status", "--short"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_an_update_happens_in_place_and_leaves_untracked_files(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "node_modules" / "left-pad").mkdir(parents=True)
    (folder / "node_modules" / "left-pad" / "index.js").write_text("pad")
    inodes = folder.stat().st_ino, (folder / "src").stat().st_ino, (folder / "src/util.py").stat().st_ino
    world.repository.commit("main", {"src/app.py": "two", "new": "n"}, delete=["README.md"])
    assert update(world) == ""
    assert held(folder) == {
        "compose.yaml": "services: {}\n",
        "new": "n",
        "node_modules/left-pad/index.js": "pad",
        "src/app.py": "two",
        "src/util.py": "pass\n",
    }
    assert inodes == (folder.stat().st_ino, (folder / "src").stat().st_ino, (folder / "src/util.py").stat().st_ino)


def test_files_folders_and_links_may_take_each_others_place(world: GitWorld) -> None:
    folder = world.checkout()
    world.repository.commit("main", {"src": "a file", "README.md/x": "a folder"}, delete=["src", "README.md"])
    assert update(world) == ""
    assert held(folder) == {"README.md/x": "a folder", "compose.yaml": "services: {}\n", "src": "a file"}
    world.repository.commit("main", {"README.md": Symlink("src")}, delete=["README.md"])
    assert update(world) == ""
    assert (folder / "README.md").is_symlink()


def test_a_forced_push_and_an_older_revision_are_followed(world: GitWorld) -> None:
    old = world.fetch()
    folder = world.checkout()
    world.repository.commit("main", {"other": "x"}, force=True)
    update(world)
    assert held(folder) == {"other": "x"}
    world.git.checkout("shop", MAIN, old)
    assert set(held(folder)) == {"README.md", "compose.yaml", "src/app.py", "src/util.py"}


def test_nothing_new_is_nothing_to_do(world: GitWorld) -> None:
    folder = world.checkout()

    def written() -> tuple[int, int, int]:  # git may read it again, which moves the time of the last access
        found = (folder / "src/app.py").stat()
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns

    before = written()
    assert update(world) == ""
    assert written() == before


def test_checkouts_of_one_project_may_be_updated_at_once(world: GitWorld) -> None:
    slugs = [f"env-{number}" for number in range(6)]
    threads = [threading.Thread(target=world.checkout, args=(slug,)) for slug in slugs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for slug in slugs:
        assert held(world.git.checkout_dir("shop", Slug(slug)))["README.md"] == "# Shop\n"


# -- what a person wrote -----------------------------------------------------------------------------------------


def test_edits_are_kept_before_they_are_overwritten(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("edited")
    (folder / "src/util.py").unlink()
    world.repository.commit("main", {"src/app.py": "two"})
    ref = update(world)
    assert ref.startswith("refs/butai/edits/main/")
    assert kept(world, ref, "src/app.py") == "edited"
    assert world.mirrored().git("diff", "--name-status", f"{ref}^", ref) == "M\tsrc/app.py\nD\tsrc/util.py\n"
    assert held(folder)["src/app.py"] == "two"
    assert held(folder)["src/util.py"] == "pass\n"
    assert update(world) == ""


def test_edits_that_the_new_revision_does_not_touch_are_kept_too(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "README.md").write_text("edited")
    world.repository.commit("main", {"src/app.py": "two"})
    assert kept(world, update(world), "README.md") == "edited"
    assert held(folder)["README.md"] == "# Shop\n"


def test_an_edit_that_was_pushed_since_is_not_an_edit_any_more(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("two")
    world.repository.commit("main", {"src/app.py": "two"})
    assert update(world) == ""


@pytest.mark.parametrize("ignored", [False, True])
def test_an_untracked_file_in_the_way_is_kept(world: GitWorld, ignored: bool) -> None:
    if ignored:
        world.repository.commit("main", {".gitignore": ".env\nnew\n"})
    folder = world.checkout()
    (folder / ".env").write_text("SECRET=1")
    (folder / "new").write_text("a file where a folder comes")
    world.repository.commit("main", {".env": "SECRET=2", "new/file": "x"})
    ref = update(world)
    assert kept(world, ref, ".env") == "SECRET=1"
    assert kept(world, ref, "new") == "a file where a folder comes"
    assert held(folder)[".env"] == "SECRET=2"


def test_an_untracked_folder_in_the_way_is_kept(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "new").mkdir()
    (folder / "new" / "file").write_text("mine")
    world.repository.commit("main", {"new": "a file"})
    assert kept(world, update(world), "new/file") == "mine"
    assert held(folder)["new"] == "a file"


def test_a_staged_file_and_a_commit_of_ones_own_are_kept(world: GitWorld) -> None:
    folder = world.checkout()
    mine = ["git", "-c", "user.name=Ben", "-c", "user.email=ben@example.com"]
    (folder / "committed").write_text("c")
    subprocess.run(["git", "add", "committed"], cwd=folder, check=True)
    subprocess.run([*mine, "commit", "--quiet", "-m", "Mine"], cwd=folder, check=True)
    (folder / "staged").write_text("s")
    subprocess.run(["git", "add", "staged"], cwd=folder, check=True)
    world.repository.commit("main", {"src/app.py": "two"})
    ref = update(world)
    assert kept(world, ref, "committed") == "c"
    assert kept(world, ref, "staged") == "s"
    assert "Mine" in world.mirrored().git("log", "--format=%s", ref)
    assert "staged" not in held(folder)


def test_a_branch_that_a_person_made_is_not_moved(world: GitWorld) -> None:
    folder = world.checkout()
    subprocess.run(["git", "checkout", "--quiet", "-b", "mine"], cwd=folder, check=True)
    old = world.repository.head()
    world.repository.commit("main", {"src/app.py": "two"})
    update(world)
    assert world.mirrored().head("mine") == old
    assert held(folder)["src/app.py"] == "two"


def test_modes_that_a_container_set_are_no_edits(world: GitWorld) -> None:
    folder = world.checkout()
    for path in folder.rglob("*"):
        if path.name != ".git":
            path.chmod(0o777)
    world.repository.commit("main", {"src/app.py": "two"})
    assert update(world) == ""
    assert held(folder)["src/app.py"] == "two"


def test_edits_made_twice_are_kept_twice(world: GitWorld) -> None:
    folder = world.checkout()
    refs = []
    for text in ("first", "second"):
        (folder / "src/app.py").write_text(text)
        refs.append(update(world))
    assert [kept(world, ref, "src/app.py") for ref in refs] == ["first", "second"]
    assert refs == sorted(refs)


def test_kept_edits_outlive_the_checkout(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "src/app.py").write_text("edited")
    ref = update(world)
    world.git.remove_checkout("shop", MAIN)
    assert kept(world, ref, "src/app.py") == "edited"


# -- what a crash leaves -----------------------------------------------------------------------------------------


def test_an_interrupted_update_is_no_edit_and_is_finished(world: GitWorld) -> None:
    folder = world.checkout()
    old = world.repository.head()
    new = world.repository.commit("main", {"src/app.py": "two", "new": "n"}, delete=["README.md"])
    world.fetch()
    state = world.mirror / "worktrees" / "main" / "butai-revision"
    state.write_text(f"{old} {new}\n")
    (folder / "src/app.py").write_text("tw")
    (folder / "new").write_text("")
    (state.parent / "HEAD").write_text(f"{new}\n")
    for name in ("index.lock", "HEAD.lock", "butai-index.lock", "butai-index", "butai-look.lock", "butai-edits.lock"):
        (state.parent / name).write_text("torn")
    assert world.git.checkout_revision("shop", MAIN) is None
    assert update(world) == ""
    assert world.git.checkout_revision("shop", MAIN) == new
    assert held(folder) == {
        "compose.yaml": "services: {}\n",
        "new": "n",
        "src/app.py": "two",
        "src/util.py": "pass\n",
    }


def test_a_git_killed_in_mid_update_blocks_nothing(world: GitWorld) -> None:
    folder = world.checkout()
    world.repository.commit("main", {f"many/{number}": "x" * 2000 for number in range(3000)})
    revision = world.fetch()
    raised = []

    def checkout() -> None:
        try:
            world.git.checkout("shop", MAIN, revision)
        except OutsideError as error:
            raised.append(error)

    working = threading.Thread(target=checkout)
    working.start()
    eventually((folder / "many").exists, 20, pause_s=0.001)
    for pid in Path(f"/proc/self/task/{working.native_id}/children").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    working.join(60)
    assert raised
    assert world.git.checkout_revision("shop", MAIN) is None
    assert update(world) == ""
    assert len(list((folder / "many").iterdir())) == 3000


def test_a_lost_mirror_or_a_lost_folder_is_made_again(world: GitWorld) -> None:
    folder = world.checkout()
    (folder / "data").write_text("untracked")
    shutil.rmtree(world.mirror)
    assert world.git.checkout_revision("shop", MAIN) is None
    update(world)
    assert held(folder)["data"] == "untracked"
    assert world.git.checkout_identity("shop", MAIN) == "", "the mirror knew"
    shutil.rmtree(folder)
    assert world.git.checkout_revision("shop", MAIN) is None
    update(world)
    assert held(folder)["README.md"] == "# Shop\n"
    first = world.git.checkout_identity("shop", MAIN)
    world.repository.commit("main", {"later": "x"})
    update(world)
    assert world.git.checkout_identity("shop", MAIN) == first != ""
    shutil.rmtree(folder)
    update(world)
    assert world.git.checkout_identity("shop", MAIN) not in ("", first)


# -- what a container may have put there -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "folder", "link", "nothing"])
def test_a_git_that_a_container_put_there_is_never_believed(world: GitWorld, kind: str) -> None:
    folder = world.checkout()
    evil, ran = folder / "evil", world.root / "ran"
    subprocess.run(["git", "init", "--quiet", evil], check=True)
    for key in ("core.fsmonitor", "core.sshCommand", "filter.evil.smudge", "filter.evil.clean", "diff.evil.command"):
        subprocess.run(["git", "-C", evil, "config", key, f"touch {ran}; cat"], check=True)
    (folder / ".git").unlink()
    if kind == "file":
        (folder / ".git").write_text(f"gitdir: {evil}/.git\n")
    elif kind == "folder":
        shutil.copytree(evil / ".git", folder / ".git")
    elif kind == "link":
        (folder / ".git").symlink_to(evil / ".git")
    (folder / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (folder / "src/app.py").write_text("edited")
    world.repository.commit("main", {"src/app.py": "two", ".gitattributes": "* filter=evil diff=evil\n"})
    ref = update(world)
    assert kept(world, ref, "src/app.py") == "edited"
    assert held(folder)["src/app.py"] == "two"
    assert (folder / ".git").read_text() == f"gitdir: {world.mirror}/worktrees/main\n"
    assert not ran.exists()


def test_hooks_are_off(world: GitWorld) -> None:
    ran = world.root / "ran"
    world.fetch()
    for place in (world.mirror / "hooks", world.repository.path / "hooks"):
        place.mkdir(exist_ok=True)
        for name in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
            (place / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
            (place / name).chmod(0o755)
    folder = world.checkout()
    (folder / "src/app.py").write_text("edited")
    update(world)
    world.git.fetch("shop", "nope")
    assert not ran.exists()


def test_a_link_that_a_container_made_does_not_lead_an_update_out_of_the_tree(world: GitWorld) -> None:
    folder = world.checkout()
    outside = world.root / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("not yours")
    shutil.rmtree(folder / "src")
    (folder / "src").symlink_to(outside)
    world.repository.commit("main", {"src/app.py": "two", "src/new.py": "n"})
    update(world)
    assert held(outside) == {"app.py": "not yours"}
    assert (folder / "src/app.py").read_text() == "two"
    assert not (folder / "src").is_symlink()


# -- removing ----------------------------------------------------------------------------------------------------


def test_removing_leaves_nothing_and_may_be_done_twice(world: GitWorld) -> None:
    folder = world.checkout()
    world.checkout("other")
    outside = world.root / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (folder / "out").symlink_to(outside)
    world.git.remove_checkout("shop", MAIN)
    world.git.remove_checkout("shop", MAIN)
    assert not folder.exists()
    assert rows(world) == {"other"}
    assert (outside / "file").exists()
    assert world.git.checkout_revision("shop", MAIN) is None
    assert held(world.checkout())["README.md"] == "# Shop\n"


def test_a_checkout_of_a_project_that_left_the_settings_can_still_be_removed(world: GitWorld) -> None:
    folder = world.checkout()
    settings = settings_for(world.settings.state_dir, "/elsewhere")
    world.settings = settings
    world.git.remove_checkout("gone", MAIN)
    assert not folder.exists()


# -- root's files, for an agent that is not root -----------------------------------------------------------------

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of root for another user")


def nobodys(world: GitWorld) -> None:
    """Give the agent's state to the user that will be the agent."""
    state = world.settings.state_dir
    state.mkdir(exist_ok=True)
    for place in (state, *state.rglob("*")):
        os.chown(place, NOBODY, NOBODY, follow_symlinks=False)


def given(places: list[Path]) -> Callable[[Path], None]:
    """What the helper container does: root gives everything in a folder to the agent."""

    def reclaim(place: Path) -> None:
        places.append(place)
        for inner in (place, *place.rglob("*")):
            os.chown(inner, NOBODY, NOBODY, follow_symlinks=False)

    return reclaim


def check_out(reclaim: Callable[[Path], None], state: str, remote: str, revision: str) -> str:
    settings = settings_for(Path(state), remote)
    git = GitMirrors(lambda: settings, reclaim=reclaim)
    assert git.fetch("shop", "main") == revision
    return git.checkout("shop", MAIN, Revision(revision))


def remove(reclaim: Callable[[Path], None], state: str, remote: str) -> str:
    settings = settings_for(Path(state), remote)
    GitMirrors(lambda: settings, reclaim=reclaim).remove_checkout("shop", MAIN)
    return ""


@needs_root
class TestAsAnAgentThatIsNotRoot:
    """The real thing: another uid, a folder of root, and a helper that is asked only when it is needed."""

    @pytest.fixture
    def folder(self, world: GitWorld) -> Path:
        nobodys(world)
        self.bring(world, [])
        return world.git.checkout_dir("shop", MAIN)

    def bring(self, world: GitWorld, asked: list[Path]) -> str:
        where = (str(world.settings.state_dir), world.server.url("shop"), world.repository.head())
        return as_nobody(check_out, *where, reclaim=given(asked))

    def test_folders_of_root_beside_the_sources_are_nobodys_business(self, world: GitWorld, folder: Path) -> None:
        (folder / "node_modules" / "x").mkdir(parents=True)
        (folder / "node_modules" / "x" / "index.js").write_text("x")
        (folder / "src" / "__pycache__").mkdir()
        world.repository.commit("main", {"src/app.py": "two"})
        asked: list[Path] = []
        assert self.bring(world, asked) == ""
        assert (folder / "src/app.py").read_text() == "two"
        assert asked == []

    def test_a_source_folder_that_root_took_is_taken_back_alone(self, world: GitWorld, folder: Path) -> None:
        for place in (folder / "src", folder / "src/app.py", folder / "src/util.py"):
            os.chown(place, 0, 0)
        (folder / "uploads").mkdir()
        world.repository.commit("main", {"src/app.py": "two", "src/deep/new.py": "n"}, delete=["src/util.py"])
        asked: list[Path] = []
        assert self.bring(world, asked) == ""
        assert set(held(folder)) == {"README.md", "compose.yaml", "src/app.py", "src/deep/new.py"}
        assert (folder / "src/app.py").read_text() == "two"
        assert asked == [folder / "src"]
        assert (folder / "uploads").owner() == "root"

    def test_a_removed_file_in_a_folder_of_root_goes(self, world: GitWorld, folder: Path) -> None:
        os.chown(folder / "src", 0, 0)
        world.repository.commit("main", {}, delete=["src/util.py"])
        self.bring(world, [])
        assert not (folder / "src/util.py").exists()

    def test_a_whole_tree_that_root_took_is_taken_back(self, world: GitWorld, folder: Path) -> None:
        for place in (folder, *folder.rglob("*")):
            os.chown(place, 0, 0)
            place.chmod(0o700 if place.is_dir() else 0o600)
        world.repository.commit("main", {"src/app.py": "two", "new": "n"})
        self.bring(world, [])
        assert (folder / "src/app.py").read_text() == "two"

    def test_what_lies_in_a_folder_that_only_root_may_enter_is_kept(self, world: GitWorld, folder: Path) -> None:
        """Git cannot see it, so it says nothing of it before it fails."""
        closed = folder / "src" / "later"
        closed.mkdir()
        (closed / "page.html").write_text("root's")
        closed.chmod(0o700)
        (folder / "src").chmod(0o500)
        world.repository.commit("main", {"src/later/page.html": "theirs"})
        ref = self.bring(world, [])
        assert (closed / "page.html").read_text() == "theirs"
        assert kept(world, ref, "src/later/page.html") == "root's"

    def test_edits_by_root_that_only_root_can_read_are_kept(self, world: GitWorld, folder: Path) -> None:
        edited = folder / "src/app.py"
        edited.write_text("edited")
        os.chown(edited, 0, 0)
        edited.chmod(0o600)
        world.repository.commit("main", {"src/app.py": "two"})
        ref = self.bring(world, [])
        assert kept(world, ref, "src/app.py") == "edited"
        assert edited.read_text() == "two"

    def test_removing_takes_folders_of_root_with_it(self, world: GitWorld, folder: Path) -> None:
        deep = folder / "node_modules" / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "index.js").write_text("x")
        asked: list[Path] = []
        where = (str(world.settings.state_dir), world.server.url("shop"))
        as_nobody(remove, *where, reclaim=given(asked))
        assert not folder.exists()
        assert asked == [folder]

    def test_read_only_folders_stop_nothing(self, world: GitWorld, folder: Path) -> None:
        cache = folder / "go" / "pkg"
        cache.mkdir(parents=True)
        (cache / "mod").write_text("x")
        for place in (cache / "mod", cache, folder / "src"):
            os.chown(place, NOBODY, NOBODY)
            place.chmod(0o555)
        world.repository.commit("main", {"src/app.py": "two"})
        self.bring(world, [])
        assert (folder / "src/app.py").read_text() == "two"
        as_nobody(remove, str(world.settings.state_dir), world.server.url("shop"), reclaim=given([]))
        assert not folder.exists()
