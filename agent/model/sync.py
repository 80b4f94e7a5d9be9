"""What a running container shall hold where, and what came of putting it there."""

from __future__ import annotations

from dataclasses import dataclass

REGULAR, PROGRAM, LINK = "100644", "100755", "120000"  # git's modes of what can be put into a container


@dataclass(frozen=True, slots=True)
class FileContent:
    """One path of a container as a revision has it. `mode` is git's, "" for a path that shall not be there."""

    target: str  # absolute; bytes that are no UTF-8 as the file system gives them to Python
    mode: str
    data: bytes = b""  # a file's content, a symbolic link's destination


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one sync did. Not `atomic`: a reader may have found a file missing for an instant, though never half of it.

    `written` and `deleted` count paths; what was gone already is not counted.
    """

    written: int = 0
    deleted: int = 0
    size: int = 0  # bytes written
    atomic: bool = True
