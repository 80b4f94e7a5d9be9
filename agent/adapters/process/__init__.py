"""The one place that starts programs: no shell, a short environment, a deadline, and nothing left running.

Every program gets a process group of its own. When its time is up, when the work is cancelled or when the
caller loses interest, the whole group is asked to end (SIGTERM) and soon after made to (SIGKILL): `docker
compose` ignores the first SIGTERM while it expands an alias bomb, and git leaves helpers behind. Should the
agent itself be killed, the kernel kills the programs it was waiting for (`setpriv --pdeathsig`). Programs that are kept
to be asked more than once are in `dialogue`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.errors import CancelledError, OutsideError

GRACE_S = 2.0  # between SIGTERM and SIGKILL
TAIL = 64 * 1024  # bytes kept of output that is only there to explain a failure
OUTPUT_LIMIT = 32 * 1024 * 1024

_CHUNK = 64 * 1024
_DRAIN_S = 1.0  # how long to read on after the end, when a stranger still holds the pipe open
_UNKILLABLE_S = 5.0
_IN, _OUT, _ERR, _END, _WAKE = range(5)


class Cancel(Protocol):
    """What `agent.runtime.ports.Cancel` promises; repeated here because adapters never import the runtime."""

    def cancelled(self) -> bool: ...

    def on_cancel(self, act: Callable[[], None]) -> Callable[[], None]: ...


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended by itself. `exit_code` is negative when a signal ended it; `stderr` is its last 64 kB."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def text(self) -> str:
        """Standard output as UTF-8, whatever it holds."""
        return self.stdout.decode(errors="replace")

    @property
    def complaint(self) -> str:
        """Standard error as UTF-8, without white space around it."""
        return self.stderr.decode(errors="replace").strip()

    @property
    def last_line(self) -> str:
        """What it complained of last, for a sentence; its exit code when it said nothing."""
        lines = self.complaint.splitlines()
        return lines[-1] if lines else f"exit code {self.exit_code}"


class DeadlineError(OutsideError):
    """A program did not end, or fell silent, before its deadline. `complaint` is the end of its standard error."""

    code = "program-timeout"

    def __init__(self, program: str, seconds: float, *, complaint: str = "") -> None:
        super().__init__(f"{program} did not finish within {seconds:g} s.")
        self.seconds = seconds
        self.complaint = complaint


class OutputLimitError(OutsideError):
    """A program wrote more than the caller is willing to hold in memory."""

    code = "program-output-too-large"


class ProgramError(OutsideError):
    """A streamed program ended with an error; `completed` has its exit code and standard error."""

    code = "program-failed"

    def __init__(self, completed: Completed) -> None:
        super().__init__(f"{completed.argv[0]} ended with exit code {completed.exit_code}: {completed.complaint}")
        self.completed = completed


def short_environment(**more: str) -> dict[str, str]:
    """PATH, a neutral locale, and what the caller names: nothing else of ours reaches a program."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **more}


def inherited(*names: str) -> dict[str, str]:
    """Those of our own variables that a program may see too, where they are set."""
    return {name: os.environ[name] for name in names if name in os.environ}


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout_s: float,
    cwd: Path | None = None,
    input: bytes = b"",  # noqa: A002 - the word of subprocess.run
    cancel: Cancel | None = None,
    silence_s: float | None = None,
    output_limit: int = OUTPUT_LIMIT,
    on_line: Callable[[str], None] | None = None,
    keeps_capabilities: bool = False,
) -> Completed:
    """Run a program to its end and return what it said, whatever its exit code.

    With `on_line` each line of either stream is handed over as it comes, without its end, and only the last
    64 kB are kept; without it more than `output_limit` bytes of standard output raise OutputLimitError.
    `silence_s` is a second deadline that every byte of output puts off. `keeps_capabilities` hands over those that
    systemd gave the agent. Raises DeadlineError, CancelledError, and OutsideError when the program is not installed.
    """
    started = time.monotonic()
    output = bytearray()
    complaint = bytearray()
    lines = _Lines(on_line) if on_line else None
    with _Child(argv, env, cwd, input, cancel, keeps_capabilities=keeps_capabilities) as child:
        for source, chunk in child.chunks(timeout_s, silence_s, complaint):
            if lines is not None:
                lines.feed(source, chunk)
            if source == _OUT:
                output += chunk
                if lines is not None:
                    del output[:-TAIL]
                elif len(output) > output_limit:
                    raise OutputLimitError(f"{argv[0]} wrote more than {output_limit} bytes.")
        if lines is not None:
            lines.flush()
        return Completed(tuple(argv), child.wait(), bytes(output), bytes(complaint), time.monotonic() - started)


