"""This host and the state on it: whether it was started again since we last looked, whose state and files these are,
how much room its disks have, and what this process takes.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from agent.errors import OutsideError
from agent.model.care import Disk, KeptFile

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def booted_since(state_dir: Path) -> bool:
    """Whether the host was started since `remember_boot`; not where that was never called."""
    note = state_dir / "boot-id"
    return note.exists() and note.read_text(encoding="ascii") != _BOOT_ID.read_text(encoding="ascii")


def remember_boot(state_dir: Path) -> None:
    """What another boot asks for is written down: who is killed before this is told of it again."""
    _keep(state_dir / "boot-id", _BOOT_ID.read_text(encoding="ascii"))


def identity(state_dir: Path) -> str:
    """Names the agent whose state this is, on whatever host: made when first asked for, the same from then on."""
    note = state_dir / "agent-id"
    if not note.exists():
        _keep(note, secrets.token_hex(8) + "\n")  # half a name would make our own records somebody else's
    return note.read_text(encoding="ascii").strip()


def _keep(note: Path, text: str) -> None:
    """Whole or not at all. Without the fsync a power cut may leave an empty file under the final name."""
    fresh = note.with_suffix(".new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(note)


def hand_over(directory: Path) -> None:
    """Give files that root made in somebody's directory to that user, who could not open them otherwise."""
    owner = directory.stat()
    for path in directory.iterdir():
        mine = path.lstat()
        is_plain = stat.S_ISREG(mine.st_mode) and mine.st_nlink == 1  # nothing that leads out of the directory
        if is_plain and mine.st_uid == os.geteuid() != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def disks(places: Mapping[str, Path]) -> tuple[Disk, ...]:
    """The file systems of these places, by the names that people know them by; what cannot be asked is left out."""
    found = []
    for place, path in places.items():
        try:
            state = os.statvfs(path)
        except OSError:  # an engine on another host keeps its things there
            continue
        size, free = state.f_blocks * state.f_frsize, state.f_bavail * state.f_frsize
        found.append(Disk(place, str(path), size, free, state.f_files, state.f_favail))
    return tuple(found)


def files(directory: Path, pattern: str) -> tuple[KeptFile, ...]:
    """The plain files of one folder that match; none where there is no folder."""
    found = []
    for path in directory.glob(pattern):
        try:
            about = path.lstat()
        except FileNotFoundError:  # gone since it was listed
            continue
        if stat.S_ISREG(about.st_mode):
            found.append(KeptFile(path.name, about.st_size, datetime.fromtimestamp(about.st_mtime, UTC)))
    return tuple(found)


def remove_files(directory: Path, names: Iterable[str]) -> None:
    """Gone already is fine. OutsideError when the file system refuses."""
    for name in names:
        try:
            (directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutsideError(
                f"{directory / name} cannot be removed: {error.strerror or error}.",
                hint="Check the owner of the state directory.",
                code="file-kept",
            ) from error


def own_figures() -> dict[str, float]:
    """What this process takes, by the names that Prometheus gives these figures."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()  # proc(5), from `state` on
    tick = os.sysconf("SC_CLK_TCK")
    boot = next(line for line in Path("/proc/stat").read_text(encoding="ascii").splitlines() if line[:5] == "btime")
    return {
        "process_cpu_seconds_total": (int(fields[11]) + int(fields[12])) / tick,
        "process_start_time_seconds": int(boot.split()[1]) + int(fields[19]) / tick,
        "process_resident_memory_bytes": float(int(fields[21]) * os.sysconf("SC_PAGE_SIZE")),
        "process_open_fds": float(len(list(Path("/proc/self/fd").iterdir()))),
        "process_threads": float(fields[17]),
    }
