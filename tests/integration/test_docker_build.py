"""Builds through the Engine API: what cuts them short, and that a changed tree is always the tree."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import docker
import pytest

from agent.errors import CancelledError, DeployError
from agent.model.labels import PROJECT, SERVICE
from agent.runtime.cancel import CancelToken
from tests.support.builders import Builders, Content, Link, Program, Repository
from tests.support.eventually import eventually

pytestmark = pytest.mark.docker

BASE = "FROM busybox:1.37\n"


@pytest.fixture
def builders(tmp_path: Path) -> Iterator[Builders]:
    with Builders(tmp_path / "scratch") as builders:
        yield builders


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def sleeping(marker: str) -> str:
    """A Dockerfile that sleeps for ten minutes, in a shell that is told from all others."""
    return BASE + f"RUN echo begun; sleep 600; echo {marker}\n"


def running(marker: str) -> bool:
    """Whether a process of the build lives on this host."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


def test_a_cancelled_build_ends_within_a_second_and_so_does_what_it_ran(
    builders: Builders, repository: Repository
) -> None:
    marker = f"sleeper-{random.randrange(10**9)}"
    repository.commit({"Dockerfile": sleeping(marker), "a.txt": "a"})
    cancel = CancelToken()
    cancelled_at: list[float] = []

    def when_it_runs() -> None:
        eventually(lambda: running(marker), 30)
        cancelled_at.append(time.monotonic())
        cancel.cancel()

    thread = threading.Thread(target=when_it_runs)
    thread.start()
    with pytest.raises(CancelledError):
        builders.by_engine(repository, cancel=cancel)
    assert time.monotonic() - cancelled_at[0] < 1
    thread.join()
    eventually(lambda: not running(marker), 2)
    assert builders.engine.image_id(f"{builders.name}:engine") is None


def test_a_build_that_is_cancelled_before_it_begins_sends_nothing(builders: Builders, repository: Repository) -> None:
    repository.commit({"Dockerfile": BASE + "RUN true\n"})
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        builders.by_engine(repository, cancel=cancel)
    assert builders.lines == []


def test_a_build_has_a_deadline(builders: Builders, repository: Repository) -> None:
    marker = f"sleeper-{random.randrange(10**9)}"
    repository.commit({"Dockerfile": sleeping(marker), "a.txt": "a"})
    started = time.monotonic()
    with pytest.raises(DeployError, match="took longer than 2 s") as caught:
        builders.by_engine(repository, timeout_s=2)
    assert caught.value.code == "build-timeout"
    assert time.monotonic() - started < 4
    eventually(lambda: not running(marker), 2)


def test_a_repository_without_a_dockerfile_is_told_so(builders: Builders, repository: Repository) -> None:
    repository.commit({"a.txt": "a"})
    with pytest.raises(DeployError, match="no `docker/Dockerfile`"):
        builders.by_engine(repository, {"dockerfile": "docker/Dockerfile"})


def test_labels_of_ours_are_on_the_image(builders: Builders, repository: Repository) -> None:
    repository.commit({"Dockerfile": BASE + "LABEL mine=1\n", "a.txt": "a"})
    tag = builders.by_engine(repository, {"labels": {"butai.slug": "main"}})
    assert builders.image(tag).config["Labels"].items() >= {"mine": "1", "butai.slug": "main"}.items()


def test_after_any_sequence_of_edits_the_image_holds_exactly_the_tree(
    builders: Builders, repository: Repository
) -> None:
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    dockerfile = BASE + "COPY pkg /one\nRUN ls -R /one > /listing\nCOPY . /all\n"
    tree: dict[str, Content] = {"Dockerfile": dockerfile, ".dockerignore": "**/*.tmp\nDockerfile\n"}
    tree |= {f"pkg/sub{at % 5}/file{at}.txt": f"{at}\n" for at in range(40)}
    repository.commit(tree)
    for step in range(14):
        edits = _edits(choose, tree, step)
        tree |= edits
        repository.commit(edits)
        files = builders.image(builders.by_engine(repository)).files
        held = {name.removeprefix("all/"): about for name, about in files.items() if name.startswith("all/")}
        committed = [PurePosixPath(name) for name, content in tree.items() if content is not None]
        expected = {str(path) for file in committed for path in (file, *file.parents[:-1])}
        expected = {name for name in expected if not name.endswith(".tmp") and name != "Dockerfile"}
        assert set(held) - {""} == expected, f"seed {seed}, step {step}"
        listed = {name.removeprefix("one/"): about for name, about in files.items() if name.startswith("one/")}
        under = {name.removeprefix("pkg/"): about for name, about in held.items() if name.startswith("pkg/")}
        assert {name: about for name, about in listed.items() if name} == under, f"seed {seed}, step {step}"
        for name, content in tree.items():
            if isinstance(content, Program) and not name.endswith(".tmp"):
                assert held[name][1] == "0o755", f"seed {seed}, step {step}"


def _edits(choose: random.Random, tree: dict[str, Content], step: int) -> dict[str, Content]:
    """Some files rewritten, made, removed, made executable or made links."""
    present = [name for name, content in tree.items() if content is not None and name.startswith("pkg/")]
    kinds = choose.choices(("write", "new", "remove", "program", "link", "ignored"), weights=(6, 3, 1, 1, 1, 1), k=3)
    edits: dict[str, Content] = {}
    for at, kind in enumerate(kinds):
        name = choose.choice(present)
        made = f"pkg/sub{choose.randrange(7)}/made{step}-{at}"
        match kind:
            case "write":
                edits[name] = f"rewritten {step}\n"
            case "new":
                edits[f"{made}.txt"] = "made\n"
            case "remove":
                edits[name] = None
            case "program":
                edits[name] = Program("#!/bin/sh\n")
            case "link":
                edits[name] = Link("nowhere")
            case _:
                edits[f"{made}.tmp"] = "not sent\n"
    return edits


def test_builds_of_one_image_keep_one_context_and_a_new_branch_starts_on_it(
    builders: Builders, repository: Repository
) -> None:
    labels = {PROJECT: builders.name, SERVICE: "web"}
    repository.commit({"Dockerfile": BASE + "COPY . /x\n", **{f"{at}.txt": f"{at}" for at in range(20)}})
    for at in range(3):
        repository.commit({"b.txt": f"{at}"})
        builders.by_engine(repository, {"labels": labels})
    kept = list((builders.scratch_dir / "contexts").iterdir())
    assert len({path.stat().st_ino for path in kept}) == 1
    builders.name += "-branch"
    repository.commit({"b.txt": "of the branch"})
    builders.by_engine(repository, {"labels": labels})
    assert any("delta.tar" in line for line in builders.lines)
    assert set((builders.scratch_dir / "contexts").iterdir()) == set(kept)


@pytest.fixture(autouse=True)
def nothing_is_left(builders: Builders) -> Iterator[None]:
    """BuildKit runs steps in containers of its own; none may show up among the engine's."""
    client = docker.APIClient("unix:///var/run/docker.sock")
    yield
    assert not client.containers(all=True, filters={"ancestor": f"{builders.name}:engine"})
    client.close()
