"""`butai doctor` on this very machine: real files, programs, engine and sockets, whatever their state is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from agent.cli.main import butai
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


def doctor(path: Path, *options: str) -> Result:
    """By whomever the tests run as: no agent listens where it is looked for."""
    return CliRunner().invoke(butai, ["--config", str(path), "--socket", str(path.parent / "no"), "doctor", *options])
