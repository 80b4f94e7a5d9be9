"""A tar archive on disk, walked by hand: which entries it has, and some of them again as a stream.

`tarfile` takes 0.1 s for the headers of 2,000 files; here blocks pass through untouched, so that modes, links and
long names stay as git wrote them.
"""

from __future__ import annotations

import mmap
import posixpath
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from agent.errors import DeployError, OutsideError

FILE = (b"0", b"\0")
LINK = b"2"
DIRECTORY = b"5"

_BLOCK = 512
_SEND = 256 * 1024
_LARGEST_TEXT = 1024 * 1024
_END = bytes(2 * _BLOCK)
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_STAMP = slice(136, 156)  # time and checksum: what differs between two archives of one file


@dataclass(frozen=True, slots=True)
class Entry:
    """One member; `start` includes the extended headers before it, `data` is where its content begins."""

    name: str
    kind: bytes
    start: int
    data: int
    size: int
    end: int


class Archive:
    """The entries of an archive and their bytes; use it as a context. Raises OutsideError for one that broke off."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._data: mmap.mmap | bytes = b""  # there is no map of nothing
        try:
            if file.seek(0, 2):
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.entries = tuple(_entries(self._data))
        except BaseException:
            self._close()
            raise
        self.by_name = {entry.name: entry for entry in self.entries}

    @classmethod
    def receive(cls, chunks: Iterable[bytes], *, scratch_dir: Path | None, check: Callable[[], None]) -> Self:
        """Hold what comes, in a file without a name. `check` is called between chunks and may raise to give up."""
        if scratch_dir is not None:
            scratch_dir.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=scratch_dir)  # noqa: SIM115 - the archive closes it
        try:
            for chunk in chunks:
                check()
                file.write(chunk)
            file.flush()
        except BaseException:
            file.close()
            raise
        return cls(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def text(self, path: str) -> str | None:
        """A regular file's content, None when there is none. DeployError for one of more than a megabyte."""
        entry = self.by_name.get(path)
        if entry is None or entry.kind not in FILE:
            return None
        if entry.size > _LARGEST_TEXT:
            raise DeployError(f"`{path}` is larger than a megabyte.", hint="Make it smaller.", code="file-too-large")
        return self._data[entry.data : entry.data + entry.size].decode("utf-8", "replace")

    def same(self, entry: Entry, other: Archive, theirs: Entry) -> bool:
        """Whether two entries are alike in all but their time: kind, mode, owner, target, content."""
        return self._meaning(entry) == other._meaning(theirs)

    def chunks(self, wanted: Callable[[Entry], bool]) -> Iterator[bytes]:
        """An archive of the wanted entries, in as few pieces as there are gaps."""
        yield from self._pieces(self._ranges(wanted))
        yield _END

    def length(self, wanted: Callable[[Entry], bool]) -> int:
        """Bytes of what `chunks` yields."""
        return sum(end - start for start, end in self._ranges(wanted)) + len(_END)

    def _meaning(self, entry: Entry) -> tuple[bytes, bytes, bytes, bytes]:
        header = self._data[entry.data - _BLOCK : entry.data]
        extended = self._data[entry.start + _BLOCK : entry.data - _BLOCK]  # whose own header has a time
        content = self._data[entry.data : entry.data + entry.size]
        return header[: _STAMP.start], header[_STAMP.stop :], extended, content

    def _ranges(self, wanted: Callable[[Entry], bool]) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        for entry in filter(wanted, self.entries):
            if ranges and ranges[-1][1] == entry.start:
                ranges[-1] = (ranges[-1][0], entry.end)
            else:
                ranges.append((entry.start, entry.end))
        return ranges

    def _pieces(self, ranges: list[tuple[int, int]]) -> Iterator[bytes]:
        buffer = bytearray()
        for start, end in ranges:
            for at in range(start, end, _SEND):
                buffer += self._data[at : min(at + _SEND, end)]
                if len(buffer) >= _SEND:
                    yield bytes(buffer)
                    buffer.clear()
        if buffer:
            yield bytes(buffer)

    def _close(self) -> None:
        if isinstance(self._data, mmap.mmap):
            self._data.close()
        self._file.close()


def nested(name: str, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One file of `size` bytes as it stands in an archive, with the time of the epoch."""
    fields = [
        (name.encode(), 100), (b"0000644\0", 8), (b"0000000\0", 8), (b"0000000\0", 8),
        (b"%011o\0" % size, 12), (b"00000000000\0", 12), (b" " * 8, 8), (b"0", 1),
    ]  # fmt: skip
    header = b"".join(value.ljust(width, b"\0") for value, width in fields).ljust(257, b"\0") + b"ustar\0" + b"00"
    header = header.ljust(_BLOCK, b"\0")
    yield header[:148] + b"%06o\0 " % sum(header) + header[156:]
    yield from chunks
    yield bytes(-size % _BLOCK)


def end() -> bytes:
    """What ends an archive."""
    return _END


def _entries(data: mmap.mmap | bytes) -> Iterator[Entry]:
    at = start = 0
    extended: dict[str, str] = {}
    total = len(data)
    while at + _BLOCK <= total:
        header = data[at : at + _BLOCK]
        if not header[0] and header == bytes(_BLOCK):
            return
        kind, size = header[156:157], int(extended.get("size") or _number(header[124:136]))
        body, stop = at + _BLOCK, at + _BLOCK + size + -size % _BLOCK
        if stop > total:
            break
        at = stop
        if kind == _PAX:
            extended |= _records(data[body : body + size])
        elif kind == _LONG_NAME:
            extended["path"] = data[body : body + size].rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif kind == _PAX_GLOBAL:
            start = stop  # git's note of the commit: of no use to a build
        elif kind != _LONG_LINK:
            name = posixpath.normpath("/" + (extended.get("path") or _name(header))).lstrip("/")
            yield Entry(name, kind, start, body, size, stop)
            start, extended = stop, {}
    if not total:
        return
    raise OutsideError("The archive of the build context broke off.", hint="It is tried again.", code="context-broken")


def _name(header: bytes) -> str:
    name, prefix = header[:100].partition(b"\0")[0], b""
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].partition(b"\0")[0]
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    """An octal field, or GNU's base-256 for sizes over 8 GB."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _records(data: bytes) -> dict[str, str]:
    """The records of a pax header: "<length> <key>=<value>\\n"."""
    records = {}
    at = 0
    while at < len(data):
        length, _, _ = data[at:].partition(b" ")
        key, _, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        records[key.decode()] = value.decode("utf-8", "surrogateescape")
        at += int(length)
    return records
