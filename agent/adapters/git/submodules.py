"""Repositories inside a worktree: git is kept from asking what goes on in them.

To find out it would start another git there, which reads `config` of whoever put that repository there, and programs
that it names run as the agent (`core.fsmonitor`). Git skips what is marked as not checked out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from agent.adapters import process
from agent.model.change import Change

_MODE = b"160000 "


class Run(Protocol):
    def __call__(self, *arguments: str, index: Path | None = None, stdin: bytes = b"") -> process.Completed: ...


def hide(run: Run, index: Path) -> None:
    """Mark every submodule of an index of ours, before anything looks at the tree by it."""
    entries = run("ls-files", "--stage", "-z", index=index).stdout.split(b"\0")
    found = [entry.partition(b"\t")[2] for entry in entries if entry.startswith(_MODE)]
    if found:
        run("update-index", "--skip-worktree", "-z", "--stdin", index=index, stdin=b"\0".join(found) + b"\0")


def lines(changes: Iterable[Change]) -> bytes:
    """What `update-index --index-info` reads to make those changes; what goes is said before what comes."""
    ordered = sorted(changes, key=lambda change: bool(change.blob))
    texts = (f"{change.mode or 0} {change.blob or '0' * 40}\t{change.path}\0" for change in ordered)
    return "".join(texts).encode(errors="surrogateescape")
