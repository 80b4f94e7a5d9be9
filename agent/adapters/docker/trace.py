"""BuildKit's trace as lines that a person can read, in the form of `docker build --progress=plain`.

Each message is a protobuf StatusResponse (moby/buildkit api/services/control/control.proto). Decoding the handful of
fields we show takes a page; the generated classes would drag in a protobuf runtime.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.adapters.docker.logs import clean

TAIL = 20  # log lines kept of each step, for the message of a failure

Fields = dict[int, list[int | bytes]]


@dataclass(slots=True)
class Vertex:
    """One step of a build, as far as we were told."""

    number: int
    name: str
    started_s: float = 0.0
    error: str = ""
    done: bool = False
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    unfinished: bytes = b""


class Trace:
    """Feeds on messages, answers with lines, and remembers which step failed."""

    def __init__(self) -> None:
        self._vertices: dict[bytes, Vertex] = {}

    @property
    def failed(self) -> Vertex | None:
        """The step that failed of itself; others only were cancelled with it."""
        broken = [vertex for vertex in self._vertices.values() if vertex.error]
        return next((vertex for vertex in broken if not vertex.error.endswith("context canceled")), None)

    def lines(self, message: str) -> Iterator[str]:
        """The lines that one base64 message adds."""
        response = _fields(base64.b64decode(message))
        for raw in _messages(response, 1):
            yield from self._vertex(_fields(raw))
        for raw in _messages(response, 3):
            yield from self._log(_fields(raw))
        for raw in _messages(response, 4):
            warning = _fields(raw)
            yield f"WARNING: {_text(warning, 3)}"

    def _vertex(self, fields: Fields) -> Iterator[str]:
        digest = _bytes(fields, 1)
        vertex = self._vertices.get(digest)
        started, completed, error = _time(fields, 5), _time(fields, 6), _text(fields, 7)
        if vertex is None:
            if not started and not completed:
                return  # announced; it gets its number when it begins
            vertex = self._vertices[digest] = Vertex(len(self._vertices) + 1, _text(fields, 3))
            yield f"#{vertex.number} {vertex.name}"
        vertex.started_s = started or vertex.started_s
        if not completed or vertex.done:
            return
        vertex.done = True
        if vertex.unfinished:
            yield from self._say(vertex, vertex.unfinished, completed)
        if error:
            vertex.error = error
            yield f"#{vertex.number} ERROR: {error}"
        elif _number(fields, 4):
            yield f"#{vertex.number} CACHED"
        else:
            yield f"#{vertex.number} DONE {max(0.0, completed - vertex.started_s):.1f}s"

    def _log(self, fields: Fields) -> Iterator[str]:
        vertex = self._vertices.get(_bytes(fields, 1))
        if vertex is None:
            return
        *whole, vertex.unfinished = (vertex.unfinished + _bytes(fields, 4)).split(b"\n")
        for raw in whole:
            yield from self._say(vertex, raw, _time(fields, 2))

    def _say(self, vertex: Vertex, raw: bytes, at_s: float) -> Iterator[str]:
        text = clean(raw)
        vertex.tail.append(text)
        yield f"#{vertex.number} {max(0.0, at_s - vertex.started_s):.3f} {text}"


def _fields(data: bytes) -> Fields:
    """A protobuf message as field number -> values; nested messages stay bytes."""
    fields: Fields = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value: int | bytes
        match key & 7:
            case 0:
                value, at = _varint(data, at)
            case 2:
                size, at = _varint(data, at)
                value, at = data[at : at + size], at + size
            case 1:
                value, at = data[at : at + 8], at + 8
            case 5:
                value, at = data[at : at + 4], at + 4
            case other:
                raise ValueError(f"wire type {other}")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _messages(fields: Fields, number: int) -> Iterator[bytes]:
    return (value for value in fields.get(number, ()) if isinstance(value, bytes))


def _bytes(fields: Fields, number: int) -> bytes:
    return next(_messages(fields, number), b"")


def _text(fields: Fields, number: int) -> str:
    return _bytes(fields, number).decode("utf-8", "replace")


def _number(fields: Fields, number: int) -> int:
    return next((value for value in fields.get(number, ()) if isinstance(value, int)), 0)


def _time(fields: Fields, number: int) -> float:
    """A google.protobuf.Timestamp in seconds since the epoch; 0 when absent."""
    raw = _bytes(fields, number)
    if not raw:
        return 0.0
    stamp = _fields(raw)
    return _number(stamp, 1) + _number(stamp, 2) / 1e9
