"""Makes sure that a Docker engine with the Compose and Buildx plugins answers, and says why where it cannot.

Never restarts an engine that answers: other work on this machine may be using it.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools import apt
from tools.console import SetupError, call, only_one, say

PACKAGES = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "iptables", "iproute2", "procps")
# On bookworm the engine is too old for BuildKit's API and Compose is version 1: these come from the next release.
OLD_RELEASE, NEXT_RELEASE = "bookworm", "trixie"
NEWER_PACKAGES = ("docker.io", "docker-cli", "docker-compose", "docker-buildx")
LOG_PATH = Path("/var/log/butai-dockerd.log")
PID_PATHS = {
    Path("/run/docker.pid"): "dockerd",
    Path("/run/docker/containerd/containerd.pid"): "containerd",
}
START_DEADLINE_S = 60
BY_HAND = (
    "Install Docker Engine 25 or newer with its Compose (2.24 or newer) and Buildx plugins, start it, "
    "check that `docker info` answers, and run this again."
)


def ensure() -> None:
    """Have a working engine, or raise SetupError."""
    if _is_ready():
        return
    with only_one():
        if _is_ready():
            return
        if not _answers():
            _start()
        missing = _missing_plugins()
        if missing:
            say("engine", f"`docker` has no {' and no '.join(missing)} plugin")
            _install()
        if not _is_ready():
            raise SetupError(f"the Docker engine answers, but not its plugins: {_missing_plugins()}. {BY_HAND}")


def _is_ready() -> bool:
    if not _answers() or _missing_plugins():
        return False
    version = call(["docker", "version", "--format", "{{.Server.Version}}"]).stdout.strip()
    compose = call(["docker", "compose", "version", "--short"]).stdout.strip()
    say("engine", f"Docker Engine {version} with Compose {compose} answers")
    return True


def _answers() -> bool:
    return call(["docker", "version", "--format", "{{.Server.Version}}"], timeout_s=20).returncode == 0


def _missing_plugins() -> list[str]:
    return [name for name in ("compose", "buildx") if call(["docker", name, "version"]).returncode != 0]


def _start() -> None:
    _refuse_what_cannot_work()
    if shutil.which("dockerd") is None:
        say("engine", "no Docker engine on this machine")
        _install()
    if _answers():
        return
    if Path("/run/systemd/system").is_dir():
        say("engine", "starting the Docker engine: systemctl start docker")
        call(["systemctl", "start", "docker"], timeout_s=START_DEADLINE_S)
    else:
        say("engine", f"starting the Docker engine: dockerd, log in {LOG_PATH}")
        _start_daemon()
    _wait()


def _refuse_what_cannot_work() -> None:
    host = os.environ.get("DOCKER_HOST")
    if host:
        raise SetupError(f"DOCKER_HOST is {host}, and no Docker engine answers there. Start it, or unset DOCKER_HOST.")
    if "permission denied" in call(["docker", "version"], timeout_s=20).stderr.lower():
        raise SetupError(
            "a Docker engine runs, but this user may not use it. Run as root, or join its group: "
            "`sudo usermod -aG docker $USER` and log in again."
        )
    if sys.platform != "linux":
        raise SetupError(f"no Docker engine answers, and it can be installed by this only on Linux. {BY_HAND}")
    if os.geteuid() != 0:
        raise SetupError(f"no Docker engine answers, and only root can install or start one. {BY_HAND}")


def _install() -> None:
    """Install Debian's engine and plugins, from the release after this one where this one's are too old."""
    release = apt.os_release()
    codename = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not codename or shutil.which("apt-get") is None:
        raise SetupError(
            f"this sets up an engine on Debian only; here is {release.get('ID', 'another system')}. {BY_HAND}"
        )
    if os.geteuid() != 0:
        raise SetupError(f"only root can install packages. {BY_HAND}")
    if codename == OLD_RELEASE:
        _add_next_release()
    apt.update("engine")
    apt.install("engine", PACKAGES)


def _add_next_release() -> None:
    mirror = apt.mirror_of(apt.configured_sources(), OLD_RELEASE)
    if mirror is None:
        raise SetupError(f"apt has no source for {OLD_RELEASE} with its main component. {BY_HAND}")
    sources = apt.APT_DIR / "sources.list.d" / f"butai-{NEXT_RELEASE}.sources"
    pins = apt.APT_DIR / "preferences.d" / f"butai-{NEXT_RELEASE}"
    say("engine", f"adding {NEXT_RELEASE} to apt for {', '.join(NEWER_PACKAGES)} only: {sources}, {pins}")
    pins.write_text(apt.pin_text(NEXT_RELEASE, NEWER_PACKAGES), encoding="utf-8")
    sources.write_text(apt.sources_text(mirror, [NEXT_RELEASE]), encoding="utf-8")


def _start_daemon() -> None:
    """Start dockerd in a session of its own, so that it outlives this terminal and its Ctrl-C."""
    for pid_path, program in PID_PATHS.items():
        _forget_dead(pid_path, program)
    with LOG_PATH.open("ab") as log:
        subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def _forget_dead(pid_path: Path, program: str) -> None:
    """Remove a pid file whose number now belongs to another program, which would stop dockerd."""
    if not pid_path.is_file():
        return
    name_path = Path("/proc", pid_path.read_text(encoding="ascii").strip(), "comm")
    if not name_path.is_file() or name_path.read_text(encoding="ascii").strip() != program:
        pid_path.unlink()


def _wait() -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if _answers():
            return
        time.sleep(0.3)
    tail = LOG_PATH.read_text(errors="replace").splitlines()[-15:] if LOG_PATH.is_file() else []
    raise SetupError("\n".join([f"the Docker engine did not answer within {START_DEADLINE_S} s. Its log:", *tail]))


def main() -> int:
    """Run from the Makefile."""
    try:
        ensure()
    except SetupError as error:
        say("engine", f"cannot go on: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
