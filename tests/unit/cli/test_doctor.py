"""`butai doctor`: what it shows, how it ends, who looks, and what it may repair."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent import config
from agent.cli.main import butai
from agent.errors import RequestError
from agent.model.finding import Verdict
from tests.support.fakes_api import SETTINGS, FakeDoctor, House
from tests.unit.cli.conftest import Run


@pytest.fixture(autouse=True)
def anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root."""
    monkeypatch.setattr("agent.cli.commands_doctor.is_root", lambda: False)


class Here:
    """What a look by root finds, in place of this machine; `raised` is what was repaired."""

    def __init__(self) -> None:
        self.doctor = FakeDoctor()
        self.raised: dict[str, int] = {}
        self.settings: config.Settings | None = None

    def look_by(self, settings: config.Settings) -> FakeDoctor:
        self.settings = settings
        return self.doctor

    def fix(self, repairs: Mapping[str, int]) -> None:
        self.raised |= repairs
        first, *others = self.doctor.findings
        self.doctor.findings = (replace(first, verdict=Verdict.OK, repair="", raises={}), *others)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    here = Here()
    monkeypatch.setattr("agent.cli.commands_doctor.is_root", lambda: True)
    monkeypatch.setattr("agent.daemon.doctor", here.look_by)
    monkeypatch.setattr("agent.daemon.fix", here.fix)
    return here


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Settings with a secret that only systemd hands over."""
    path = tmp_path / "config.toml"
    path.write_text(SETTINGS + '[slack]\nteam = "T0123ABCD"\nsigning_secret_file = "credential:slack-signing-secret"\n')
    return path


def test_every_finding_is_a_line_with_its_repair_below(house: House, run: Run) -> None:
    result = run("doctor")
    assert result.stdout.splitlines() == [
        "failure         inotify           Only 128 programs may watch files.",
        "                                  -> sysctl -w a.b=8192",
        "unknown         firewall          The firewall is told to root only.",
        "                                  -> sudo butai doctor",
        "ok              git               git 2.50.1.",
        "",
        "1 failure (inotify), 1 unknown, 1 ok",
    ]
    assert result.stderr == "hint: `sudo butai doctor --fix` raises the kernel's limits.\n"
    assert result.exit_code == 1


@pytest.mark.parametrize(("verdict", "status"), [(Verdict.FAILURE, 1), (Verdict.WARNING, 0), (Verdict.UNKNOWN, 0)])
def test_only_a_failure_is_told_by_the_exit_status(house: House, run: Run, verdict: Verdict, status: int) -> None:
    house.doctor.findings = (replace(house.doctor.findings[0], verdict=verdict),)
    assert run("doctor").exit_code == status


def test_programs_get_everything_as_json(house: House, run: Run) -> None:
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert (found["verdict"], found["summary"]) == ("failure", "1 failure (inotify), 1 unknown, 1 ok")
    assert found["findings"][0] == {
        "check": "inotify",
        "verdict": "failure",
        "says": "Only 128 programs may watch files.",
        "repair": "sysctl -w a.b=8192",
        "fixes": {"a.b": 8192},
    }
    assert result.exit_code == 1


def test_root_looks_by_itself_without_an_agent_and_without_credentials(here: Here, path: Path) -> None:
    result = CliRunner().invoke(butai, ["--socket", "/nowhere", "--config", str(path), "doctor"])
    assert result.exit_code == 1
    assert "inotify" in result.stdout
    assert here.settings is not None
    assert here.raised == {}


def test_fixing_raises_the_limits_says_so_and_looks_again(here: Here, path: Path) -> None:
    result = CliRunner().invoke(butai, ["--config", str(path), "doctor", "--fix"])
    assert here.raised == {"a.b": 8192}
    assert result.stderr == "raised a.b to 8192\n"
    assert result.stdout.splitlines()[-1] == "1 unknown, 2 ok"
    assert result.exit_code == 0


def test_a_repair_that_the_kernel_refuses_is_told(here: Here, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(repairs: Mapping[str, int]) -> None:
        raise RequestError("The kernel's settings cannot be raised: Read-only file system.", hint="Only root may.")

    monkeypatch.setattr("agent.daemon.fix", refuse)
    result = CliRunner().invoke(butai, ["--config", str(path), "doctor", "--fix"])
    assert result.exit_code == 2
    assert "Read-only file system" in result.stderr


def test_nobody_but_root_may_fix(house: House, run: Run) -> None:
    result = run("doctor", "--fix")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: Only root may raise the kernel's limits.",
        "hint: Try `sudo butai doctor --fix`.",
    ]


def test_without_an_agent_everybody_sees_what_they_may(
    here: Here, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("agent.cli.commands_doctor.is_root", lambda: False)
    nobody = str(tmp_path / "no.sock")
    result = CliRunner().invoke(butai, ["--socket", nobody, "--config", str(path), "doctor"])
    assert result.stderr.splitlines()[0] == f"No agent listens at {nobody}. This is what you may see yourself."
    assert "inotify" in result.stdout


def test_wrong_settings_are_what_to_repair_first(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('domain = ""\n')
    result = CliRunner().invoke(butai, ["--config", str(path), "doctor"])
    assert result.exit_code == 78
    assert "domain" in result.stderr


def test_the_list_of_environments_says_when_the_host_fails(house: House, run: Run) -> None:
    assert "host:" not in run("list").stderr
    house.doctor.look()
    assert run("list").stderr.splitlines()[-1] == "host: 1 failure (inotify), 1 unknown, 1 ok; see `butai doctor`"
    house.doctor.findings = house.doctor.findings[1:]
    house.doctor.look()
    assert "host:" not in run("list").stderr
