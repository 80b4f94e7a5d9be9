"""`butai doctor` on this very machine: real files, programs, engine and sockets, whatever their state is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from agent.adapters import sysctl
from agent.cli.main import butai
from agent.errors import RequestError
from agent.planning.doctor import CHECKS
from agent.web.api import document

pytestmark = pytest.mark.docker

SETTINGS = """
domain = "stage.localhost"
instance = "doctor-test"

[projects.shop]
remote = "https://git.example.com/shop.git"
"""
SURE = ("engine", "compose", "git", "storage-driver", "disk-space", "memory", "inotify-instances")  # any host tells


@pytest.fixture(name="path")
def path_fixture(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(f'state_dir = "{tmp_path}"\n{SETTINGS}')
    return path


def test_the_facts_of_this_machine_are_gathered_judged_and_printed_for_programs(path: Path) -> None:
    result = doctor(path, "--json")
    found = json.loads(result.stdout)
    schema: dict[str, Any] = {"$ref": "#/components/schemas/Examination", "components": document()["components"]}
    assert list(Draft202012Validator(schema).iter_errors(found)) == []
    verdicts = {one["check"]: one["verdict"] for one in found["findings"]}
    assert list(verdicts) == [check.name for check in CHECKS]
    assert {verdicts[name] for name in SURE} <= {"ok", "warning", "failure"}
    [traefik] = [one for one in found["findings"] if one["check"] == "traefik"]
    assert traefik["says"] == "There is no container doctor-test--traefik."
    assert result.exit_code == 1


def test_they_are_printed_for_people_with_a_summary_at_the_end(path: Path) -> None:
    result = doctor(path)
    *lines, summary = result.stdout.splitlines()
    assert {line.split()[1] for line in lines if line and not line.startswith(" ")} == {one.name for one in CHECKS}
    assert "traefik" in summary
    assert result.exit_code == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise limits")
def test_the_kernel_itself_takes_what_is_raised(tmp_path: Path) -> None:
    """To the value that it has: nothing on this machine changes, and what would is written beside it."""
    (tmp_path / "proc").symlink_to("/proc")
    limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    sysctl.raise_to({"kernel.pid_max": limit}, root=tmp_path)
    assert int(Path("/proc/sys/kernel/pid_max").read_text()) == limit
    assert f"kernel.pid_max = {limit}" in (tmp_path / sysctl.FILE).read_text()
    with pytest.raises(RequestError):
        sysctl.raise_to({"kernel.there_is_no_such_limit": 1}, root=tmp_path)


def doctor(path: Path, *options: str) -> Result:
    """By whomever the tests run as: no agent listens where it is looked for."""
    return CliRunner().invoke(butai, ["--config", str(path), "--socket", str(path.parent / "no"), "doctor", *options])
