"""Contexts that were built before, kept as the very bytes that BuildKit has in its cache.

A cache and nothing more: whatever is missing, broken or too different costs one full upload. What changed is found by
comparing contents, so a wrong base can make a build slower but never wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from agent.adapters.docker.archive import Archive
from agent.errors import OutsideError

LARGEST = 64 * 1024 * 1024  # bytes; larger contexts are always sent whole
_KEEP = 1024 * 1024 * 1024  # bytes in all
_CHANGED_SHARE = 4  # more than a fourth changed: start anew


class Bases:
    """The contexts that one image may build on, in a folder for all that never grows over a gigabyte.

    `own` names the image, `shared` what it has in common with the same service of other branches: a new branch
    begins on the newest context of any.
    """

    def __init__(self, directory: Path, *, own: str, shared: str) -> None:
        self._dir = directory
        self._own, self._shared = self._path(own), self._path(shared)

    def find(self) -> Archive | None:
        for path in (self._own, self._shared):
            with contextlib.suppress(OSError, OutsideError):
                file = path.open("rb")
                os.utime(path)
                return Archive(file)
        return None

    def keep(self, chunks: Iterable[bytes]) -> Archive:
        """Remember `chunks` as what the next build starts from."""
        self._dir.mkdir(parents=True, exist_ok=True)
        new = self._own.with_suffix(f".{secrets.token_hex(4)}")  # builds of two branches may be at it
        with new.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        link = new.with_suffix(f"{new.suffix}s")
        link.hardlink_to(new)
        link.replace(self._shared)
        new.replace(self._own)
        self._shrink()
        return Archive(self._own.open("rb"))

    def _path(self, name: str) -> Path:
        return self._dir / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.tar"

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
