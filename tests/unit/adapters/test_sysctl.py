"""Raising settings of the kernel in a folder that looks like its own: now, and for the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters import sysctl
from agent.errors import RequestError

INSTANCES, PID_MAX, CONNTRACK = "fs.inotify.max_user_instances", "kernel.pid_max", "net.netfilter.nf_conntrack_max"


@pytest.fixture(name="root")
def root_fixture(tmp_path: Path) -> Path:
    for name in (INSTANCES, PID_MAX, CONNTRACK):
        path = tmp_path / "proc/sys" / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("128\n")
    return tmp_path


def test_a_raised_limit_holds_now_and_after_the_next_start(root: Path) -> None:
    sysctl.raise_to({INSTANCES: 8_192, PID_MAX: 4_194_304}, root=root)
    assert (root / "proc/sys/fs/inotify/max_user_instances").read_text() == "8192\n"
    assert (root / sysctl.FILE).read_text().splitlines() == [
        "# Raised by `butai doctor --fix`: what a host of many containers needs.",
        f"{INSTANCES} = 8192",
        f"{PID_MAX} = 4194304",
    ]
    assert not (root / sysctl.MODULES).exists()


def test_what_the_file_says_of_other_settings_stays(root: Path) -> None:
    path = root / sysctl.FILE
    path.parent.mkdir(parents=True)
    path.write_text(f"# ours\nvm.swappiness = 10\n{INSTANCES}=512\n")
    sysctl.raise_to({INSTANCES: 8_192}, root=root)
    assert path.read_text() == f"# ours\nvm.swappiness = 10\n{INSTANCES} = 8192\n"


def test_the_table_of_connections_is_there_when_its_size_is_set_at_the_next_start(root: Path) -> None:
    sysctl.raise_to({CONNTRACK: 262_144}, root=root)
    assert (root / sysctl.MODULES).read_text() == "nf_conntrack\n"


def test_who_may_not_is_told_who_may(tmp_path: Path) -> None:
    (tmp_path / "etc").touch()
    with pytest.raises(RequestError, match=r"cannot be raised.*Only root may: `sudo butai doctor --fix`"):
        sysctl.raise_to({PID_MAX: 1}, root=tmp_path)
