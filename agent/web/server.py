"""Serves the application with waitress: on the Unix socket from the start, on TCP once its address exists.

The TCP address is the gateway of Traefik's network, which is there only after Traefik was set up;
the CLI works before that. Stopping lets running answers finish, for a bounded time.
"""

from __future__ import annotations

import errno
import logging
import os
import pwd
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import RequestHeaderFieldsTooLarge

from agent.errors import ConfigError, OutsideError, Problem, StateError
from agent.web.app import MAX_BODY_BYTES
from agent.web.deps import CALLER, LISTENER, SOCKET, TCP

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SOCKET_MODE = 0o660  # its group may use the agent
_SOCKET_THREADS = 16  # a CLI that follows a log or waits for a phase holds one
_TCP_THREADS = 8
_MAX_HEADER_BYTES = 32 * 1024
_MAX_HEADERS = 100
_STOP_S = 5
_SWITCH_S = 0.0005  # Python's own 5 ms are what a thread that computes takes whenever an answer lets go for a moment


class WebServer:
    """`serve_socket` and `serve_tcp` return once clients can connect; `close` ends both."""

    def __init__(self, application: WSGIApplication) -> None:
        # It warns for every request that waits for a thread, which in a burst is most of them.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        sys.setswitchinterval(_SWITCH_S)
        self._application = application
        self._listeners: dict[str, _Listener] = {}
        self._lock = Lock()

    def serve_socket(self, path: Path) -> None:
        """Listen on a Unix socket that its group may use. ConfigError when it cannot be, StateError when another
        agent answers there."""
        listening = _bound_to_path(path)
        self._start(SOCKET, listening, threads=_SOCKET_THREADS, path=path)

    def serve_tcp(self, address: str, port: int) -> int:
        """Listen on `address`, instead of the TCP address before; the port, chosen by the kernel when 0.

        Again with the same address: nothing happens. OutsideError while the address does not exist here.
        """
        with self._lock:
            current = self._listeners.get(TCP)
        if current is not None and current.asked == (address, port):
            return current.port
        listening = _bound_to_address(address, port)
        return self._start(TCP, listening, threads=_TCP_THREADS, asked=(address, port))

    def close(self) -> None:
        """Accept nothing more, wait for running answers (five seconds at most), and end."""
        with self._lock:
            listeners = list(self._listeners.values())
            self._listeners.clear()
        for listener in listeners:
            listener.close()

    def _start(
        self,
        kind: str,
        listening: socket.socket,
        *,
        threads: int,
        path: Path | None = None,
        asked: tuple[str, int] | None = None,
    ) -> int:
        listener = _Listener(_marked(self._application, kind), listening, threads=threads, path=path, asked=asked)
        with self._lock:
            before = self._listeners.get(kind)
            self._listeners[kind] = listener
        listener.start()
        if before is not None:
            before.close()
        return listener.port


class _Listener:
    """One waitress server with its own threads, so that a slow client of the one kind never holds up the other."""

    def __init__(
        self,
        application: WSGIApplication,
        listening: socket.socket,
        *,
        threads: int,
        path: Path | None,
        asked: tuple[str, int] | None,
    ) -> None:
        self.asked = asked
        self._path = path
        self._inode = path.stat().st_ino if path is not None else 0
        self.port = int(listening.getsockname()[1]) if asked is not None else 0
        self._map: dict[int, Any] = {}
        adjustments: dict[str, Any] = {
            "sockets": [listening],
            "threads": threads,
            "ident": None,
            "max_request_header_size": _MAX_HEADER_BYTES,
            "max_request_body_size": MAX_BODY_BYTES + 1,  # the application refuses with a reason first
            "clear_untrusted_proxy_headers": True,  # X-Forwarded-*: nobody is believed
            "channel_timeout": 60,
            "cleanup_interval": 10,
        }
        server = create_server(application, self._map, **adjustments)
        assert isinstance(server, BaseWSGIServer)  # noqa: S101 - one socket makes one server
        server.channel_class = _Channel
        self._server = server
        self._thread = Thread(target=server.run, name=f"web-{path or asked}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._path is not None and self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()
        self._in_loop(self._stop_accepting)
        self._server.task_dispatcher.shutdown(timeout=_STOP_S)
        self._in_loop(lambda: wasyncore.close_all(self._map))
        self._thread.join(_STOP_S)

    def _stop_accepting(self) -> None:
        self._server.accepting = False

    def _in_loop(self, act: Callable[[], None]) -> None:
        """waitress is not safe to close from another thread; its trigger runs `act` in its own.

        Its own pull_trigger() lets go of the lock before it writes, so `act` could close what it writes to.
        """
        trigger: Any = self._server.trigger
        with trigger.lock:
            trigger.thunks.append(act)
            trigger.pull_trigger()


def _marked(application: WSGIApplication, kind: str) -> WSGIApplication:
    def marked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[LISTENER] = kind
        return application(environ, start_response)

    return marked


class _Parser(HTTPRequestParser):
    """Stricter than waitress: what two servers in a row could read differently is refused."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")
        if len(self.headers) > _MAX_HEADERS:
            self.error = RequestHeaderFieldsTooLarge(f"more than {_MAX_HEADERS} headers")
            self.completed = True


class _Task(WSGITask):
    """Adds who is at the other end of the Unix socket, as the kernel tells it."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        peer = self.channel.socket
        if peer is not None and peer.family == socket.AF_UNIX:
            environ[CALLER] = f"unix:{_user_at(peer)}"
        return environ


class _Channel(HTTPChannel):
    parser_class = _Parser
    task_class = _Task
    error_task_class = ErrorTask


def _user_at(peer: socket.socket) -> str:
    """The name of the user who connected (SO_PEERCRED), or the number where there is no name."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _bound_to_path(path: Path) -> socket.socket:
    """A bound Unix socket at `path`: put in place by a rename, so that nobody ever meets it with a wider mode."""
    if _answers(path):
        raise StateError(
            f"Another agent answers on {path}.", hint="Stop it, or give this one its own server.socket.", code="running"
        )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        fresh.unlink(missing_ok=True)
        listening.bind(str(fresh))
        fresh.chmod(_SOCKET_MODE)
        fresh.rename(path)
    except OSError as error:
        listening.close()
        raise ConfigError((Problem("server.socket", f"{path} cannot be made: {error.strerror or error}"),)) from error
    return listening


def _answers(path: Path) -> bool:
    """Whether a server listens there: a socket file outlives the process that made it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _bound_to_address(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            problem = Problem("server.port", f"{address}:{port} cannot be used: {error.strerror}")
            raise ConfigError((problem,)) from error
        raise OutsideError(f"Nothing can listen on {address}:{port} yet: {error.strerror}.") from error
    return listening
