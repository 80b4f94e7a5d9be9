"""Network namespaces of a test's own: what is changed in one is nowhere else, and it is gone with the test."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_NEWNET = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace that lives as long as this object is open. Only root may make one."""

    def __init__(self) -> None:
        self._fd = -1
        _in_thread(self._begin)

    @classmethod
    @contextmanager
    def of(cls, pid: int) -> Iterator[Namespace]:
        """The one that a running process is in."""
        found = cls.__new__(cls)
        found._fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield found
        finally:
            found.close()

    def close(self) -> None:
        os.close(self._fd)

    @property
    def path(self) -> str:
        """What `ip link set … netns` takes."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def do(self, act: Callable[[], T]) -> T:
        """Act in here, in a thread: its sockets stay in here, the programs that it starts are in here."""

        def entered() -> T:
            _check(_libc.setns(self._fd, _NEWNET))
            return act()

        return _in_thread(entered)

    def call(self, *commands: str) -> None:
        """Run these programs in here, one after the other."""
        self.do(lambda: [subprocess.run(command.split(), check=True, capture_output=True) for command in commands])

    def said(self, command: str) -> list[str]:
        """What a program prints in here."""
        done = self.do(lambda: subprocess.run(command.split(), check=True, capture_output=True, text=True))
        return done.stdout.splitlines()

    def listen(self, address: str, port: int) -> socket.socket:
        """A server in here that sends one word to whoever connects, until it is closed."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = self.do(lambda: socket.create_server((address, port), family=family))
        threading.Thread(target=_greet, args=(server,), daemon=True).start()
        return server

    def reaches(self, address: str, port: int) -> bool:
        """Whether somebody in here is answered there; refused is False, and to wait in vain is a failed test."""
        try:
            with self.do(lambda: socket.create_connection((address, port), timeout=3)) as connection:
                connection.settimeout(3)
                return connection.recv(8) == b"hello"
        except ConnectionError:
            return False

    def _begin(self) -> None:
        _check(_libc.unshare(_NEWNET))
        self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _greet(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"hello")


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _in_thread(act: Callable[[], T]) -> T:
    """A thread of its own, because a thread that has left its namespaces is of no use for anything else."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(act).result()
