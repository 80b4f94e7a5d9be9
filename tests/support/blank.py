"""A store of the test's own, quickly: to make its tables takes longer than most tests need."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from agent.store import Store


def open_store(path: Path) -> Store:
    """As `Store.open` does it; where there is no file yet, with a copy of one that was opened and closed before."""
    if not path.exists():
        path.write_bytes(_blank())
    return Store.open(path)


@functools.cache
def _blank() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "butai.db")
        Store.open(path).close()
        return path.read_bytes()
