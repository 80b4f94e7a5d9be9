"""What may go, and when there is too little room. Pure: listings in, names out; whoever acts looks at nothing else.

Only what carries our label, or lies in our own folders under names that we give, is ever named here. Volumes and
mirrors never are: they hold what people made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.config import Care, Settings
from agent.model.care import Disk, KeptFile, Shortage, StoredImage
from agent.model.labels import INSTANCE, SLUG
from agent.planning.units import size

MOST_DEPLOYMENTS, MOST_EVENTS = 10_000, 100_000  # some 50 MB each where every one has much to tell
LAST_EVENTS = 1_000  # stay whatever their age: a clock that jumps ahead must not take the audit trail with it

_URGENT_PART = 4  # of the build cache this part stays when the disk is nearly full: the most used
_URGENT_AGE_S = 600.0  # an image that is being made just now is younger
_PREFIX = "butai-"
_SUFFIX = ".db"
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Removal:
    """Images to remove by their ids, and tags to take from images whose environment is gone."""

    dangling: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def places(settings: Settings, engine: Mapping[str, str]) -> Mapping[str, Path]:
    """Whose disks matter: the state directory's, and the engine's unless that is on another host."""
    is_here = settings.docker.host.startswith("unix:")
    return {"state": settings.state_dir, **({place: Path(path) for place, path in engine.items()} if is_here else {})}


def shortage(disks: Iterable[Disk], care: Care) -> Shortage | None:
    """The first disk that is nearly full; None while there is room everywhere."""
    for disk in disks:
        least = least_free(disk.size_bytes, care)
        if disk.free_bytes < least:
            free = f"{_amount(disk.free_bytes)} are free, less than {_amount(least)}."
            return Shortage(f"The disk of {disk.path} is nearly full.", free)
        least = disk.inodes * care.min_free_inodes_percent / 100
        if disk.free_inodes < least:
            free = f"{disk.free_inodes} inodes are free, less than {least:.0f}."
            return Shortage(f"The disk of {disk.path} has room for few more files.", free)
    return None


def least_free(size_bytes: int, care: Care) -> float:
    """Bytes that must be free on a disk of this size."""
    return max(size(care.min_free), size_bytes * care.min_free_percent / 100)


def unused_images(
    images: Iterable[StoredImage],
    *,
    instance: str,
    used: Collection[str],
    slugs: Collection[str],
    now: datetime,
    care: Care,
    urgent: bool,
) -> Removal:
    """Images of ours without a name, and those of environments that are gone, which no container was made from.

    `used` are the ids of the images of all containers, `slugs` all environments and all slugs of containers.
    """
    youngest = now - timedelta(seconds=min(care.image_age_s, _URGENT_AGE_S) if urgent else care.image_age_s)
    dangling, tags = [], []
    for image in images:
        if image.labels.get(INSTANCE) != instance or image.id in used or image.created_at > youngest:
            continue
        slug = image.labels.get(SLUG, "")
        if not image.tags:
            dangling.append(image.id)
        elif slug and slug not in slugs:  # a tag that a person gave keeps the image
            tags += [tag for tag in image.tags if tag.startswith(f"{instance}/{slug}/")]
    return Removal(tuple(dangling), tuple(tags))


def cache_to_keep(care: Care, *, urgent: bool) -> int | None:
    """Bytes of the build cache to keep; None when it is not ours to touch."""
    if not care.build_cache:
        return None
    most = size(care.build_cache)
    return most // _URGENT_PART if urgent else most


def old_logs(files: Iterable[KeptFile], *, kept: Collection[int], care: Care) -> tuple[str, ...]:
    """Step logs that nobody asks for any more, and the oldest of the others where all together are too large.

    `kept` are the deployments whose logs people may ask for. The newest log of all stays: it may be being written.
    """
    names = {f"{one}.log" for one in kept}
    ordered = sorted(files, key=lambda file: file.changed_at, reverse=True)
    gone = [file.name for file in ordered if file.name not in names]
    left = size(care.step_logs)
    for position, file in enumerate(file for file in ordered if file.name in names):
        left -= file.size_bytes
        if left < 0 and position > 0:
            gone.append(file.name)
    return tuple(gone)


def backup_name(now: datetime) -> str:
    """Names in the order of their times."""
    return f"{_PREFIX}{now.strftime(_STAMP)}{_SUFFIX}"


def old_backups(names: Iterable[str], care: Care, *, made: str) -> tuple[str, ...]:
    """Our backups but for the newest `care.backups`. What a person put there stays, and so does the one just made,
    which is not the newest by its name where the clock was put back."""
    others = sorted(_backups(names).keys() - {made}, reverse=True)
    return tuple(others[max(0, care.backups - 1) :])


def backup_due_s(names: Iterable[str], *, now: datetime, care: Care) -> float | None:
    """In how many seconds the next backup is due, 0 for at once; None when none are wanted."""
    if not care.backups:
        return None
    newest = max(_backups(names).values(), default=None)
    if newest is None or newest > now:  # of a clock that went wrong: a new one is cheap
        return 0.0
    return max(0.0, care.backup_interval_s - (now - newest).total_seconds())


def newest_backup(names: Iterable[str]) -> datetime | None:
    return max(_backups(names).values(), default=None)


def _backups(names: Iterable[str]) -> Mapping[str, datetime]:
    found = {}
    for name in names:
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
            with contextlib.suppress(ValueError):
                at = datetime.strptime(name[len(_PREFIX) : -len(_SUFFIX)], _STAMP).replace(tzinfo=UTC)
                found[name] = at
    return found


def _amount(count: float) -> str:
    unit = "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if count < 1024 or unit == "TB":
            break
        count /= 1024
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
