"""A tunnel carries every byte both ways, notices every way to end, and mixes nothing up."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from agent.adapters import pipe
from agent.errors import RequestError
from tests.support.eventually import eventually


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def reach(server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection: as the tunnel has it, and as the service has it."""
    peer = pipe.connected(*server.getsockname(), where="mysql of main")
    service, _ = server.accept()
    return peer, service


def joined(peer: socket.socket) -> tuple[int, int, threading.Thread]:
    """What is written to the first descriptor goes to `peer`, its answers come from the second."""
    source, says = os.pipe()
    hears, sink = os.pipe()

    def run() -> None:
        pipe.join(peer, source, sink)
        os.close(sink)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return says, hears, thread


def test_the_answer_is_heard_after_the_question_has_ended(server: socket.socket) -> None:
    peer, service = reach(server)
    says, hears, thread = joined(peer)
    os.write(says, b"question")
    os.close(says)
    with service, service.makefile("rb") as asked:
        assert asked.read() == b"question"
        service.sendall(b"answer" * 5_000)
    with os.fdopen(hears, "rb") as answer:
        assert answer.read() == b"answer" * 5_000
    thread.join(10)
    assert not thread.is_alive()


def test_it_ends_when_nobody_reads_the_answer_any_more(server: socket.socket) -> None:
    peer, service = reach(server)
    says, hears, _ = joined(peer)
    os.close(says)
    os.close(hears)
    with service:
        service.settimeout(10)
        assert service.recv(1) == b""
        eventually(lambda: peer.fileno() == -1 or None, 10)


def test_connections_are_served_side_by_side_until_whoever_started_it_is_gone(server: socket.socket) -> None:
    def answer(visitor: socket.socket) -> None:
        pipe.bridge(pipe.connected(*server.getsockname(), where="mysql of main"), visitor)

    started, watched = os.pipe()
    listener = pipe.listening(0)
    serving = threading.Thread(target=lambda: pipe.serve(listener, answer, until=watched), daemon=True)
    serving.start()
    visitors = [socket.create_connection(listener.getsockname(), timeout=10) for _ in range(3)]
    services = [server.accept()[0] for _ in visitors]
    for number, visitor in enumerate(visitors):
        visitor.sendall(b"%d" % number)
    for service in services:
        service.sendall(b"you said " + service.recv(10))
    assert [visitor.recv(100) for visitor in visitors] == [b"you said 0", b"you said 1", b"you said 2"]
    visitors[0].close()
    assert services[_index(services, b"")].recv(1) == b""
    os.close(started)
    serving.join(10)
    assert not serving.is_alive()
    for one in (*visitors, *services, listener):
        one.close()
    os.close(watched)


def _index(services: list[socket.socket], said: bytes) -> int:
    """Which of them hears `said` now."""
    for service in services:
        service.setblocking(False)

    def found() -> int | None:
        for number, service in enumerate(services):
            try:
                if service.recv(1, socket.MSG_PEEK) == said:
                    return number + 1
            except BlockingIOError:
                continue
        return None

    number = eventually(found, 10)
    assert number is not None
    return number - 1


def test_a_port_on_which_nothing_listens_is_named(server: socket.socket) -> None:
    address, port = server.getsockname()
    server.close()
    with pytest.raises(RequestError, match=f"Nothing listens on port {port} of mysql of main"):
        pipe.connected(address, port, where="mysql of main")


def test_a_port_that_is_taken_is_named(server: socket.socket) -> None:
    with pytest.raises(RequestError, match="cannot be listened on"):
        pipe.listening(server.getsockname()[1])
