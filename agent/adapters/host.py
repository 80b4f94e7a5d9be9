"""This host and the state on it: whether it was started again since we last looked, whose state and files these are."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def booted_since(state_dir: Path) -> bool:
    """Whether the host was started since this was last asked; not on the first question. Remembered in `state_dir`."""
    note = state_dir / "boot-id"
    before = note.read_text(encoding="ascii").strip() if note.exists() else ""
    now = _BOOT_ID.read_text(encoding="ascii").strip()
    if now == before:
        return False
    note.write_text(now + "\n", encoding="ascii")
    return bool(before)


def identity(state_dir: Path) -> str:
    """Names the agent whose state this is, on whatever host: made when first asked for, the same from then on."""
    note = state_dir / "agent-id"
    if not note.exists():
        fresh = note.with_suffix(".new")
        fresh.write_text(secrets.token_hex(8) + "\n", encoding="ascii")
        fresh.replace(note)  # whole or not at all: half a name would make our own records somebody else's
    return note.read_text(encoding="ascii").strip()


def hand_over(directory: Path) -> None:
    """Give files that root made in somebody's directory to that user, who could not open them otherwise."""
    owner = directory.stat()
    for path in directory.iterdir():
        mine = path.lstat()
        is_plain = stat.S_ISREG(mine.st_mode) and mine.st_nlink == 1  # nothing that leads out of the directory
        if is_plain and mine.st_uid == os.geteuid() != owner.st_uid:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
