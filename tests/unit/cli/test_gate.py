"""A key that may run only some commands runs only these, whatever its owner sends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import Result

from agent.cli import gate
from agent.cli.gate import Gate
from agent.cli.main import butai
from agent.errors import RequestError
from tests.support.fakes_api import House
from tests.unit.cli.conftest import Run

KEY = Gate("anna", frozenset({"logs", "exec", "cp", "tunnel"}))


@pytest.mark.parametrize(
    ("line", "command", "arguments"),
    [
        ("butai logs main", "logs", ["main"]),
        ("  butai   logs\tmain\n", "logs", ["main"]),
        (
            "butai exec main web -- sh -c 'echo \"a b\"; id'",
            "exec",
            ["main", "web", "--", "sh", "-c", 'echo "a b"; id'],
        ),
        ("butai exec main -- printf 'one\ntwo'", "exec", ["main", "--", "printf", "one\ntwo"]),
        ("butai exec main -- butai --socket /x serve", "exec", ["main", "--", "butai", "--socket", "/x", "serve"]),
        ("butai 'logs' feature/日本", "logs", ["feature/日本"]),
    ],
)
def test_what_the_key_may_run_is_passed_on_word_for_word(line: str, command: str, arguments: list[str]) -> None:
    assert gate.admitted(line, KEY) == (command, arguments)


@pytest.mark.parametrize(
    "line",
    [
        "",
        " \n ",
        "''",
        "butai",
        "butai ''",
        "sh",
        "/usr/local/bin/butai logs main",
        "./butai logs main",
        "butai; butai logs main",
        "BUTAI_SOCKET=/tmp/x butai logs main",
        "env butai logs main",
        "sudo butai logs main",
        "internal-sftp",
        "/usr/lib/openssh/sftp-server",
        "scp -t /etc",
        "rsync --server . /",
        "butai destroy main --yes",
        "butai serve",
        "butai serve --config /tmp/mine.toml",
        "butai check-config /etc/shadow",
        "butai rebuild-database",
        "butai wall",
        "butai dns adopt --yes",
        "butai ssh-gate root --allow destroy",
        "butai ssh-config",
        "butai completion bash",
        "butai --config /tmp/mine.toml logs main",
        "butai --config=/tmp/mine.toml logs main",
        "butai --socket /tmp/mine.sock exec main",
        "butai -- logs main",
        "butai --help",
        "butai --version",
        "butai LOGS main",
        "butai log main",
        "butai logs; id",
        "butai logs\x00 main",
        "butai 'logs main'",
        "butai logs' main",
        'butai logs "main',
        "butai logs main\\",
        "butai $(echo logs) main",
        "butai `echo logs` main",
        "butai\u00a0logs main",
        "butai \u200blogs main",
        "butai logs \udcff",
        "butai logs " + "x" * 40_000,
    ],
)
def test_everything_else_is_refused_with_what_the_key_may_do(line: str) -> None:
    with pytest.raises(RequestError) as refused:
        gate.admitted(line, KEY)
    assert refused.value.code == "not-allowed"
    assert "`butai logs`, `butai exec`" in refused.value.hint


@pytest.mark.parametrize("name", ["", "-x", "anna boss", "a\nb", "../x", "x" * 65, "ä", "a/b"])
def test_a_caller_that_could_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="cannot be a caller"):
        gate.gate_of(name, ["logs"], [])


def test_only_commands_that_leave_the_host_alone_can_be_allowed() -> None:
    assert gate.gate_of("anna", ["logs, exec", "tunnel"], [13306]) == Gate(
        "anna", frozenset({"logs", "exec", "tunnel"}), frozenset({13306})
    )
    for name in ("serve", "check-config", "ssh-gate", "dns", "*", "all", ""):
        with pytest.raises(RequestError, match="--allow"):
            gate.gate_of("anna", [name], [])
    assert set(gate.COMMANDS) <= set(butai.commands)


def test_every_command_that_can_be_allowed_takes_no_file_of_the_host_but_cp() -> None:
    for name in gate.COMMANDS:
        given = {type(parameter.type).__name__ for parameter in butai.commands[name].params}
        assert not given & {"Path", "File"}, name


class Key:
    """One key of the account, and what comes of what its owner sends."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self._run = run
        self._monkeypatch = monkeypatch
        self.environment: dict[str, str] = {}

    def asks(self, line: str, *options: str, allow: str = "logs,exec,cp,tunnel", **more: str) -> Result:
        self.environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": line, **more}
        self._monkeypatch.setattr(os, "environ", self.environment)  # the gate empties it, and it is the test's own too
        return self._run("ssh-gate", "anna", "--allow", allow, *options)


