"""How every run begins and ends: help, options, exit codes, completion."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from agent import config
from agent.cli.main import butai
from agent.cli.render import clean
from agent.cli.session import DEFAULT_SOCKET, Session
from agent.config import Settings
from agent.model.environment import Environment
from tests.support.fakes_api import SETTINGS, House
from tests.support.plans import environment
from tests.unit.cli.conftest import Run


def all_commands() -> list[click.Command]:
    return [butai, *butai.commands.values()]


def test_help_lines_are_short_imperatives() -> None:
    for command in butai.commands.values():
        line = command.get_short_help_str(limit=200)
        assert len(line) < 60, line
        assert line.endswith(".")
        assert line[0].isupper()


def test_help_and_an_unreachable_agent_need_no_heavy_imports() -> None:
    code = (
        "import sys; from agent.cli.main import butai;"
        "butai(['--help'], standalone_mode=False);"
        "sys.exit(bool({'httpx', 'rich', 'flask', 'docker', 'structlog', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("command", ["list", "show", "logs", "plan", "events"])
def test_what_reads_prints_json(command: str) -> None:
    assert "--json" in [option for parameter in butai.commands[command].params for option in parameter.opts]


@pytest.mark.parametrize(
    "arguments", [(), ("nonsense",), ("deploy",), ("list", "--nonsense"), ("logs", "x", "-n", "-1")]
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(butai, arguments).exit_code == 2


def test_an_absent_agent_exits_69_and_says_where_to_look(tmp_path: Path) -> None:
    missing, dead = tmp_path / "none.sock", tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    for path in (missing, dead):
        result = CliRunner().invoke(butai, ["--socket", str(path), "list"])
        assert result.exit_code == 69
        assert str(path) in result.stderr
        assert "systemctl status butai" in result.stderr
        assert result.stdout == ""


def test_a_socket_of_others_says_which_group_to_join(house: House, run: Run) -> None:
    house.socket.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)  # permissions do not stop root
    try:
        result = run("list")
    finally:
        if was_root:
            os.seteuid(0)
    assert result.exit_code == 69
    assert "You may not use" in result.stderr
    assert "group" in result.stderr


def test_an_option_like_branch_is_refused_by_name_and_never_an_option(house: House, run: Run) -> None:
    for branch in ("--upload-pack=touch x", "-x", "--"):
        result = run("deploy", "--project", "shop", "--", branch)
        assert result.exit_code == 2
    assert run("deploy", "--upload-pack=x").exit_code == 2
    assert house.store.environments.all() == ()


def test_awkward_branch_names_are_only_text(house: House, run: Run) -> None:
    for branch in ("main;touch${IFS}x", "$(touch${IFS}x)", "%s%n", "{0.__class__}", "日本", "true", "a&b"):
        assert run("deploy", "-d", "--project", "shop", "--", branch).exit_code == 0
        assert house.store.environments.find(branch, project="shop")


def test_the_socket_comes_from_the_option_the_environment_or_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert Session(config=path, socket_option=None).socket == DEFAULT_SOCKET
    path.write_text('[server]\nsocket = "/run/other.sock"\n')
    assert Session(config=path, socket_option=None).socket == Path("/run/other.sock")
    assert Session(config=path, socket_option=Path("/x.sock")).socket == Path("/x.sock")
    path.write_text('server = "nonsense')
    assert Session(config=path, socket_option=None).socket == DEFAULT_SOCKET


def test_check_config_reports_every_problem_a_line_each_and_exits_78(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('domian = "x"\n[limits]\nbuilds = "two"\n[projects.shop]\nremote = 7\n')
    result = CliRunner().invoke(butai, ["check-config", str(path)])
    assert result.exit_code == 78
    assert result.stdout == ""
    for place in ("domian", "limits.builds", "projects.shop.remote"):
        assert [line for line in result.stderr.splitlines() if line.startswith(f"{place}:")], result.stderr


def test_check_config_says_when_all_is_well(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(SETTINGS)
    result = CliRunner().invoke(butai, ["--config", str(path), "check-config"])
    assert (result.exit_code, result.stdout) == (0, f"{path} is fine; projects: blog, shop\n")


def test_serve_and_rebuild_database_run_the_daemons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text(SETTINGS)
    called: list[object] = []

    def rebuild(settings: Settings) -> tuple[Environment, ...]:
        called.append(settings)
        return (environment(),)

    def serve(path: Path) -> int:
        called.append(path)
        return 3

    monkeypatch.setattr("agent.daemon.main", serve)
    monkeypatch.setattr("agent.daemon.rebuild_database", rebuild)
    assert CliRunner().invoke(butai, ["serve", "--config", str(path)]).exit_code == 3
    result = CliRunner().invoke(butai, ["--config", str(path), "rebuild-database"])
    assert (result.exit_code, result.stdout) == (0, "feature-x: feature/x of shop\n")
    assert called == [path, config.load(path)]


def test_the_wall_is_put_up_without_the_secrets_that_only_the_agent_is_handed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'{SETTINGS}\n[server]\ntoken_file = "credential:api-token"\n')
    called: list[Settings] = []
    monkeypatch.setattr("agent.daemon.wall", called.append)
    assert CliRunner().invoke(butai, ["wall", "--config", str(path)]).exit_code == 0
    assert called == [config.load(path, with_secrets=False)]


def completed(house: House, *words: str) -> list[str]:
    *before, incomplete = words
    completer = ShellComplete(butai, {}, "butai", "_BUTAI_COMPLETE")
    arguments = ["--socket", str(house.socket), *before]
    return [item.value for item in completer.get_completions(arguments, incomplete)]


def test_completion_knows_commands_branches_slugs_projects_and_services(house: House) -> None:
    house.deploy("feature/x")
    assert "deploy" in completed(house, "de")
    assert completed(house, "deploy", "m") == ["main"]
    assert completed(house, "show", "feat") == ["feature/x", "feature-x"]
    assert completed(house, "list", "--project", "") == ["blog", "shop"]
    assert completed(house, "logs", "feature/x", "") == ["web"]


def test_completion_never_offers_what_a_shell_would_run(house: House) -> None:
    assert "$(touch x)" in house.store.branches.of("shop")
    assert completed(house, "deploy", "") == ["feature/x", "main"]


def test_completion_without_an_agent_is_silent(tmp_path: Path) -> None:
    completer = ShellComplete(butai, {}, "butai", "_BUTAI_COMPLETE")
    assert completer.get_completions(["--socket", str(tmp_path / "x"), "show"], "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(shell: str) -> None:
    result = CliRunner().invoke(butai, ["completion", shell])
    assert result.exit_code == 0
    assert "_BUTAI_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 日本 🚀", "plain äöü 日本 🚀"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\x", "x"),
        ("\x1bcreset", "reset"),
        ("\x9b2Jx", "x"),
        ("a\x1b", "a"),
        ("a\tb\x00c\x7f", "a\tb\\x00c\\x7f"),
        ("x\u202ey\u200dz\ue000", "x\\u202ey\\u200dz\\ue000"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_a_terminal_is_shown_only_what_prints(text: str, shown: str) -> None:
    assert clean(text) == shown
