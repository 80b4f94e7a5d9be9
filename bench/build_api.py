"""Building through the Engine API against `docker compose build`: 2,000 files, one of them changed.

Both build the same repository on the same engine and share its cache, so every round gives each its own change.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.adapters import process
from agent.adapters.docker import DockerEngine
from agent.model.release import BuildSpec
from bench import projects, report

ROUNDS = 9
TARGET = 0.7
_DOCKERFILE = "FROM busybox:1.37\nWORKDIR /app\nCOPY pkg00 pkg00\nCOPY . .\n"
_COMPOSE = "services:\n  web:\n    build: .\n    image: {tag}\n"


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with tempfile.TemporaryDirectory(prefix="butai-bench-") as name:
        repository = _Repository(Path(name))
        try:
            return _measure(repository, rounds)
        finally:
            repository.remove_images()


def _measure(repository: _Repository, rounds: int) -> dict[str, Any]:
    ours: list[float] = []
    theirs: list[float] = []
    unchanged: list[float] = []
    repository.build_by_engine()
    repository.build_by_compose()
    for at in range(rounds):
        for build, samples in (
            (repository.build_by_engine, ours),
            (repository.build_by_compose, theirs),
        )[:: 1 if at % 2 else -1]:
            repository.change()
            samples.append(report.seconds(build))
        repository.build_by_engine()
        unchanged.append(report.seconds(repository.build_by_engine))
    return report.line(
        "build_api",
        ours,
        baseline="docker compose build",
        baseline_samples=theirs,
        target=TARGET,
        files=projects.FILES,
        unchanged_p50_s=round(report.percentile(unchanged, 0.5), 4),
    )


class _Repository:
    """A repository of 2,000 files, with a Dockerfile and a compose file, and both ways to build it."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory / "repository"
        self._docker = shutil.which("docker") or "docker"
        self._env = process.short_environment(GIT_CONFIG_GLOBAL="/dev/null", **process.inherited("HOME"))
        self._changes = 0
        self._tag = f"butai-bench/{directory.name[-8:].lower().replace('_', '0')}"
        self._engine = DockerEngine("unix:///var/run/docker.sock", "butai-bench", scratch_dir=directory / "scratch")
        for path, text in projects.modules().items():
            file = self._dir / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (self._dir / "Dockerfile").write_text(_DOCKERFILE)
        (self._dir / "compose.yaml").write_text(_COMPOSE.format(tag=f"{self._tag}:compose"))
        (self._dir / ".dockerignore").write_text(".git\n*.log\n**/__pycache__\n")
        self._git("init", "--quiet", "--initial-branch=main")
        self.change()

    def change(self) -> None:
        """One new commit that touches one file."""
        self._changes += 1
        (self._dir / projects.path(7)).write_text(f"CHANGE = {self._changes!r}\n")
        self._git("add", "--all")
        self._git("-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "Change")

    def build_by_engine(self) -> None:
        archive = self._archive()
        spec = BuildSpec(context=".", dockerfile="Dockerfile")
        self._engine.build(spec, archive, tag=f"{self._tag}:engine", on_line=_unheard, cancel=_Never(), timeout_s=300)

    def build_by_compose(self) -> None:
        self._run([self._docker, "compose", "build", "--quiet"])

    def remove_images(self) -> None:
        for kind in ("engine", "compose"):
            self._engine.untag(f"{self._tag}:{kind}")

    def _archive(self) -> Iterator[bytes]:
        argv = ["git", "-C", str(self._dir), "-c", "tar.umask=0022", "archive", "--format=tar", "HEAD"]
        return process.stream(argv, env=self._env, timeout_s=60)

    def _git(self, *arguments: str) -> None:
        self._run(["git", *arguments])

    def _run(self, argv: list[str]) -> None:
        done = process.run(argv, env=self._env, timeout_s=300, cwd=self._dir)
        if not done.ok:
            raise RuntimeError(f"{' '.join(argv)}: {done.complaint}")


class _Never:
    def cancelled(self) -> bool:
        return False

    def on_cancel(self, act: Callable[[], None]) -> Callable[[], None]:
        return act


def _unheard(line: str) -> None:
    """Step logs cost the same whether or not somebody reads them."""


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
