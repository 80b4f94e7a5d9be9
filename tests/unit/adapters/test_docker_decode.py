"""The engine's dictionaries, as they were seen on Engine 26.1, and its logs."""

from collections.abc import Mapping
from typing import Any

import pytest

from agent.adapters.docker import decode
from agent.adapters.docker.logs import clean, lines
from agent.model.observed import ContainerState, Health


def entry(**more: Any) -> Mapping[str, Any]:
    return {
        "Id": "abc",
        "Names": ["/shop-web-2"],
        "ImageID": "sha256:1",
        "State": "running",
        "Status": "Up 3 minutes",
        "Created": 1795394884,
        "Labels": {
            "com.docker.compose.service": "web",
            "com.docker.compose.container-number": "2",
            "butai.slug": "main",
        },
        "NetworkSettings": {
            "Networks": {"front": {"IPAddress": "10.200.0.3", "NetworkID": "f00"}, "back": {"IPAddress": ""}}
        },
    } | more


def test_one_list_entry_says_all_that_we_need() -> None:
    container = decode.container(entry())
    assert (container.name, container.service, container.number) == ("shop-web-2", "web", 2)
    assert container.addresses == {"front": "10.200.0.3"}
    assert container.networks == {"front": "f00", "back": ""}
    assert container.running
    assert container.exit_code is None
    assert container.label_slug == "main"


@pytest.mark.parametrize(
    ("state", "status", "health", "exit_code"),
    [
        ("running", "Up 3 minutes (healthy)", Health.HEALTHY, None),
        ("running", "Up Less than a second (health: starting)", Health.STARTING, None),
        ("running", "Up About a minute (unhealthy)", Health.UNHEALTHY, None),
        ("paused", "Up 3 minutes (Paused)", Health.NONE, None),
        ("exited", "Exited (0) 3 seconds ago", Health.NONE, 0),
        ("exited", "Exited (137) Less than a second ago", Health.NONE, 137),
        ("restarting", "Restarting (1) 2 seconds ago", Health.NONE, 1),
        ("created", "Created", Health.NONE, None),
        ("dead", "Dead", Health.NONE, None),
    ],
)
def test_health_and_exit_code_are_in_the_status(state: str, status: str, health: Health, exit_code: int | None) -> None:
    container = decode.container(entry(State=state, Status=status))
    assert (container.state, container.health, container.exit_code) == (ContainerState(state), health, exit_code)


def test_a_container_that_compose_did_not_make_is_decoded_too() -> None:
    container = decode.container(entry(Labels=None, Names=["/other/alias", "/own"], NetworkSettings=None))
    assert (container.name, container.service, container.number, container.addresses) == ("own", "", 1, {})


def test_memory_is_counted_without_the_page_cache() -> None:
    sample = {
        "memory_stats": {"usage": 1000, "limit": 5000, "stats": {"inactive_file": 300}},
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
        "pids_stats": {"current": 4},
    }
    assert decode.stats(sample) == {"memory_bytes": 700, "memory_limit_bytes": 5000, "cpu_seconds": 2.5, "pids": 4}
    assert decode.stats({})["memory_bytes"] == 0  # of a container that stopped


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def test_lines_of_two_streams_do_not_run_into_each_other() -> None:
    data = frame(1, b"one ") + frame(2, b"error\n") + frame(1, b"two\nthr") + frame(1, b"ee")
    for size in (1, 5, len(data)):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert list(lines(pieces, multiplexed=True)) == [b"error", b"one two", b"three"]


def test_a_terminals_output_is_not_multiplexed() -> None:
    assert list(lines([b"one\r\ntw", b"o\r\n"], multiplexed=False)) == [b"one\r", b"two\r"]


def test_a_line_that_never_ends_is_cut() -> None:
    assert [len(line) for line in lines([b"x" * 50_000] * 3, multiplexed=False)] == [100_000, 50_000]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[31mred\x1b[0m\x1b[K", "red"),
        (b"\x1b]0;title\x07shown", "shown"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b]52;c;ZXZpbA==\x07x", "x"),
        (b"\x1bP1;2|dcs\x1b\\after", "after"),
        (b"\x1b(Bset", "set"),
        (b"10%\r50%\r100%\r", "100%"),
        (b"tab\tbell\x07back\x08\x00", "tab\tbellback"),
        ("grüße \u009b31m".encode(), "grüße 31m"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_nothing_in_a_log_drives_a_terminal(raw: bytes, text: str) -> None:
    assert clean(raw) == text
