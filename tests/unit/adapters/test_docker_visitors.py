"""Lines of `/proc/net/tcp` and `tcp6` as the kernel writes them: who came to a container, and who is none."""

from __future__ import annotations

import socket
import struct

import pytest

from agent.adapters.docker.visitors import connections

OWN, EDGE, SIBLING = "10.200.0.3", "10.200.0.2", "10.200.0.4"
LISTENING, ESTABLISHED, TIME_WAIT, CLOSE_WAIT = "0A", "01", "06", "08"


def line(local: tuple[str, int], remote: tuple[str, int], state: str, *, mapped: bool) -> str:
    ends = " ".join(f"{_address(address, mapped=mapped)}:{port:04X}" for address, port in (local, remote))
    return f"   1: {ends} {state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0"


def _address(address: str, *, mapped: bool) -> str:
    number = struct.unpack("=I", socket.inet_aton(address))[0]
    return ("0" * 16 + "FFFF0000" if mapped else "") + f"{number:08X}"


def count(*lines: str) -> int:
    return connections(lines, own={OWN}, besides={OWN, SIBLING})


@pytest.fixture(name="mapped", params=[False, True], ids=["tcp", "tcp6"])
def mapped_fixture(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_what_came_to_a_port_that_is_listened_to_counts(mapped: bool) -> None:
    listening = line(("0.0.0.0", 8000), ("0.0.0.0", 0), LISTENING, mapped=mapped)
    one = line((OWN, 8000), (EDGE, 40_000), ESTABLISHED, mapped=mapped)
    other = line((OWN, 8000), (EDGE, 40_001), ESTABLISHED, mapped=mapped)
    assert count(listening, one, other) == 2


@pytest.mark.parametrize("state", [TIME_WAIT, CLOSE_WAIT])
def test_what_one_side_has_ended_does_not_count(state: str, mapped: bool) -> None:
    listening = line(("0.0.0.0", 8000), ("0.0.0.0", 0), LISTENING, mapped=mapped)
    assert count(listening, line((OWN, 8000), (EDGE, 40_000), state, mapped=mapped)) == 0


def test_what_the_container_opened_itself_does_not_count(mapped: bool) -> None:
    listening = line(("0.0.0.0", 8000), ("0.0.0.0", 0), LISTENING, mapped=mapped)
    assert count(listening, line((OWN, 40_000), ("198.51.100.7", 443), ESTABLISHED, mapped=mapped)) == 0


def test_siblings_and_the_containers_own_health_check_do_not_count(mapped: bool) -> None:
    listening = line(("0.0.0.0", 8000), ("0.0.0.0", 0), LISTENING, mapped=mapped)
    sibling = line((OWN, 8000), (SIBLING, 40_000), ESTABLISHED, mapped=mapped)
    itself = line(("127.0.0.1", 8000), ("127.0.0.1", 40_000), ESTABLISHED, mapped=mapped)
    assert count(listening, sibling, itself) == 0


def test_the_table_of_another_network_namespace_says_nothing() -> None:
    listening = line(("0.0.0.0", 8000), ("0.0.0.0", 0), LISTENING, mapped=False)
    assert count(listening, line(("192.0.2.1", 8000), (EDGE, 40_000), ESTABLISHED, mapped=False)) == 0


def test_ipv6_is_none_of_our_networks() -> None:
    full = "20010DB8000000000000000000000001"
    listening = line(("0.0.0.0", 8000), ("0.0.0.0", 0), LISTENING, mapped=True)
    assert count(listening, f" 1: {full}:1F40 {full}:9C40 {ESTABLISHED} 0:0 00:0 0 0 0 1") == 0
