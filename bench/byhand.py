"""What a team does without Butai: `git clone` or `git pull`, then `docker compose up -d --build` in that folder."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from agent.adapters import process
from bench.browser import Browser
from tests.support.place import free_port

_TIMEOUT_S = 300.0


class ByHand:
    """One branch in a folder below `directory`; `web` is the service that people see, at its own published port."""

    def __init__(self, directory: Path, remote: str, branch: str, *, web_port: int, more: tuple[str, ...] = ()) -> None:
        self.name = f"bench{uuid.uuid4().hex[:8]}"
        self._checkout = directory / self.name
        self._remote = remote
        self._branch = branch
        self.port = free_port()
        self._override = directory / f"{self.name}.yaml"
        self._docker = shutil.which("docker") or "docker"
        self._env = process.short_environment(GIT_CONFIG_GLOBAL="/dev/null", **process.inherited("HOME"))
        directory.mkdir(exist_ok=True)
        self._override.write_text(_override(f"127.0.0.1:{self.port}:{web_port}", ("web", *more)))

    def browser(self, *, patience_s: float) -> Browser:
        return Browser(self.port, "127.0.0.1", patience_s=patience_s)

    def clone(self) -> None:
        self._run("git", "clone", "--quiet", "--branch", self._branch, self._remote, str(self._checkout))

    def pull(self) -> None:
        self._run("git", "-C", str(self._checkout), "pull", "--quiet")

    def up(self, *options: str) -> None:
        self._compose("up", "--detach", "--build", *options)

    @contextmanager
    def watching(self) -> Iterator[Path]:
        """The folder, with `docker compose watch` over it, once it says that it watches."""
        argv = [self._docker, "compose", "--project-name", self.name, *self._files(), "watch", "--no-up"]
        with subprocess.Popen(
            argv, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as watch:
            assert watch.stdout is not None
            try:
                while b"Watch enabled" not in (line := watch.stdout.readline()):
                    if not line:
                        raise RuntimeError("docker compose watch ended")
                Thread(target=watch.stdout.read, daemon=True).start()  # a full pipe would stop it
                yield self._checkout
            finally:
                watch.terminate()

    def remove(self) -> None:
        """Containers, networks, volumes and images; the folder goes with the directory."""
        if self._checkout.exists():
            self._compose("down", "--volumes", "--rmi", "local", "--timeout", "1")

    def _compose(self, *arguments: str) -> None:
        self._run(self._docker, "compose", "--project-name", self.name, *self._files(), *arguments)

    def _files(self) -> tuple[str, ...]:
        return ("--file", str(self._checkout / "compose.yaml"), "--file", str(self._override))

    def _run(self, *argv: str) -> None:
        done = process.run(argv, env=self._env, timeout_s=_TIMEOUT_S)
        if not done.ok:
            raise RuntimeError(f"{' '.join(argv)}: {done.complaint}")


def _override(published: str, services: tuple[str, ...]) -> str:
    """Names and ports of their own, so that what runs beside it on this host is not in the way; labels to find it."""
    lines = ["services:"]
    for name in services:
        ports = f'!override ["{published}"]' if name == "web" else "!reset []"
        lines += [f"  {name}:", "    container_name: !reset null", f"    ports: {ports}"]
        lines += ["    labels: {butai.run: bench}"]
    return "\n".join([*lines, ""])
