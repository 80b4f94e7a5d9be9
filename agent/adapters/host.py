"""What the kernel knows of this host: whether it was started again since we last looked."""

from __future__ import annotations

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
