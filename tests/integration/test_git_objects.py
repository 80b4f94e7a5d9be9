"""Commits, files and archives come from git's objects, whatever the repository says about itself."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.adapters.process import ProgramError
from agent.errors import DeployError
from tests.support.eventually import eventually
from tests.support.gitserver import Program, Symlink
from tests.support.gitworld import GitWorld, git_world


@pytest.fixture
def world() -> Iterator[GitWorld]:
    with git_world() as found:
        yield found


def test_a_commit_says_who_wrote_what_and_when(world: GitWorld) -> None:
    world.repository.commit("main", {"a": "b"}, message="Größer & <b>besser</b>\n\nBody.")
    commit = world.git.commit("shop", world.fetch())
    assert commit.author == "Anna Author"
    assert commit.subject == "Größer & <b>besser</b>"
    assert commit.committed_at == datetime(2023, 11, 14, 22, 15, 20, tzinfo=UTC)


def test_every_file_is_listed_with_its_mode(world: GitWorld) -> None:
    files: dict[str, str | bytes | Symlink | Program] = {
        "bin/run": Program("#!/bin/sh\n"),
        "link": Symlink("../out"),
        "a b/ü\n.txt": "x",
    }
    world.repository.commit("main", files, delete=["src/app.py", "src/util.py"])
    assert world.git.files("shop", world.fetch()) == {
        "README.md": "100644",
        "a b/ü\n.txt": "100644",
        "bin/run": "100755",
        "compose.yaml": "100644",
        "link": "120000",
    }


def test_a_file_is_read_from_the_revision_and_not_from_the_tree(world: GitWorld) -> None:
    old = world.fetch()
    folder = world.checkout()
    (folder / "README.md").write_text("edited")
    world.repository.commit("main", {"README.md": "two"})
    assert world.git.read("shop", old, "README.md", limit=100) == b"# Shop\n"
    assert world.git.read("shop", world.fetch(), "README.md", limit=100) == b"two"


@pytest.mark.parametrize(
    "path", ["nope", "src/nope", "README.md/x", "../README.md", "/etc/passwd", "", "src/../README.md"]
)
def test_a_file_that_is_not_in_the_revision_is_none(world: GitWorld, path: str) -> None:
    with contextlib.suppress(DeployError):  # "" is the root folder
        assert world.git.read("shop", world.fetch(), path, limit=100) is None


def test_what_is_no_regular_file_or_too_large_is_refused(world: GitWorld) -> None:
    world.repository.commit("main", {"link": Symlink("/etc/passwd"), "big": b"x" * 1001})
    revision = world.fetch()
    assert world.git.read("shop", revision, "big", limit=1001) == b"x" * 1001
    for path in ("link", "src", "big"):
        with pytest.raises(DeployError) as caught:
            world.git.read("shop", revision, path, limit=1000)
        assert path in caught.value.message


def test_an_archive_holds_the_files_as_a_laptop_has_them(world: GitWorld) -> None:
    world.repository.commit("main", {"bin/run": Program("x"), "link": Symlink("src/app.py")})
    members = world.archived(world.fetch())
    assert members["README.md"].mode == 0o644
    assert members["bin/run"].mode == members["bin"].mode == 0o755
    assert members["link"].linkname == "src/app.py"
    assert members["README.md"].mtime == 1_700_000_120


def test_attributes_of_the_repository_leave_nothing_out_and_change_nothing(world: GitWorld) -> None:
    world.repository.commit(
        "main",
        {
            ".gitattributes": "src export-ignore\nREADME.md export-subst filter=evil\n",
            "README.md": "$Format:%H$\n",
            "src/.gitattributes": "* export-ignore\n",
        },
    )
    revision = world.fetch()
    data = b"".join(world.git.archive("shop", revision))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        readme = archive.extractfile("README.md")
        assert readme is not None
        assert readme.read() == b"$Format:%H$\n"
        assert "src/app.py" in archive.getnames()


@pytest.mark.parametrize("under", ["src", "src/", "./src"])
def test_an_archive_of_a_folder_starts_there(world: GitWorld, under: str) -> None:
    members = world.archived(world.fetch(), under)
    assert set(members) == {"app.py", "util.py"}
    assert members["app.py"].mtime == 1_700_000_060


@pytest.mark.parametrize("under", ["nope", "../..", "README.md", "--output=/tmp/x"])
def test_an_archive_of_what_is_no_folder_is_an_error_and_no_empty_tar(world: GitWorld, under: str) -> None:
    with pytest.raises(DeployError):
        world.archived(world.fetch(), under)


def test_an_archive_that_nobody_wants_any_more_ends_git(world: GitWorld) -> None:
    world.repository.commit("main", {f"big-{number}": os.urandom(500_000) for number in range(6)})
    mine = Path(f"/proc/self/task/{os.getpid()}/children")
    revision = world.fetch()
    before = set(mine.read_text().split())
    chunks = world.git.archive("shop", revision)
    next(iter(chunks))
    assert set(mine.read_text().split()) - before
    chunks.close()
    eventually(lambda: not set(mine.read_text().split()) - before, 5)


def test_an_archive_that_breaks_off_is_an_error(world: GitWorld) -> None:
    world.repository.commit("main", {f"big-{number}": os.urandom(300_000) for number in range(6)})
    revision = world.fetch()
    blob = world.mirrored().git("rev-parse", f"{revision}:big-5").strip()
    loose = world.mirror / "objects" / blob[:2] / blob[2:]
    assert loose.exists()
    loose.unlink()
    with pytest.raises(ProgramError):
        world.archived(revision)


def test_renames_deletions_and_modes_count_as_changes(world: GitWorld) -> None:
    old = world.fetch()
    files: dict[str, str | bytes | Symlink | Program] = {
        "src/moved.py": "print('one')\n",
        "README.md": Program("# Shop\n"),
        "ü": "x",
    }
    world.repository.commit("main", files, delete=["src/app.py"])
    assert world.git.changed("shop", old, world.fetch()) == 4
    assert world.git.changed("shop", old, old) == 0


def test_a_link_is_told_as_it_is_written_and_anything_else_is_none(world: GitWorld) -> None:
    world.repository.commit("main", {"link": Symlink("../../etc/passwd")})
    revision = world.fetch()
    assert world.git.link("shop", revision, "link") == "../../etc/passwd"
    assert [world.git.link("shop", revision, path) for path in ("README.md", "src", "nope", "link/x")] == [""] * 4


def test_the_same_content_has_the_same_identity_whatever_else_changed(world: GitWorld) -> None:
    old = world.fetch()
    world.repository.commit("main", {"src/app.py": "two"})
    new = world.fetch()

    def same(path: str) -> bool:
        return world.git.identity("shop", old, path) == world.git.identity("shop", new, path)

    assert {path: same(path) for path in (".", "src", "src/app.py", "src/util.py", "README.md")} == {
        ".": False,
        "src": False,
        "src/app.py": False,
        "src/util.py": True,
        "README.md": True,
    }
    assert world.git.identity("shop", new, "nope") == ""
