"""Contexts that were built before, kept as the very bytes that BuildKit has in its cache.

A cache and nothing more: whatever is missing, broken or too different costs one full upload. What changed is found by
comparing contents, so a wrong base can make a build slower but never wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from agent.adapters.docker.archive import Archive
from agent.errors import OutsideError

LARGEST = 64 * 1024 * 1024  # bytes; larger contexts are always sent whole
_KEEP = 1024 * 1024 * 1024  # bytes in all
_CHANGED_SHARE = 4  # more than a fourth changed: start anew


class Bases:
    """One context per image repository, in a folder that never grows over a gigabyte."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory

    def find(self, tag: str) -> Archive | None:
        path = self._path(tag)
        try:
            file = path.open("rb")
            os.utime(path)
            return Archive(file)
        except (OSError, OutsideError):
            return None

    def keep(self, tag: str, chunks: Iterable[bytes]) -> Archive:
        """Remember `chunks` as the base of `tag`."""
        self._dir.mkdir(parents=True, exist_ok=True)
        path = self._path(tag)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        new.replace(path)
        self._shrink()
        return Archive(path.open("rb"))

    def _path(self, tag: str) -> Path:
        repository = tag.rpartition(":")[0]
        return self._dir / f"{hashlib.sha256(repository.encode()).hexdigest()[:32]}.tar"

    def _shrink(self) -> None:
        """Remove what was used least recently until the rest fits."""
        found = []
        for path in self._dir.iterdir():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = 0
        for _, size, path in sorted(found, reverse=True):
            total += size
            if total > _KEEP:
                path.unlink(missing_ok=True)


def changes(base: Archive, new: Archive, kept: set[str]) -> frozenset[str] | None:
    """Names in `kept` that are new or changed; None when a copy over `base` cannot make the same tree."""
    if any(entry.name not in kept or new.by_name[entry.name].kind != entry.kind for entry in base.entries):
        return None
    changed = frozenset(
        entry.name
        for entry in new.entries
        if entry.name in kept
        and (entry.name not in base.by_name or not new.same(entry, base, base.by_name[entry.name]))
    )
    return changed if len(changed) * _CHANGED_SHARE <= len(new.entries) else None
