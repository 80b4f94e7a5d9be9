"""Asking the metadata service over real HTTP: tokens, what is not there, and what is no such service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agent.adapters.imds import Imds
from agent.errors import OutsideError
from agent.model.facts import InstanceFacts
from tests.support.imdsd import Imdsd, imdsd


@pytest.fixture
def service() -> Iterator[Imdsd]:
    with imdsd() as running:
        running.data = {"public-ipv4": "203.0.113.10", "ipv6": "2001:DB8:0::1"}
        yield running


def code_of(asked: Imds) -> str:
    with pytest.raises(OutsideError) as caught:
        asked.public_ipv4()
    assert "dns.addresses" in caught.value.hint
    return caught.value.code


def test_the_addresses_are_told(service: Imdsd) -> None:
    assert (Imds(service.url).public_ipv4(), Imds(service.url).ipv6()) == ("203.0.113.10", "2001:db8::1")


def test_an_address_that_the_instance_does_not_have_is_none(service: Imdsd) -> None:
    service.data = {}
    assert (Imds(service.url).public_ipv4(), Imds(service.url).ipv6()) == (None, None)


def test_one_token_serves_until_it_is_about_to_end(service: Imdsd) -> None:
    now = 0.0
    imds = Imds(service.url, monotonic=lambda: now)
    for _ in range(3):
        imds.public_ipv4()
    assert service.handed_out == 1
    now = timedelta(hours=6).total_seconds() - 60
    imds.public_ipv4()
    assert service.handed_out == 2


def test_a_token_that_the_service_has_forgotten_is_replaced(service: Imdsd) -> None:
    imds = Imds(service.url)
    imds.public_ipv4()
    service.tokens.clear()
    assert imds.public_ipv4() == "203.0.113.10"


def test_a_proxy_of_the_environment_is_not_asked(service: Imdsd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert Imds(service.url).public_ipv4() == "203.0.113.10"


def test_a_service_that_is_switched_off_says_how_to_go_on(service: Imdsd) -> None:
    service.is_off = True
    assert code_of(Imds(service.url)) == "imds-refused"


def test_outside_of_ec2_there_is_none() -> None:
    assert code_of(Imds("http://127.0.0.1:1")) == "imds-unreachable"


def test_what_is_no_address_is_believed_from_nobody(service: Imdsd) -> None:
    service.data = {"public-ipv4": "<html>Please sign in</html>"}
    assert code_of(Imds(service.url)) == "imds-unreachable"


def test_what_the_doctor_wants_to_know_is_told(service: Imdsd) -> None:
    service.data |= {
        "instance-id": "i-0123456789abcdef0",
        "mac": "0a:00:00:00:00:01",
        "network/interfaces/macs/0a:00:00:00:00:01/vpc-ipv4-cidr-blocks": "172.31.0.0/16\n10.1.0.0/16",
        "iam/security-credentials/": "butai",
        "instance-life-cycle": "spot",
        "spot/instance-action": '{"action": "stop"}',
    }
    assert Imds(service.url).facts() == InstanceFacts(
        id="i-0123456789abcdef0",
        vpc=("172.31.0.0/16", "10.1.0.0/16"),
        answers_without_token=False,
        crosses_to_containers=True,  # on loopback every packet lives long enough
        role="butai",
        public_ipv4="203.0.113.10",
        is_spot=True,
        interruption='{"action": "stop"}',
    )


def test_what_aws_has_announced_is_told_and_nothing_where_it_has_not(service: Imdsd) -> None:
    assert Imds(service.url).spot_announcements() == ("", "")
    service.data |= {"spot/instance-action": '{"action": "stop"}', "events/recommendations/rebalance": "{}"}
    assert Imds(service.url).spot_announcements() == ('{"action": "stop"}', "{}")


def test_a_service_that_answers_without_a_token_is_found_out(service: Imdsd) -> None:
    service.wants_token = False
    assert Imds(service.url).facts().answers_without_token is True


def test_an_instance_that_nobody_speaks_for_stays_unknown(service: Imdsd) -> None:
    service.is_off = True
    assert Imds(service.url).facts() == InstanceFacts()


def test_a_token_whose_packets_end_here_does_not_reach_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a hop limit of 1. Silence is the answer, for which 2 s are too long here."""
    monkeypatch.setattr("agent.adapters.imds._TIMEOUT_S", 0.3)
    with imdsd(hops=1) as near, imdsd(hops=2) as far:
        assert Imds(near.url).facts().crosses_to_containers is False
        assert Imds(far.url).facts().crosses_to_containers is True
