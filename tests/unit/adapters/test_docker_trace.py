"""BuildKit's trace, put together here by the same rules as BuildKit does."""

import base64

from agent.adapters.docker.trace import TAIL, Trace


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def time(seconds: float) -> bytes:
    return field(1, int(seconds)) + field(2, round(seconds % 1 * 1e9))


def vertex(
    digest: str, name: str, *, started: float = 0, completed: float = 0, cached: bool = False, error: str = ""
) -> bytes:
    message = field(1, digest) + field(3, name)
    message += field(4, 1) if cached else b""
    message += field(5, time(started)) if started else b""
    message += field(6, time(completed)) if completed else b""
    return field(1, message + (field(7, error) if error else b""))


def log(digest: str, text: bytes, *, at: float) -> bytes:
    return field(3, field(1, digest) + field(2, time(at)) + field(3, 1) + field(4, text))


def lines(trace: Trace, *messages: bytes) -> list[str]:
    return [line for message in messages for line in trace.lines(base64.b64encode(message).decode())]


def test_a_build_reads_like_docker_build_in_plain_progress() -> None:
    assert lines(
        Trace(),
        vertex("a", "[1/3] FROM x") + vertex("b", "[2/3] RUN y"),
        vertex("a", "[1/3] FROM x", started=100, completed=100, cached=True),
        vertex("b", "[2/3] RUN y", started=100.5),
        log("b", b"one\ntw", at=100.75),
        log("b", b"o\n\x1b[1mlast", at=101),
        vertex("b", "[2/3] RUN y", started=100.5, completed=102),
    ) == [
        "#1 [1/3] FROM x",
        "#1 CACHED",
        "#2 [2/3] RUN y",
        "#2 0.250 one",
        "#2 0.500 two",
        "#2 1.500 last",
        "#2 DONE 1.5s",
    ]


def test_the_failed_step_is_the_one_that_was_not_cancelled_and_keeps_its_last_lines() -> None:
    trace = Trace()
    said = lines(
        trace,
        vertex("a", "[2/3] RUN slow", started=1) + vertex("b", "[3/3] RUN bad", started=1),
        log("b", b"".join(b"line %d\n" % at for at in range(50)), at=2),
        vertex("a", "[2/3] RUN slow", started=1, completed=3, error="process: context canceled"),
        vertex("b", "[3/3] RUN bad", started=1, completed=3, error="exit code: 1"),
    )
    assert said[-1] == "#2 ERROR: exit code: 1"
    assert trace.failed is not None
    assert trace.failed.name == "[3/3] RUN bad"
    assert list(trace.failed.tail) == [f"line {at}" for at in range(50 - TAIL, 50)]


def test_fields_that_nobody_knows_yet_are_passed_over() -> None:
    unknown = field(99, 1) + field(98, "text") + varint(97 << 3 | 1) + bytes(8) + varint(96 << 3 | 5) + bytes(4)
    assert lines(Trace(), unknown + vertex("a", "[1/1] FROM x", started=1) + field(2, b"")) == ["#1 [1/1] FROM x"]
