"""A repository inside a checkout is somebody's own: none of its configuration runs anything as the agent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model.names import Revision, Slug
from tests.support.gitworld import GitWorld, git_world

MAIN = Slug("main")


@pytest.fixture
def world() -> Iterator[GitWorld]:
    with git_world() as found:
        yield found


def booby_trapped(place: Path, mark: Path) -> str:
    """A repository whose configuration names a program that leaves `mark`; its only commit."""
    place.mkdir(exist_ok=True)
    (place / "file").write_text("x\n")
    run = ["git", "-c", "user.name=Eve", "-c", "user.email=eve@example.com", "-C", str(place)]
    subprocess.run([*run, "init", "--quiet"], check=True)
    subprocess.run([*run, "add", "file"], check=True)
    subprocess.run([*run, "commit", "--quiet", "-m", "x"], check=True)
    program = mark.with_name("program")
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "diff.external", "core.sshCommand"):
        subprocess.run([*run, "config", name, str(program)], check=True)
    (place / "file").write_text("changed\n")
    head = subprocess.run([*run, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()


def look(world: GitWorld, *paths: str) -> tuple[str, ...]:
    """What a look at the checkout finds."""
    edit = world.git.snapshot("shop", MAIN, Revision(world.repository.head()), apart=(), paths=paths)
    return () if edit is None else edit.files


def test_a_repository_that_somebody_makes_in_a_checkout_runs_nothing_and_is_no_edit(
    world: GitWorld, tmp_path: Path
) -> None:
    folder, mark = world.checkout(), tmp_path / "ran"
    booby_trapped(folder / "sub", mark)
    assert [look(world), look(world, "sub"), look(world, "sub/file"), look(world)] == [(), (), (), ()]
    (folder / "src/app.py").write_text("edited\n")
    assert look(world) == ("src/app.py",)
    world.repository.commit("main", {"README.md": "two"})
    world.git.checkout("shop", MAIN, world.fetch())
    assert not mark.exists()
    assert (folder / "sub/file").read_text() == "changed\n"


def test_a_submodule_of_the_branch_in_which_somebody_made_a_repository_runs_nothing(
    world: GitWorld, tmp_path: Path
) -> None:
    """What a container that mounts the checkout can do."""
    mark = tmp_path / "ran"
    head = booby_trapped(tmp_path / "elsewhere", mark)
    stream = "commit refs/heads/main\ncommitter A <a@example.com> 1700000000 +0000\ndata 1\nm\n"
    stream += f"from {world.repository.head()}\nM 160000 {head} sub\n"
    world.repository.git("fast-import", "--quiet", "--force", stdin=stream.encode())
    folder = world.checkout()
    booby_trapped(folder / "sub", mark)
    assert [look(world), look(world, "sub"), look(world)] == [(), (), ()]
    (folder / "README.md").write_text("edited\n")
    assert look(world) == ("README.md",)
    world.git.checkout("shop", MAIN, world.fetch())
    (folder / "README.md").write_text("edited again, and a push before anybody looked\n")
    world.repository.commit("main", {"README.md": "two"})
    assert world.git.checkout("shop", MAIN, world.fetch())
    assert not mark.exists()


def test_a_repository_that_a_person_staged_runs_nothing_when_a_push_comes(world: GitWorld, tmp_path: Path) -> None:
    folder, mark = world.checkout(), tmp_path / "ran"
    booby_trapped(folder / "sub", mark)
    theirs = ["git", "-c", "safe.directory=*", "-c", "advice.addEmbeddedRepo=false", "-C", str(folder)]
    subprocess.run([*theirs, "add", "sub"], check=True)
    (folder / "README.md").write_text("edited\n")
    mark.unlink(missing_ok=True)
    world.repository.commit("main", {"README.md": "two"})
    world.git.checkout("shop", MAIN, world.fetch())
    assert not mark.exists()
    assert (folder / "README.md").read_text() == "two"
