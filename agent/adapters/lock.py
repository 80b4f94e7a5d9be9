"""Keeps a second agent off a state directory: two of them would undo each other's work.

The kernel frees the lock when the process dies, however it dies: there is no stale lock to clean up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StateError


@contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the directory, made when absent. StateError "running" names the process that holds it already."""
    state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    with (state_dir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise StateError(
                f"Another agent uses {state_dir}: process {owner}.",
                hint="Stop it, or give this one its own state_dir.",
                code="running",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
