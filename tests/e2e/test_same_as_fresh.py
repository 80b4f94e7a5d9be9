"""After any sequence of pushes every running container holds what a container of a fresh build would hold.

EXAMPLES pushes to each of two branches, from SEED on; a failure prints the whole way there.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.gitserver import GitServer, Program, Symlink
from tests.support.run import RUN_LABEL, run_id, run_labels
from tests.support.synced import Seen, Stage
from tests.support.theatre import Theatre
from tests.support.wandering import BROKEN, KEPT, File, Wanderer, lay_out

PUSHES = int(os.environ.get("EXAMPLES", "8"))
SEED = int(os.environ.get("SEED", "1"))
_PROJECT = "wild"

Tree = dict[str, Seen]


class Fresh:
    """Builds by hand, from a folder, with Docker's own client."""

    def __init__(self, theatre: Theatre, folder: Path) -> None:
        self._api = theatre.agent.docker.api
        self._folder = folder
        self._images: set[str] = set()

    def tree(self, files: dict[str, File]) -> Tree:
        """What a new container of these files holds in /app."""
        context = self._folder / f"context{len(list(self._folder.iterdir()))}"
        lay_out(files, context)
        argv = ["docker", "build", "--quiet", "--label", f"{RUN_LABEL}={run_id()}", str(context)]
        built = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert built.returncode == 0, built.stderr
        image = built.stdout.strip()
        self._images.add(image)
        made = self._api.create_container(image, ["true"], labels=run_labels())["Id"]
        try:
            return _comparable(Stage(self._api, made).tree("/app"))
        finally:
            self._api.remove_container(made, v=True)

    def remove(self) -> None:
        for image in self._images:
            self._api.remove_image(image, force=True)


class Branch:
    """One branch on stage, and the way it went."""

    def __init__(self, theatre: Theatre, name: str, wanderer: Wanderer, fresh: Fresh) -> None:
        self._theatre = theatre
        self._name = name
        self._wanderer = wanderer
        self._fresh = fresh
        self._pushed: dict[str, File] = {}
        self._way: list[str] = []
        self._push()
        self._slug = theatre.deploy(_PROJECT, name)
        self.check()

    def go_on(self) -> None:
        """One push, sometimes two at once; then look, unless it was to fail."""
        self._way.append(self._wanderer.wander())
        if not self._push():
            return
        if self._wanderer.random.random() < 0.2:
            self._way.append(f"at once: {self._wanderer.wander()}")
            self._push()
        last = self._ended()
        self._way[-1] += f"\n    -> {last['phase']}: {'; '.join(last['done'])}"
        if last["phase"] == "failed":
            assert BROKEN in self._pushed, f"{last['failure']}\n{self.way}"
            return
        assert last["phase"] == "ready", last
        self.check()

    @property
    def way(self) -> str:
        return "\n".join(self._way)

    def check(self) -> None:
        wanted = self._fresh.tree(self._pushed)
        for service in ("web", "job"):
            self._same(service, _comparable(self._stage(service).tree("/app")), wanted)
        self._check_mounted()

    def _check_mounted(self) -> None:
        stage = self._stage("mounted")
        below = {path.removeprefix("src/"): file for path, file in self._pushed.items() if path.startswith("src/")}
        assert stage.contents("/src") == {path: _data(file) for path, file in below.items()}, self.way
        programs = {path for path, seen in stage.tree("/src").items() if seen.kind == "file" and seen.mode & 0o111}
        assert programs == {path for path, file in below.items() if isinstance(file, Program)}, self.way
        assert stage.contents("/etc")["keep.ini"] == _data(self._pushed[KEPT]), self.way

    def _same(self, service: str, found: Tree, wanted: Tree) -> None:
        differing = sorted(path for path in {*found, *wanted} if found.get(path) != wanted.get(path))
        lines = [f"{path}: {_short(found.get(path))}, fresh: {_short(wanted.get(path))}" for path in differing]
        assert not lines, f"{service} of {self._name}\n" + "\n".join(lines) + f"\n{self.way}"

    def _stage(self, service: str) -> Stage:
        def only() -> str:
            one, *draining = self._theatre.agent.containers(self._slug, service)
            assert not draining
            assert one["State"] == "running", one["Status"]
            return str(one["Id"])

        return Stage(self._theatre.agent.docker.api, eventually(only, 30, pause_s=0.05))

    def _push(self) -> bool:
        """Whether anything changed."""
        files = dict(self._wanderer.files)
        changed = {path: file for path, file in files.items() if self._pushed.get(path) != file}
        gone = sorted(set(self._pushed) - set(files))
        if not changed and not gone:
            return False
        revision = self._theatre.push(_PROJECT, self._name, changed, delete=gone)
        self._theatre.agent.webhook(self._theatre.git.url(_PROJECT), self._name, after=revision)
        self._pushed = files
        return True

    def _ended(self) -> dict[str, object]:
        head = self._theatre.repository(_PROJECT).head(self._name)

        def ended() -> dict[str, object]:
            last = self._theatre.last(_PROJECT, self._name)
            assert last["revision"] == head, self.way
            assert last["finished_at"], f"{last['phase']}\n{self.way}"
            return last

        return eventually(ended, 60, pause_s=0.02)


@pytest.fixture(name="wild")
def wild_fixture(git: GitServer, another_theatre: BuildTheatre) -> Theatre:
    git.create(_PROJECT, {"pkg.json": "{}\n"})
    return another_theatre(projects=(_PROJECT,))


@pytest.fixture(name="fresh")
def fresh_fixture(wild: Theatre, tmp_path: Path) -> Iterator[Fresh]:
    fresh = Fresh(wild, tmp_path)
    yield fresh
    fresh.remove()


def test_after_any_pushes_containers_hold_what_a_fresh_build_holds(wild: Theatre, fresh: Fresh) -> None:
    branches = [
        Branch(wild, f"{name}-{SEED}", Wanderer(random.Random(SEED), whole=whole), fresh)
        for name, whole in (("whole", True), ("partial", False))
    ]
    for _ in range(PUSHES):
        for branch in branches:
            branch.go_on()
    if SEED == 1 and PUSHES >= 8:  # other seeds may go other ways
        assert any("restarted web beside the old one" in branch.way for branch in branches)


def _comparable(tree: Tree) -> Tree:
    """Without times, and without folders that hold no file: git has none, a build may (of what it left out)."""
    held = {folder for path, seen in tree.items() if seen.kind != "folder" for folder in _above(path)}
    return {path: replace(seen, changed_s=0) for path, seen in tree.items() if seen.kind != "folder" or path in held}


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _data(file: File) -> bytes:
    if isinstance(file, Symlink):
        return file.target.encode()
    data = file.text if isinstance(file, Program) else file
    return data.encode() if isinstance(data, str) else data


def _short(seen: Seen | None) -> str:
    return "absent" if seen is None else f"{seen.kind} {seen.mode:o} {seen.owner} {seen.data[:20]!r}"
