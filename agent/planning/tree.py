"""Where a path leads inside one revision: symbolic links are followed on paper, never on disk, and never out of it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_LINK = "120000"
_SUBMODULE = "160000"
_MAX_LINKS = 40  # what Linux follows before ELOOP


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Place:
    """The end of a path: relative to the root of the repository, "." for the root itself, without links."""

    path: str
    kind: Kind


class Outside(ValueError):
    """The path leaves the repository; the text says how."""


class Tree:
    """The files of one revision. `readlink` gives the target of a path whose mode says that it is a link."""

    def __init__(self, files: Mapping[str, str], readlink: Callable[[str], str]) -> None:
        self._files = files
        self._readlink = readlink
        self._directories = {"."}
        for path in files:
            while (path := posixpath.dirname(path)) and path not in self._directories:
                self._directories.add(path)

    def find(self, path: str) -> Place:
        """Follow `path` from the root of the repository. Raises Outside when it leaves it, or runs in circles."""
        if path.startswith(("/", "~")):
            raise Outside(f"`{path}` is not inside the repository")
        todo = path.split("/")[::-1]
        here: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not here:
                    raise Outside(f"`{path}` leaves the repository")
                here.pop()
                continue
            here.append(part)
            if self._files.get("/".join(here)) == _LINK:
                links += 1
                target = self._readlink("/".join(here))
                if target.startswith("/"):
                    raise Outside(f"`{'/'.join(here)}` is a symbolic link that leaves the repository")
                if links > _MAX_LINKS:
                    raise Outside(f"`{path}` follows too many symbolic links")
                here.pop()
                todo += target.split("/")[::-1]
        return self._place("/".join(here) or ".")

    def _place(self, path: str) -> Place:
        mode = self._files.get(path)
        if mode == _SUBMODULE or path in self._directories:
            return Place(path, Kind.DIRECTORY)
        return Place(path, Kind.FILE if mode is not None else Kind.MISSING)
