"""What the set-up tells a person, and how it runs commands: progress on stderr, argv lists, deadlines, no shell."""

import contextlib
import fcntl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

LOCK_PATH = Path(tempfile.gettempdir()) / "butai-setup.lock"
TAIL_LINES = 30


class SetupError(Exception):
    """Set-up cannot go on; the message says what is missing and what to do about it."""


def say(topic: str, text: str) -> None:
    """Print one line of progress."""
    print(f"[{topic}] {text}", file=sys.stderr, flush=True)


def call(argv: Sequence[str], *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a short command and return what it printed, whatever its exit status; a missing program is status 127."""
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(list(argv), 127, "", f"{argv[0]}: not found")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(list(argv), 124, "", f"no answer within {timeout_s:g} s")


def work(
    topic: str,
    text: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 900,
) -> None:
    """Run a long command quietly: one line before, one after, and the end of its output only when it fails."""
    say(topic, f"{text} ...")
    started = time.monotonic()
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env=env,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise SetupError(f"{argv[0]} is not installed, and it is needed for: {text}") from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"{text}: gave up after {timeout_s:g} s ({' '.join(argv)})") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise SetupError(f"{text}: `{' '.join(argv)}` ended with status {done.returncode}\n{tail}")
    say(topic, f"{text}: done in {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the machine's set-up lock: two `make` at once must not both install packages or build the same image."""
    if not LOCK_PATH.exists():
        LOCK_PATH.touch()
    with LOCK_PATH.open("rb") as handle:  # for reading, which is enough and works when another user made it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("setup", "another set-up is running on this machine; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
