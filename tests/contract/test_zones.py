"""The zone that tests turn by hand and Route53 (moto's, behind real boto3) agree on what they are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from agent.adapters.aws import Route53
from agent.errors import OutsideError
from agent.model.dns import Action, Alias, Record, RecordChange
from agent.runtime.dns_ports import Zones
from tests.support import awsd
from tests.support.dnsworld import FakeZones

DOMAIN = "staging.example.com"
WILD = f"*.{DOMAIN}"
MARK = Record(f"_butai.{DOMAIN}", "TXT", 300, ('"heritage=butai,owner=us"',))
A = Record(WILD, "A", 60, ("203.0.113.10",))
NAMES = (DOMAIN, WILD, MARK.name)


@dataclass
class Place:
    zones: Zones
    zone: str

    def send(self, action: Action, *records: Record) -> str:
        return self.zones.change(self.zone, [RecordChange(action, record) for record in records])

    def records(self) -> set[Record]:
        return set(self.zones.read(self.zone, NAMES).records)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with awsd.moto() as running:
        yield running


@pytest.fixture(params=["fake", "route53"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "fake":
        return Place(FakeZones(), "Z1")
    url = request.getfixturevalue("url")
    awsd.use(monkeypatch, url)
    made = awsd.client(url).create_hosted_zone(Name="example.com", CallerReference=str(uuid.uuid4()))
    return Place(Route53(), made["HostedZone"]["Id"].rpartition("/")[2])


def test_a_zone_tells_its_name_and_its_servers(place: Place) -> None:
    view = place.zones.read(place.zone, NAMES)
    assert view.name == "example.com"
    assert len(view.servers) >= 2
    assert not any(server.endswith(".") for server in view.servers)
    assert view.records == ()


def test_what_was_sent_is_read_back_as_it_was(place: Place) -> None:
    six = Record(DOMAIN, "AAAA", 60, ("2001:db8::1",))
    alias = Record(DOMAIN, "A", alias=Alias("lb-1.eu-west-1.elb.amazonaws.com", "Z32O12XQLNTSW2"))
    change = place.send(Action.UPSERT, MARK, A, six, alias)
    assert place.records() == {MARK, A, six, alias}
    assert place.zones.in_sync(change)


def test_records_at_other_names_are_not_read(place: Place) -> None:
    others = [replace(A, name=name) for name in (f"x.{DOMAIN}", "example.com", "a.example.com", "z.example.com")]
    place.send(Action.UPSERT, A, *others)
    assert place.records() == {A}


def test_an_upsert_replaces(place: Place) -> None:
    place.send(Action.UPSERT, A)
    other = Record(WILD, "A", 300, ("198.51.100.1",))
    place.send(Action.UPSERT, other)
    assert place.records() == {other}


def test_a_cname_gives_way_to_an_address_in_one_batch(place: Place) -> None:
    cname = Record(WILD, "CNAME", 60, ("elsewhere.example.net",))
    place.send(Action.UPSERT, cname)
    place.zones.change(place.zone, [RecordChange(Action.DELETE, cname), RecordChange(Action.UPSERT, A)])
    assert place.records() == {A}


def test_what_somebody_else_created_first_refuses_the_whole_batch(place: Place) -> None:
    place.send(Action.CREATE, MARK)  # moto refuses only what is the same to the letter
    with pytest.raises(OutsideError) as caught:
        place.zones.change(place.zone, [RecordChange(Action.CREATE, MARK), RecordChange(Action.UPSERT, A)])
    assert caught.value.code == "dns-raced"
    assert place.records() == {MARK}
