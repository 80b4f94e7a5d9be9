"""A host to install the agent on: a container whose first process is systemd, with an engine and no network of its own.

Everything in it is real but what a container shares with the machine below: the kernel and its limits.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

from tests.support.eventually import eventually
from tests.support.run import run_id
from tools import hostimage

ROOT = Path(__file__).parents[2]
SOURCE = Path("/usr/src/butai")  # the copy of the repository, as somebody took it to the host
DIST = Path("/dist")
WHEELS = "/wheels"
_BOOTED_S = 60.0


class Booted:
    """`with Booted(wheels) as host:`; booted inside the block, gone with its engine's folder after it."""

    def __init__(self, wheels: Path) -> None:
        self.name = f"{run_id()}-booted"
        self._wheels = wheels  # in there: DIST

    def __enter__(self) -> Self:
        options = ["--privileged", "--cgroupns=private", "--network=none", "--tmpfs=/run", "--tmpfs=/tmp:exec"]
        labels = [f"--label=butai.run={run_id()}"]
        mounts = [f"--volume={ROOT}:{SOURCE}:ro", f"--volume={self._wheels}:{DIST}:ro"]
        mounts += ["--volume=/var/lib/docker", "--volume=/var/lib/containerd"]  # overlayfs does not go onto itself
        argv = ["docker", "run", "--detach", f"--name={self.name}", *options, *labels, *mounts, hostimage.NAME]
        subprocess.run(argv, check=True, capture_output=True, timeout=120)
        try:
            eventually(self._has_booted, _BOOTED_S, pause_s=0.1)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self.name], check=False, capture_output=True)

    def run(self, *argv: str, text: str = "", timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A program in there, as root; whatever its exit status."""
        return subprocess.run(
            ["docker", "exec", "--interactive", self.name, *argv],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def said(self, *argv: str, text: str = "") -> str:
        """What a program in there printed; it has to succeed."""
        done = self.run(*argv, text=text)
        assert done.returncode == 0, (
            f"{' '.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.journal()[-4000:]}"
        )
        return done.stdout

    def write(self, path: str, text: str, *, mode: str = "0644") -> None:
        self.said("install", "-D", "-m", mode, "/dev/stdin", path, text=text)

    def property(self, unit: str, name: str) -> str:
        """What systemd knows of a unit."""
        return self.said("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self) -> str:
        """What the agent and systemd said of it."""
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit=butai").stdout

    def load(self, *images: str) -> None:
        """Give its engine images of the one below."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saving:
            argv = ["docker", "exec", "--interactive", self.name, "docker", "load", "--quiet"]
            subprocess.run(argv, stdin=saving.stdout, check=True, capture_output=True, timeout=120)

    def _has_booted(self) -> bool:
        return self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
