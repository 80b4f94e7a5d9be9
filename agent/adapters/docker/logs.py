"""Log bytes of the engine as lines that a person can read, free of whatever could drive a terminal."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Self
from urllib.parse import quote

from agent.adapters.docker.client import Client, EngineRefused, Line, refusal

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"  # anything else is a terminal's raw stream

_LONGEST_LINE = 64 * 1024  # a program that never ends its line is cut here
_HEADER = 8
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, links, the clipboard
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[ -/]*[0-~]"  # character sets and single functions
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(line: bytes) -> str:
    """One line as text: undecodable bytes marked, escapes gone, progress bars as their last state."""
    text = _ESCAPES.sub("", line.decode("utf-8", "replace").rstrip("\r\n"))
    return _CONTROLS.sub("", text.rpartition("\r")[2])


def lines(chunks: Iterable[bytes], *, multiplexed: bool) -> Iterator[bytes]:
    """Whole lines without their ends, in the order of their completion; each stream has its own unfinished line."""
    unfinished: dict[int, bytes] = {}
    for stream, payload in frames(chunks) if multiplexed else ((1, chunk) for chunk in chunks):
        *whole, rest = (unfinished.get(stream, b"") + payload).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            yield rest
            rest = b""
        unfinished[stream] = rest
    yield from (rest for rest in unfinished.values() if rest)


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Undo the engine's multiplexing: [stream, 0, 0, 0, length as big-endian uint32] before each payload."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        at = 0
        while len(buffer) - at >= _HEADER:
            end = at + _HEADER + int.from_bytes(buffer[at + 4 : at + _HEADER], "big")
            if len(buffer) < end:
                break
            yield buffer[at], bytes(buffer[at + _HEADER : end])
            at = end
        del buffer[:at]


class Following:
    """Log lines as they come. `close` may be called from any thread and ends the wait for the next line."""

    def __init__(self, client: Client, container: str, *, tail: int | None) -> None:
        self._line = _ask(client, container, {"follow": "1", "tail": _tail(tail)})
        self._lines = lines(self._line.chunks(), multiplexed=self._line.content_type == MULTIPLEXED)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """One line as UTF-8, cleaned, without its end."""
        return clean(next(self._lines)).encode()

    def close(self) -> None:
        self._line.cut()


def read_logs(client: Client, container: str, *, tail: int | None, since: float | None, timestamps: bool) -> list[str]:
    """What the engine holds of a container's output; `since` in seconds since the epoch."""
    params = {"tail": _tail(tail), "timestamps": "1" if timestamps else "0"}
    if since is not None:
        params["since"] = f"{since:.9f}"
    line = _ask(client, container, params)
    deadline = threading.Timer(client.timeout_s, line.cut)
    deadline.start()
    try:
        return [clean(raw) for raw in lines(line.chunks(), multiplexed=line.content_type == MULTIPLEXED)]
    finally:
        deadline.cancel()
        line.close()


def _ask(client: Client, container: str, params: Mapping[str, str]) -> Line:
    line = client.line()
    path = f"/containers/{quote(container, safe='')}/logs"
    try:
        line.request("GET", path, params={"stdout": "1", "stderr": "1", **params})
    except EngineRefused as error:
        line.close()
        raise refusal(f"show the logs of {container}", error.message) from error
    return line


def _tail(tail: int | None) -> str:
    return "all" if tail is None else str(tail)
