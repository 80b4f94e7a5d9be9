"""Root file systems that look like each system, with stand-ins for what needs a network: virtual environments."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SYSTEMD = Path(__file__).parents[2] / "systemd"
RELEASES = {
    "debian-12": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
    "debian-13": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
    "ubuntu-24.04": 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
    "amzn-2023": 'ID="amzn"\nVERSION_ID="2023"\nVERSION="2023"\n',
    "debian-11": 'ID=debian\nVERSION_ID="11"\nVERSION_CODENAME=bullseye\n',
}
_OLD_PYTHON = '#!/bin/sh\n[ "$2" = -B ] || case "$2" in *ensurepip*) exit 1 ;; esac\nexec {python} "$@"\n'
_PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin"
    printf '#!/bin/sh\\n[ "$1" != -c ] || exit 1\\necho "$@" >>{root}/pip.log\\n' >"$3/bin/python"
    echo '[ ! -e {root}/no-index ]' >>"$3/bin/python"
    printf '#!/bin/sh\\n[ "$1" != backup ] || exec cp -p {root}/var/lib/butai/butai.db "$4"\\n' >"$3/bin/butai"
    printf '[ ! -e {root}/refuse ] || {{ echo "domain: is missing" >&2; exit 78; }}\\n' >>"$3/bin/butai"
    chmod +x "$3/bin/python" "$3/bin/butai"
    exit
fi
exec {python} "$@"
"""


@dataclass(frozen=True)
class Host:
    """One root file system, and the installer on it."""

    root: Path

    def program(self, name: str, text: str = "#!/bin/sh\n", *, folder: str = "usr/bin") -> None:
        path = self.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def have_docker(self, version: str = "28.5.2", *, folder: str = "usr/bin") -> None:
        self.program("docker", f'#!/bin/sh\necho "Docker version {version}, build 0123456"\n')
        self.program("dockerd", folder=folder)
        for plugin in ("compose", "buildx"):
            self.write(f"usr/libexec/docker/cli-plugins/docker-{plugin}", "")

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [str(SYSTEMD / "install.sh"), "--root", str(self.root), *arguments]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)

    def check(self, *arguments: str) -> list[str]:
        done = self.install("--check", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}


def new_host(root: Path, system: str) -> Host:
    """A host as its makers deliver it: without Docker; Amazon's Python is too old for the agent."""
    made = Host(root)
    made.write("etc/os-release", RELEASES[system])
    for file in ("passwd", "group", "shadow", "gshadow"):
        made.write(f"etc/{file}", "")
    for program in ("git", "ssh"):
        made.program(program)
    text = _OLD_PYTHON if system == "amzn-2023" else _PYTHON
    # Not that of the virtual environment, which takes three times as long to start.
    made.program("python3", text.format(python=f"{sys.base_prefix}/bin/python3", root=made.root))
    for setting, value in (("fs/inotify/max_user_instances", 128), ("kernel/pid_max", 4_194_304)):
        made.write(f"proc/sys/{setting}", f"{value}\n")
    made.write("usr/sbin/iptables", "").chmod(0o755)
    (made.root / "usr/local/bin").mkdir(parents=True)
    return made
