"""What the agent looks at when it looks after itself: disks, images, files, and how its parts fare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of one place: "state" is the state directory, "engine" where Docker keeps everything, and
    "images" where containerd keeps them instead."""

    place: str
    path: str
    size_bytes: int
    free_bytes: int  # for us, without what is reserved for root
    inodes: int  # 0 where the file system makes them as it needs them (Btrfs)
    free_inodes: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """A disk that has too little room, in two sentences: which one, always the same, and the figures of the moment."""

    what: str
    figures: str

    def __str__(self) -> str:
        return f"{self.what} {self.figures}"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image as the engine lists it. No tags: dangling."""

    id: str
    tags: tuple[str, ...]
    created_at: datetime
    size_bytes: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that may have to go."""

    name: str
    size_bytes: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """What the engine says of itself."""

    version: str
    places: Mapping[str, str]  # "engine" where it keeps everything, "images" if those are elsewhere; on its own host
    containers: Mapping[str, int] = field(default_factory=dict)  # by state
    images: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One thing the agent needs; `problem` says in words why it cannot be used, "" when it can."""

    name: str
    problem: str = ""
