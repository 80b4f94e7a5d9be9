"""What the caretaker needs of the world; adapters satisfy these without knowing them. OutsideError: try again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from agent.model.care import Disk, EngineFigures, KeptFile, StoredImage
from agent.model.observed import Container


class CareEngine(Protocol):
    """The engine, as whoever looks after it sees it."""

    def figures(self) -> EngineFigures: ...

    def containers(self, filters: Mapping[str, str]) -> tuple[Container, ...]: ...

    def stored_images(self, labels: Mapping[str, str]) -> tuple[StoredImage, ...]: ...

    def untag(self, reference: str) -> None: ...

    def drop_image(self, image_id: str) -> bool:
        """Remove an image without a name; False when something uses it after all."""
        ...

    def cache_bytes(self) -> int: ...

    def prune_cache(self, keep_bytes: int) -> int:
        """Cut the build cache to this size, the longest unused first; the bytes that were freed. May take minutes."""
        ...


class Host(Protocol):
    """The host's files. A module is an implementation of this: `adapters/host.py`."""

    def disks(self, places: Mapping[str, Path]) -> tuple[Disk, ...]: ...

    def files(self, directory: Path, pattern: str) -> tuple[KeptFile, ...]: ...

    def remove_files(self, directory: Path, names: Iterable[str]) -> None: ...

    def own_figures(self) -> dict[str, float]: ...
