"""The real server: who may open its socket, who is at the other end, and how it starts and stops."""

import getpass
import json
import socket
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.errors import ConfigError, OutsideError, StateError
from agent.web.deps import CALLER, LISTENER
from agent.web.server import WebServer
from tests.support.eventually import eventually


def application(environ, start_response) -> Iterable[bytes]:
    """Tells what the server said about the request."""
    body = json.dumps({"listener": environ.get(LISTENER), "caller": environ.get(CALLER)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def server():
    made = WebServer(application)
    yield made
    made.close()


def ask(family: int, address, *, path: str = "/") -> dict[str, str]:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(address)
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_the_socket_is_for_its_owner_and_group_and_says_who_is_calling(server, tmp_path):
    path = tmp_path / "agent.sock"
    server.serve_socket(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert ask(socket.AF_UNIX, str(path)) == {"listener": "socket", "caller": f"unix:{getpass.getuser()}"}


def test_over_tcp_nobody_is_known(server):
    port = server.serve_tcp("127.0.0.1", 0)
    assert ask(socket.AF_INET, ("127.0.0.1", port)) == {"listener": "tcp", "caller": None}


def test_both_are_served_side_by_side_and_tcp_may_come_later(server, tmp_path):
    path = tmp_path / "agent.sock"
    server.serve_socket(path)
    port = server.serve_tcp("127.0.0.1", 0)
    assert ask(socket.AF_UNIX, str(path))["listener"] == "socket"
    assert ask(socket.AF_INET, ("127.0.0.1", port))["listener"] == "tcp"


def test_serving_the_same_address_again_changes_nothing(server):
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    assert server.serve_tcp("127.0.0.1", port) == port
    assert server.serve_tcp("127.0.0.1", port) == port


def test_another_address_replaces_the_one_before(server):
    first = server.serve_tcp("127.0.0.1", 0)
    second = server.serve_tcp("127.0.0.2", 0)
    assert ask(socket.AF_INET, ("127.0.0.2", second))["listener"] == "tcp"
    with pytest.raises(ConnectionRefusedError):
        ask(socket.AF_INET, ("127.0.0.1", first))


def test_an_address_that_is_not_there_yet_is_tried_again_later(server):
    with pytest.raises(OutsideError, match="yet"):
        server.serve_tcp("192.0.2.1", 8480)


def test_a_port_that_is_taken_is_the_operators_to_solve(server):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match=r"server\.port"):
        server.serve_tcp("127.0.0.1", taken.getsockname()[1])


def test_a_socket_file_that_a_dead_agent_left_is_replaced(server, tmp_path):
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server.serve_socket(path)
    assert ask(socket.AF_UNIX, str(path))["listener"] == "socket"


def test_the_socket_of_a_living_agent_is_left_alone(server, tmp_path):
    path = tmp_path / "agent.sock"
    server.serve_socket(path)
    with pytest.raises(StateError, match="Another agent"):
        WebServer(application).serve_socket(path)
    assert ask(socket.AF_UNIX, str(path))["listener"] == "socket"


@pytest.mark.parametrize("name", ["no/such/folder/agent.sock", "x" * 200])
def test_a_socket_that_cannot_be_made_is_the_operators_to_solve(server, tmp_path, name):
    with pytest.raises(ConfigError, match=r"server\.socket"):
        server.serve_socket(tmp_path / name)


def test_closing_takes_the_socket_file_away_but_not_that_of_a_successor(tmp_path):
    path = tmp_path / "agent.sock"
    first = WebServer(application)
    first.serve_socket(path)
    first.close()
    assert not path.exists()
    second = WebServer(application)
    second.serve_socket(path)
    kept = Path(tmp_path / "other")
    path.rename(kept)
    third = WebServer(application)
    third.serve_socket(path)
    second.close()
    assert ask(socket.AF_UNIX, str(path))["listener"] == "socket"
    third.close()


def test_closing_lets_a_running_answer_finish(tmp_path):
    started, release = threading.Event(), threading.Event()

    def slow(environ, start_response):
        started.set()
        release.wait(10)
        return application(environ, start_response)

    server = WebServer(slow)
    path = tmp_path / "agent.sock"
    server.serve_socket(path)
    answers: list[dict[str, str]] = []
    client = threading.Thread(target=lambda: answers.append(ask(socket.AF_UNIX, str(path))))
    client.start()
    assert started.wait(10)
    closer = threading.Thread(target=server.close)
    closer.start()
    eventually(lambda: not path.exists())
    release.set()
    closer.join(10)
    client.join(10)
    assert answers == [{"listener": "socket", "caller": f"unix:{getpass.getuser()}"}]


def test_twenty_starts_and_stops_leave_no_thread_and_no_descriptor(tmp_path):
    def once() -> None:
        server = WebServer(application)
        server.serve_socket(tmp_path / "agent.sock")
        ask(socket.AF_UNIX, str(tmp_path / "agent.sock"))
        server.close()

    once()
    threads, descriptors = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        once()
    eventually(lambda: threading.active_count() <= threads)
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 1
