"""The archive that is unpacked beside the places of its files, for the shell to rename them."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

_EXECUTE, _READ = 0o111, 0o444


@dataclass(frozen=True, slots=True)
class Staged:
    """One entry, as it shall stand in its place. `changed_s` is when its place changed last, from the epoch."""

    mode: int
    uid: int
    gid: int
    data: bytes = b""  # a link's destination
    is_folder: bool = False
    is_link: bool = False
    changed_s: int = 0


def pack(root: str, staged: Mapping[str, Staged], *, now_s: int, links: Mapping[str, str] | None = None) -> bytes:
    """A tar with everything below `root`, which only root may enter; then `links`: paths that are the same files.

    Without a `root` the names stand for themselves.
    """
    archive = io.BytesIO()
    top = tarfile.TarInfo(root.strip("/"))
    top.type, top.mode = tarfile.DIRTYPE, 0o700
    if root:
        archive.write(_header(top))
    for name, one in staged.items():
        entry = _entry(f"{top.name}/{name}" if root else name, one, now_s)
        archive.write(_header(entry))
        if entry.size:
            archive.write(one.data)
            archive.write(bytes(-entry.size % tarfile.BLOCKSIZE))
    for path, name in (links or {}).items():
        link = _entry(path, staged[name], now_s)  # the engine sets owner, mode and time once more
        link.type, link.linkname, link.size = tarfile.LNKTYPE, f"{top.name}/{name}", 0
        archive.write(_header(link))
    archive.write(bytes(2 * tarfile.BLOCKSIZE))
    return archive.getvalue()


def _entry(path: str, staged: Staged, now_s: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.uid, entry.gid = staged.mode, staged.uid, staged.gid
    # Later than what it replaces: Python takes a module of the same second and size for the one it compiled.
    entry.mtime = max(now_s, staged.changed_s + 1)
    if staged.is_folder:
        entry.type = tarfile.DIRTYPE
    elif staged.is_link:
        entry.type, entry.linkname = tarfile.SYMTYPE, staged.data.decode(errors="surrogateescape")
    else:
        entry.size = len(staged.data)
    return entry


def executable(mode: int, *, yes: bool) -> int:
    """A file's permissions, with those to execute as git has them: for everybody who may read, or for nobody."""
    mode = stat.S_IMODE(mode) & ~_EXECUTE
    return mode | (mode & _READ) >> 2 if yes else mode


def _header(entry: tarfile.TarInfo) -> bytes:
    """GNU's form: names may be any bytes of any length."""
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
