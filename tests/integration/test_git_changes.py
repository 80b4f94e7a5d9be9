"""What differs between two revisions, and the contents of it, from one git process: exactly what git itself says."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import NeedsRebuild, OutsideError
from agent.model.change import Change, Kind
from agent.model.names import Revision
from tests.support.gitserver import Content, Program, Symlink
from tests.support.gitworld import GitWorld, git_world

LIMIT = 1024 * 1024
KINDS = {"A": Kind.ADDED, "M": Kind.MODIFIED, "D": Kind.DELETED, "T": Kind.RETYPED}


@pytest.fixture(scope="module", name="world")
def world_fixture() -> Iterator[GitWorld]:
    with git_world() as world:
        yield world


def committed(world: GitWorld, branch: str, files: dict[str, Content | Symlink | Program], **how: object) -> Revision:
    world.repository.commit(branch, files, **how)  # type: ignore[arg-type]
    return world.fetch(branch)


def by_git(world: GitWorld, old: Revision, new: Revision) -> set[Change]:
    """The same question to `git diff-tree`."""
    raw = world.mirrored().git("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new)
    fields = iter(raw.split("\0")[:-1])
    found = set()
    for about in fields:
        before, after, _, blob, letter = about.lstrip(":").split(" ")
        gone = letter == "D"
        old_mode = "" if letter == "A" else before
        found.add(Change(next(fields), KINDS[letter], "" if gone else after, "" if gone else blob, old_mode))
    return found


NAMES = st.sampled_from(["a", "b", "dir", "ü", "a.b", "a-b", "-x", "new\nline", '"q"'])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
CONTENTS = st.one_of(
    st.sampled_from(["one", "two"]),
    st.sampled_from(["one", "two"]).map(Program),
    st.sampled_from(["one", "x"]).map(Symlink),
)


def without_conflicts(files: dict[str, Content | Symlink | Program]) -> dict[str, Content | Symlink | Program]:
    """A path is a file or a folder, not both."""
    return {path: content for path, content in files.items() if not any(o.startswith(f"{path}/") for o in files)}


TREES = st.dictionaries(PATHS, CONTENTS, min_size=1, max_size=12).map(without_conflicts)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=TREES, after=TREES)
def test_changes_are_what_git_says(
    world: GitWorld, before: dict[str, Content | Symlink | Program], after: dict[str, Content | Symlink | Program]
) -> None:
    old = committed(world, "random", before, force=True)
    new = committed(world, "random", after, force=True)
    changes = world.git.changes("shop", old, new)
    assert set(changes) == by_git(world, old, new)
    assert [change.path for change in changes] == sorted(change.path for change in changes)
    contents = world.git.blobs("shop", [change.blob for change in changes if change.blob], limit=LIMIT)
    for change in changes:
        if change.blob:
            wanted = after[change.path]
            text = (
                wanted.target if isinstance(wanted, Symlink) else wanted.text if isinstance(wanted, Program) else wanted
            )
            assert contents[change.blob] == (text.encode() if isinstance(text, str) else text)


def test_a_submodule_that_moves_is_a_change(world: GitWorld) -> None:
    old = committed(world, "module", {"x": "x"}, base="main")
    for pointed in ("1" * 40, "2" * 40):
        stream = f"commit refs/heads/module\ncommitter A <a@example.com> 1700000000 +0000\ndata 1\nm\nfrom {old}\n"
        world.repository.git("fast-import", "--quiet", "--force", stdin=f"{stream}M 160000 {pointed} lib\n".encode())
        new = world.fetch("module")
        assert set(world.git.changes("shop", old, new)) == by_git(world, old, new)
    assert world.git.changes("shop", old, new) == (Change("lib", Kind.ADDED, "160000", "2" * 40),)


def test_the_same_revision_has_no_changes(world: GitWorld) -> None:
    head = world.fetch()
    assert world.git.changes("shop", head, head) == ()


def test_what_is_fetched_later_is_found_by_the_process_that_was_started_before(world: GitWorld) -> None:
    old = committed(world, "later", {"big": "one"}, base="main")
    world.git.changes("shop", old, old)
    running = pids(world)
    for at in range(5):
        new = committed(world, "later", {"big": f"{at}" * 100, f"f{at}": "x"})
        [change] = [change for change in world.git.changes("shop", old, new) if change.path == "big"]
        assert world.git.blobs("shop", [change.blob], limit=LIMIT) == {change.blob: f"{at}".encode() * 100}
    assert pids(world) == running, "it was started again"


def test_a_repack_and_a_killed_process_go_unnoticed(world: GitWorld) -> None:
    old = committed(world, "packed", {"f": "one"}, base="main")
    new = committed(world, "packed", {"f": "two"})
    [change] = world.git.changes("shop", old, new)
    world.mirrored().git("repack", "-adq")
    assert world.git.blobs("shop", [change.blob], limit=LIMIT) == {change.blob: b"two"}
    for pid in pids(world):
        os.kill(pid, signal.SIGKILL)
    assert world.git.blobs("shop", [change.blob], limit=LIMIT) == {change.blob: b"two"}
    world.git.maintain("shop")
    assert world.git.changes("shop", old, new) == (change,)


def test_too_much_asks_for_a_rebuild_and_the_next_question_is_answered(world: GitWorld) -> None:
    old = committed(world, "large", {"f": "one"}, base="main")
    new = committed(world, "large", {"f": "x" * 100_000})
    [change] = world.git.changes("shop", old, new)
    with pytest.raises(NeedsRebuild):
        world.git.blobs("shop", [change.blob], limit=99_999)
    assert len(world.git.blobs("shop", [change.blob], limit=100_000)[change.blob]) == 100_000


@pytest.mark.parametrize("name", ["0" * 40, "HEAD", "--batch-all-objects", "a\nb", "refs/heads/main", ""])
def test_what_the_mirror_does_not_have_is_an_error_and_never_an_option(world: GitWorld, name: str) -> None:
    world.fetch()
    with pytest.raises(OutsideError):
        world.git.blobs("shop", [name], limit=LIMIT)


def test_threads_get_their_own_answers(world: GitWorld) -> None:
    old = committed(world, "many", {"x": "x"}, base="main")
    new = committed(world, "many", {f"f{at}": f"content {at}" for at in range(1200)})
    changes = world.git.changes("shop", old, new)
    wrong: list[str] = []

    def ask(part: int) -> None:
        mine = changes[part::4]
        contents = world.git.blobs("shop", [change.blob for change in mine], limit=LIMIT)
        wrong.extend(
            change.path
            for change in mine
            if contents[change.blob] != f"content {change.path.removeprefix('f')}".encode()
        )

    threads = [threading.Thread(target=ask, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(changes) == 1200
    assert wrong == []


def test_a_mirror_that_was_lost_is_read_anew(world: GitWorld) -> None:
    old = committed(world, "lost", {"f": "one"}, base="main")
    new = committed(world, "lost", {"f": "two"})
    before = world.git.changes("shop", old, new)
    world.mirror.rename(world.mirror.with_suffix(".gone"))
    assert world.git.changes("shop", old, new) == before


def pids(world: GitWorld) -> list[int]:
    """The git processes that are kept for this mirror."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            argv = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"cat-file" in argv and f"--git-dir={world.mirror}".encode() in argv and b"--batch" in argv:
            found.append(int(place.name))
    return found