@pytest.fixture
def key(run: Run, monkeypatch: pytest.MonkeyPatch) -> Key:
    return Key(run, monkeypatch)


def test_events_name_the_account_and_the_caller(house: House, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    house.deploy()
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda file, argv: became.append([file, *argv]))
    assert key.asks("butai exec main web -- sh -c 'id; ls'").exit_code == 0
    event = house.store.events.list(slug="main")[-1]
    assert event.kind == "exec"
    assert event.caller.startswith("unix:")
    assert event.caller.endswith("/anna")
    assert became[0][-3:] == ["sh", "-c", "id; ls"]


def test_a_program_that_the_gate_starts_sees_only_what_a_terminal_needs(
    house: House, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.deploy()
    monkeypatch.setattr(os, "execvp", lambda file, argv: None)
    hostile = {"DOCKER_HOST": "tcp://evil", "DOCKER_CONFIG": "/tmp/evil", "LD_PRELOAD": "/tmp/x.so", "LC_EVIL": "x"}
    assert key.asks("butai exec main", TERM="xterm", **hostile).exit_code == 0
    assert set(key.environment) == {"PATH", "TERM"}


@pytest.mark.parametrize("variable", ["BUTAI_SOCKET", "BUTAI_CONFIG"])
def test_settings_from_the_environment_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    from click.testing import CliRunner

    variables = {variable: "/tmp/mine", "SSH_ORIGINAL_COMMAND": "butai list"}
    result = CliRunner().invoke(butai, ["ssh-gate", "anna", "--allow", "list"], env=variables)
    assert result.exit_code == 2
    assert variable in result.stderr


@pytest.mark.parametrize(
    "line",
    [
        "butai exec main web --config /tmp/x",
        "butai exec --socket=/tmp/x main web",
        "butai logs main --config /tmp/x",
        "butai exec --privileged main web -- id",
        "butai exec --docker-host tcp://evil main",
        "butai exec -u root main web -- id",
    ],
)
def test_options_of_ours_are_unknown_behind_the_command(house: House, key: Key, line: str) -> None:
    house.deploy()
    result = key.asks(line)
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def test_a_key_copies_nothing_from_or_to_the_host(house: House, key: Key, tmp_path: Path) -> None:
    house.deploy()
    mine = tmp_path / "authorized_keys"
    mine.write_text("secret")
    for line in (
        f"butai cp main {mine} web:/tmp/",
        f"butai cp main web:/tmp/evil {mine}",
        "butai cp main web:/etc/passwd .",
        "butai cp main web:/etc/passwd ./-",
        "butai cp main /dev/stdin web:/tmp/",
        "butai cp main web:/etc/passwd /dev/stdout",
    ):
        result = key.asks(line)
        assert (result.exit_code, "no files of the host" in result.stderr) == (2, True), line
    assert mine.read_text() == "secret"


def test_a_tunnel_of_a_key_listens_only_where_the_operator_says(house: House, key: Key) -> None:
    house.deploy()
    for line in ("butai tunnel main web 80 --listen 0", "butai tunnel main web 80 -l 8080"):
        assert "may not listen" in key.asks(line).stderr
        assert "may listen on 13306" in key.asks(line, "--listen", "13306").stderr


def test_what_was_not_allowed_is_not_even_asked_for(house: House, key: Key) -> None:
    house.deploy()
    before = [event.kind for event in house.store.events.list()]
    assert key.asks("butai destroy main --yes").exit_code == 2
    assert key.asks("butai deploy main -p shop -d", allow="logs").exit_code == 2
    assert [event.kind for event in house.store.events.list()] == before
