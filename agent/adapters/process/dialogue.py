"""Programs that are kept and asked again and again, because to start one costs more than its answer.

Such a program must end when its input ends: that is what ends it when the agent is killed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.adapters.process import DeadlineError, installed
from agent.errors import OutsideError

_CHUNK = 256 * 1024
_LONGEST_LINE = 64 * 1024


class BrokenOffError(OutsideError):
    """The program ended, or says what makes no sense; another one may do better."""

    code = "program-broke-off"


class Dialogue:
    """One running program. Not for two threads at once, and of no use any more after it raised anything.

    `timeout_s` is how long it may be silent; longer raises DeadlineError.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], timeout_s: float) -> None:
        self._name = Path(argv[0]).name
        self._timeout_s = timeout_s
        self._heard = bytearray()
        self._process = subprocess.Popen(
            [installed(argv[0], env), *argv[1:]],
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101 - both are pipes, as asked for
        assert self._process.stdout is not None  # noqa: S101
        self._input = self._process.stdin
        self._output = self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)

    def say(self, words: bytes) -> None:
        """Ask. No more than a pipe holds (64 kB) before the answers are read, else both wait for each other."""
        try:
            self._input.write(words)
        except OSError as error:
            raise self._over() from error

    def line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._heard.find(b"\n")) < 0:
            if len(self._heard) > _LONGEST_LINE:
                raise self._over()
            self._listen()
        line = bytes(self._heard[:end])
        del self._heard[: end + 1]
        return line

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._heard) < size:
            self._listen()
        data = bytes(self._heard[:size])
        del self._heard[:size]
        return data

    def close(self) -> None:
        """End it."""
        self._selector.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._input.close()
        self._output.close()

    def _listen(self) -> None:
        if not self._selector.select(self._timeout_s):
            raise DeadlineError(self._name, self._timeout_s)
        chunk = os.read(self._output.fileno(), _CHUNK)
        if not chunk:
            raise self._over()
        self._heard += chunk

    def _over(self) -> BrokenOffError:
        return BrokenOffError(f"{self._name} ended while it was asked.")
