"""Bytes both ways between a TCP connection and a pair of streams, until both have said all.

A side that ends only its own direction (`printf ... | butai tunnel`) still hears the answer. When nobody reads the
output any more the connection ends, even where the service would wait for ever: without a terminal, that is all
that sshd tells when a laptop goes away.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable

from agent.errors import OutsideError, RequestError

_CHUNK = 64 * 1024
_CONNECT_S = 10
_BACKLOG = 16
_LOOPBACK = "127.0.0.1"


def connected(address: str, port: int, *, where: str) -> socket.socket:
    """RequestError when nothing listens there, OutsideError when nobody answers; `where` is what people call it."""
    try:
        peer = socket.create_connection((address, port), timeout=_CONNECT_S)
    except ConnectionRefusedError as error:
        raise RequestError(
            f"Nothing listens on port {port} of {where}.",
            hint="A program that listens on 127.0.0.1 only is not reached from outside: let it listen on 0.0.0.0.",
            code="nothing-listens",
        ) from error
    except OSError as error:
        raise OutsideError(
            f"Port {port} of {where} does not answer at {address}: {error.strerror or error}.",
            hint="Is this the host that its containers run on?",
            code="no-answer",
        ) from error
    peer.settimeout(None)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def join(peer: socket.socket, source: int, sink: int) -> None:
    """Carry what comes from the descriptor `source` to `peer` and what it answers to `sink`, until `peer` ends.

    Closes `peer`. BrokenPipeError when nobody reads `sink`. A thread may go on waiting for `source`: this is the last
    thing that a process does.
    """
    with peer:
        _sender(peer, source, sink)
        try:
            _receive(peer, sink)
        finally:
            _end(peer)


def bridge(peer: socket.socket, visitor: socket.socket) -> None:
    """Carry what either says to the other until one has gone; closes both."""
    with peer, visitor:
        sender = _sender(peer, visitor.fileno(), visitor.fileno())
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _receive(peer, visitor.fileno())
        finally:
            _end(peer)
            _end(visitor)
            sender.join()  # before anything is closed: the number of its descriptor is somebody else's then


def listening(port: int) -> socket.socket:
    """A socket on `port` of the loopback, any when 0. RequestError when it is taken or not for this user."""
    try:
        return socket.create_server((_LOOPBACK, port), backlog=_BACKLOG)
    except OSError as error:
        raise RequestError(
            f"Port {port} of this host cannot be listened on: {os.strerror(error.errno or 0)}.",
            hint="Choose another one, between 1024 and 65535.",
            code="port-taken",
        ) from error


def serve(listener: socket.socket, answer: Callable[[socket.socket], None], *, until: int) -> None:
    """Call `answer` for each connection in a thread of its own, until nobody reads the descriptor `until` any more."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(until, 0)  # errors and hang-ups are always told
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == until:
                return
            with contextlib.suppress(ConnectionError):
                visitor, _ = listener.accept()
                threading.Thread(target=answer, args=(visitor,), daemon=True, name="tunnel").start()


def _receive(peer: socket.socket, sink: int) -> None:
    with contextlib.suppress(ConnectionResetError):
        while chunk := peer.recv(_CHUNK):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(sink, rest) :]


def _sender(peer: socket.socket, source: int, sink: int) -> threading.Thread:
    poll = select.poll()
    poll.register(sink, 0)  # errors and hang-ups are always told: nobody reads any more,
    poll.register(peer, 0)  # or the connection has ended

    def send() -> None:
        with contextlib.suppress(OSError):  # the connection ended, which the other direction tells
            while chunk := os.read(source, _CHUNK):
                peer.sendall(chunk)
            peer.shutdown(socket.SHUT_WR)
        poll.poll()
        _end(peer)

    thread = threading.Thread(target=send, daemon=True, name="tunnel-up")
    thread.start()
    return thread


def _end(side: socket.socket) -> None:
    """In both directions, so that whoever waits for it wakes up."""
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
