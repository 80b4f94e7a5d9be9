"""Going into an environment from the terminal: cp, tunnel, edit, and the way there by SSH."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli.main import butai
from agent.model.observed import Observed
from tests.support.fakes_api import SETTINGS, House, container
from tests.unit.cli.conftest import Run

BUTAI = [sys.executable, "-c", "from agent.cli.main import main; main()"]


@pytest.fixture
def service(house: House) -> tuple[socket.socket, str]:
    """A port that the service `web` of `main` listens on."""
    listener = socket.create_server(("127.0.0.1", 0))
    house.deploy()
    reachable = replace(container("main"), addresses={"butai-main_default": "127.0.0.1"})
    house.inspector.observed["main"] = Observed(containers=(reachable,))
    return listener, str(listener.getsockname()[1])


def test_tunnel_is_the_connection_on_standard_input_and_output(
    house: House, service: tuple[socket.socket, str]
) -> None:
    listener, port = service
    argv = [*BUTAI, "--socket", str(house.socket), "tunnel", "main", "web", port]
    with listener, subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        peer, _ = listener.accept()
        with peer:
            assert program.stdin is not None
            program.stdin.write(b"\x00\xff hello")
            program.stdin.close()
            assert peer.makefile("rb").read() == b"\x00\xff hello"
            peer.sendall(b"\xfe\x00 yourself")
        assert program.stdout is not None
        assert program.stdout.read() == b"\xfe\x00 yourself"
        assert program.wait(10) == 0
    assert [event.text for event in house.store.events.list()][1:] == [f"opened a tunnel to web:{port}"]


def test_a_tunnel_that_listens_is_one_event_and_ends_with_whoever_reads_its_output(
    house: House, service: tuple[socket.socket, str]
) -> None:
    listener, port = service
    argv = [*BUTAI, "--socket", str(house.socket), "tunnel", "main", "web", port, "--listen", "0"]
    with listener, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdout is not None
        address, _, chosen = program.stdout.readline().decode().strip().rpartition(":")
        assert address == "127.0.0.1"
        listener.accept()[0].close()  # whether it can be was tried first
        for word in (b"one", b"two"):
            with socket.create_connection((address, int(chosen)), timeout=10) as visitor:
                visitor.sendall(word)
                with listener.accept()[0] as peer:
                    assert peer.recv(10) == word
        program.stdout.close()
        assert program.wait(10) == 0
    assert [event.kind for event in house.store.events.list()] == ["deploy", "tunnel"]


def test_a_port_that_nothing_listens_on_is_told_before_anything_connects(
    house: House, run: Run, service: tuple[socket.socket, str]
) -> None:
    listener, port = service
    listener.close()
    for more in ((), ("--listen", "0")):
        result = run("tunnel", "main", "web", port, *more)
        assert result.exit_code == 2
        assert f"Nothing listens on port {port} of web of main" in result.stderr
        assert result.stdout == ""


def test_a_service_without_an_address_says_why(house: House, run: Run) -> None:
    house.deploy()
    house.inspector.observed["main"] = Observed(containers=(replace(container("main"), addresses={}),))
    assert "no address of its own" in run("tunnel", "main", "web", "80").stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.txt", "b.txt"), "One of the two"),
        (("web:/a", "web:/b"), "One of the two"),
        (("./web:/a", "b"), "One of the two"),
        (("web:a.txt", "b.txt"), "begins with `/`"),
        (("a.txt", "web:"), "begins with `/`"),
        (("no-such-file", "web:/tmp/"), "Nothing is at no-such-file on this host"),
        (("web:/etc/passwd", "no/such/place"), "No folder"),
        (("a.txt", "wbe:/tmp/"), "Services: web."),
    ],
)
def test_what_cannot_be_copied_is_named_and_nothing_is_done(
    house: House, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str], said: str
) -> None:
    house.deploy()
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("one")
    Path("web:").mkdir()
    result = run("cp", "main", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_edit_prints_the_path_alone_and_how_edits_behave_beside_it(house: House, run: Run) -> None:
    house.deploy("main")
    house.deploy("feature/x")
    result = run("edit", "main")
    assert result.stdout == "/var/lib/butai/checkouts/main\n"
    assert "butai edits main" in result.stderr
    assert "does not run" not in result.stderr
    assert "feature/x does not run now" in run("edit", "feature/x").stderr
    assert json.loads(run("edit", "main", "--json").stdout) == {
        "path": "/var/lib/butai/checkouts/main",
        "takes_edits": True,
    }


def test_ssh_config_is_one_host_by_the_domain_of_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text(SETTINGS)
    printed = CliRunner().invoke(butai, ["--config", str(settings), "ssh-config", "--user", "anna"])
    assert printed.exit_code == 0
    host, *options = [line for line in printed.stdout.splitlines() if not line.lstrip().startswith("#")]
    assert host == "Host staging"
    assert {"    HostName staging.example.com", "    User anna", "    ControlMaster auto"} <= set(options)


@pytest.mark.parametrize("word", ["a b", "x\nProxyCommand evil", "%h", "*", "-x", '"x"', ""])
def test_ssh_config_prints_no_word_that_ssh_would_read_as_more(tmp_path: Path, word: str) -> None:
    for option in ("--name", "--host", "--user"):
        given = ["--host", "staging.example.com", option, word]
        result = CliRunner().invoke(butai, ["ssh-config", *given], env={"LOGNAME": "x"})
        assert word == "" or (result.exit_code, result.stdout) == (2, "")


def test_ssh_config_without_settings_asks_for_the_host(tmp_path: Path) -> None:
    result = CliRunner().invoke(butai, ["--config", str(tmp_path / "none.toml"), "ssh-config"])
    assert result.exit_code == 2
    assert "--host" in result.stderr


def test_who_may_not_use_docker_is_told_the_group_to_join(
    house: House, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.deploy()
    access, exists, docker = os.access, Path.exists, "/var/run/docker.sock"
    monkeypatch.setattr(os, "access", lambda path, mode: path != docker and access(path, mode))
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == docker or exists(path))
    result = run("exec", "main")
    assert result.exit_code == 69
    assert "You may not use Docker's socket" in result.stderr
    assert "group" in result.stderr
