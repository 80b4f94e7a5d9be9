"""Asking one name server: its own answer, and the reasons why there is none."""

from __future__ import annotations

from collections.abc import Iterator

import dns.rcode
import pytest

from agent.adapters.nameservers import NameServers
from agent.errors import OutsideError
from tests.support.named import Named, named

NAME = "butai.staging.example.com"


@pytest.fixture
def server() -> Iterator[Named]:
    with named() as running:
        running.answers = {(NAME, "A"): ("203.0.113.10",), (NAME, "AAAA"): ("2001:db8::1",)}
        yield running


def refused(port: int, *, host: str = "127.0.0.1") -> str:
    with pytest.raises(OutsideError) as caught:
        NameServers(port, timeout_s=0.2).ask(host, NAME, "A")
    return caught.value.message


def test_the_servers_own_answer_is_told(server: Named) -> None:
    servers = NameServers(server.port)
    assert servers.ask("127.0.0.1", NAME, "A") == ("203.0.113.10",)
    assert servers.ask("localhost", NAME, "AAAA") == ("2001:db8::1",)
    assert servers.ask("127.0.0.1", "other.example.com", "A") == ()
    assert server.asked[0] == f"{NAME} A direct"


def test_a_name_that_is_not_there_has_no_addresses(server: Named) -> None:
    server.answers, server.rcode = {}, dns.rcode.NXDOMAIN
    assert NameServers(server.port).ask("127.0.0.1", NAME, "A") == ()


def test_a_silent_server_is_not_waited_for(server: Named) -> None:
    server.is_silent = True
    assert refused(server.port) == "Name server 127.0.0.1 does not answer."


@pytest.mark.parametrize("rcode", [dns.rcode.REFUSED, dns.rcode.SERVFAIL])
def test_a_server_that_refuses_is_not_one_without_addresses(server: Named, rcode: dns.rcode.Rcode) -> None:
    server.answers, server.rcode = {}, rcode
    assert refused(server.port) == f"Name server 127.0.0.1 answers {dns.rcode.to_text(rcode)}."


def test_a_server_that_only_heard_of_it_is_not_believed(server: Named) -> None:
    server.is_authoritative = False
    assert refused(server.port) == "Name server 127.0.0.1 does not serve the zone."


def test_a_server_without_an_address_is_named() -> None:
    assert refused(53, host="ns.invalid") == "Name server ns.invalid has no address."