def stream(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout_s: float,
    cwd: Path | None = None,
    cancel: Cancel | None = None,
) -> Iterator[bytes]:
    """Standard output in chunks as it comes; closing the iterator ends the program.

    Raises as `run` does, and ProgramError at the end when the exit code is not 0: a stream that stops without
    an error is complete.
    """
    started = time.monotonic()
    complaint = bytearray()
    with _Child(argv, env, cwd, b"", cancel) as child:
        for source, chunk in child.chunks(timeout_s, None, complaint):
            if source == _OUT:
                yield chunk
        completed = Completed(tuple(argv), child.wait(), b"", bytes(complaint), time.monotonic() - started)
    if not completed.ok:
        raise ProgramError(completed)


class _Lines:
    """Cuts each stream into lines and hands them over."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = {_OUT: b"", _ERR: b""}

    def feed(self, source: int, chunk: bytes) -> None:
        *lines, rest = (self._rest[source] + chunk).split(b"\n")
        self._rest[source] = rest
        if len(rest) > TAIL:  # a progress bar, or a megabyte of minified text: do not hoard it
            lines.append(rest)
            self._rest[source] = b""
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))

    def flush(self) -> None:
        for source in (_OUT, _ERR):
            if self._rest[source]:
                self.feed(source, b"\n")


class _Deadline:
    """When to give up: after a time in all, or after a time without a sign of life."""

    def __init__(self, timeout_s: float, silence_s: float | None) -> None:
        self._silence_s = silence_s
        self._end = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self.heard()

    def heard(self) -> None:
        if self._silence_s is not None:
            self._quiet_end = time.monotonic() + self._silence_s

    def left(self) -> tuple[float, float]:
        """Seconds until it passes, and how long it was in the first place."""
        now = time.monotonic()
        if self._silence_s is not None and self._quiet_end < self._end:
            return self._quiet_end - now, self._silence_s
        return self._end - now, self._timeout_s


class _Child:
    """One running program: its pipes, its end, and the certainty that its group ends with it."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None,
        stdin: bytes,
        cancel: Cancel | None,
        *,
        keeps_capabilities: bool = False,
    ) -> None:
        self._name = Path(argv[0]).name
        self._cancel = cancel
        self._stdin = memoryview(stdin)
        self._forget_cancel: Callable[[], None] = lambda: None
        if cancel is not None and cancel.cancelled():
            raise CancelledError(f"{self._name} was not started: a newer wish came first.")
        self._process = subprocess.Popen(
            [*_leash(keeps_capabilities), installed(argv[0], env), *argv[1:]],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            umask=0o022,  # a checkout is read by users of containers, whatever systemd set for us
        )
        self._pidfd = os.pidfd_open(self._process.pid)
        self._wake_r, self._wake_w = os.pipe()
        self._wake_lock = threading.Lock()
        self._closed = False
        self._gone = False

    def __enter__(self) -> _Child:
        if self._cancel is not None:
            self._forget_cancel = self._cancel.on_cancel(self._wake)
        return self

    def __exit__(self, *_: object) -> None:
        self._forget_cancel()
        self._end_group()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        with self._wake_lock:
            self._closed = True
            for descriptor in (self._pidfd, self._wake_r, self._wake_w):
                os.close(descriptor)

    def chunks(self, timeout_s: float, silence_s: float | None, complaint: bytearray) -> Iterator[tuple[int, bytes]]:
        """What either stream says, with its number, until both are closed and the program is gone."""
        deadline = _Deadline(timeout_s, silence_s)
        with self._selector() as selector:
            while len(selector.get_map()) > 1:  # more than the end of the pipe that wakes us
                left, allowed_s = deadline.left()
                ready = selector.select(left) if left > 0 else []
                if self._cancel is not None and self._cancel.cancelled():
                    raise CancelledError(f"{self._name} was stopped: a newer wish came first.")
                if not ready and self._gone:
                    return  # a daemon that left the group still holds a pipe: not our concern
                if not ready:
                    raise DeadlineError(self._name, allowed_s, complaint=complaint.decode(errors="replace").strip())
                for key, _ in ready:
                    if key.data == _END:
                        selector.unregister(key.fd)
                        self._end_group()
                        deadline = _Deadline(_DRAIN_S, None)
                    elif key.data == _IN:
                        self._write(selector)
                    elif chunk := os.read(key.fd, _CHUNK):
                        deadline.heard()
                        if key.data == _ERR:
                            complaint += chunk
                            del complaint[:-TAIL]
                        yield key.data, chunk
                    else:
                        selector.unregister(key.fd)

    def wait(self) -> int:
        """The exit code of a program that has ended."""
        return self._process.wait()

    def _selector(self) -> selectors.BaseSelector:
        selector = selectors.DefaultSelector()
        selector.register(self._wake_r, selectors.EVENT_READ, _WAKE)
        selector.register(self._pidfd, selectors.EVENT_READ, _END)
        for pipe, number in ((self._process.stdout, _OUT), (self._process.stderr, _ERR)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, number)
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
            selector.register(self._process.stdin, selectors.EVENT_WRITE, _IN)
        return selector

    def _write(self, selector: selectors.BaseSelector) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            self._stdin = self._stdin[os.write(pipe.fileno(), self._stdin[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it ended, or reads no more: its exit code says whether that was well
            self._stdin = self._stdin[:0]
        if not self._stdin:
            selector.unregister(pipe)
            pipe.close()

    def _wake(self) -> None:
        with self._wake_lock:  # a cancel that comes late must not write into a descriptor that is somebody else's now
            if not self._closed:
                os.write(self._wake_w, b"x")

    def _end_group(self) -> None:
        """End whatever is left of the group. The leader is reaped last, so its number cannot be somebody else's."""
        if self._gone:
            return
        self._gone = True
        if not self._ended(0):
            self._signal(signal.SIGTERM)
            self._ended(GRACE_S)
        self._signal(signal.SIGKILL)
        if self._ended(_UNKILLABLE_S):  # else it hangs in the kernel: nobody can end it, so do not wait for it
            self._process.wait()

    def _ended(self, within_s: float) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or a program that became root
            os.killpg(self._process.pid, number)


@functools.cache
def _leash(keeps_capabilities: bool) -> tuple[str, ...]:
    """What makes the kernel end a program when the thread that waits for it dies; nothing where there is no setpriv.

    It also takes the agent's capabilities away: git and Compose read what strangers push, and need none.
    A `preexec_fn` could do the same and may deadlock in a process with threads (the subprocess documentation).
    """
    program = shutil.which("setpriv")
    dropped = () if keeps_capabilities else ("--inh-caps", "-all", "--ambient-caps", "-all")
    return (program, "--pdeathsig", "KILL", *dropped, "--") if program else ()


def installed(program: str, env: Mapping[str, str]) -> str:
    """Where a program is; OutsideError when it is nowhere."""
    path = shutil.which(program, path=env.get("PATH", os.defpath))
    if path is None:
        raise OutsideError(
            f"The program {program} is not installed.", hint=f"Install {program} on this host.", code="program-missing"
        )
    return path
