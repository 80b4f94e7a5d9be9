"""The step log of a deployment: what builders and pulls print, kept in a file for `butai deploy -v` and `show`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

MAX_BYTES = 4 << 20  # a log-happy build must not fill the disk
KEPT = 20  # step logs of one environment, the newest ones


def log_path(state_dir: Path, deployment_id: int) -> Path:
    """Where a deployment's step log lives."""
    return state_dir / "logs" / f"{deployment_id}.log"


class StepLog:
    """Appends lines without secrets, each with the service it belongs to; at MAX_BYTES it says so once and stops."""

    def __init__(self, path: Path, *, redact: Callable[[str], str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._redact = redact
        self._lock = Lock()
        self._left = max(0, MAX_BYTES - self._file.tell())

    def line(self, service: str, text: str) -> None:
        data = f"{service:<12} {self._redact(text)}\n".encode("utf-8", "replace")
        with self._lock:
            if self._left <= 0:
                return
            self._left -= len(data)
            self._file.write(data if self._left > 0 else b"... the rest of this log is left out\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()
