"""A person at a terminal: a program on a pty of its own, what it shows, keys, and a window that changes its size."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from typing import Self

from tests.support.eventually import eventually

# The program becomes the owner of the terminal, so that the kernel tells it of Ctrl-C and of new sizes.
_OWN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """`with Terminal([program, argument], rows=40, columns=100) as terminal:`; killed at the end if it still runs."""

    def __init__(
        self, argv: Sequence[str], *, rows: int, columns: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        self._seen = bytearray()
        self.resize(rows, columns)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OWN, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(10)
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def types(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def shows(self, text: str, seconds: float = 15) -> None:
        """Wait for it, and forget what was shown up to there."""

        def seen() -> bool:
            assert text in self.screen, self.screen
            return True

        eventually(seen, seconds, pause_s=0.02)
        del self._seen[: self._seen.index(text.encode()) + len(text.encode())]

    @property
    def screen(self) -> str:
        return bytes(self._seen).decode(errors="replace")

    def exit_code(self) -> int:
        """Once it ends by itself."""
        return self._process.wait(15)

    def _read(self) -> None:
        while True:
            try:
                self._seen += os.read(self._master, 4096)
            except OSError:  # EIO: nobody holds the other side any more
                return
