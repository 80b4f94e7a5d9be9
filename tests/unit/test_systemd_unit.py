"""systemd/butai.service fits the agent: its command, its folders, its exit codes, its protocol."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from agent.cli.main import butai
from agent.config import Settings
from agent.config.sections import Server
from agent.errors import AgentError, ConfigError

SYSTEMD = Path(__file__).parents[2] / "systemd"


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(SYSTEMD / "butai.service")
    return unit["Service"]


def test_the_command_exists_and_takes_what_it_is_given(service: configparser.SectionProxy) -> None:
    _program, command, *arguments = service["ExecStart"].split()
    known = {option for parameter in butai.commands[command].params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("-")} <= known


def test_the_folders_are_those_of_the_settings(service: configparser.SectionProxy) -> None:
    assert Path("/var/lib", service["StateDirectory"]) == Settings.__dataclass_fields__["state_dir"].default
    assert Path("/run", service["RuntimeDirectory"]) == Server().socket.parent


def test_wrong_settings_do_not_start_the_agent_over_and_over(service: configparser.SectionProxy) -> None:
    never_again = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert never_again == {ConfigError.exit_code}
    assert AgentError.exit_code not in never_again


def test_systemd_waits_until_the_agent_is_ready_and_watches_it(service: configparser.SectionProxy) -> None:
    assert service["Type"] == "notify"
    assert 30 <= int(service["WatchdogSec"]) <= 300


def test_only_the_agent_itself_is_told_to_end(service: configparser.SectionProxy) -> None:
    """Else `docker compose build` ends a moment earlier than the agent, and the branch is said to be broken."""
    assert service["KillMode"] == "mixed"


def test_the_agent_is_nobody_special(service: configparser.SectionProxy) -> None:
    assert service["User"] not in ("", "root")
    assert service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == "CAP_NET_ADMIN"  # for iptables
    assert service["ProtectSystem"] == "strict"


def test_checkouts_are_readable_for_whomever_a_container_runs_as(service: configparser.SectionProxy) -> None:
    assert int(service["UMask"], 8) & 0o044 == 0
    assert int(service["StateDirectoryMode"], 8) & 0o007 == 0
