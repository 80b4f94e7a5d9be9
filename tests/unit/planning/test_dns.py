"""Which records there should be, and what is sent to make them so: compared as text, as a person reads it."""

from __future__ import annotations

import pytest

from agent.model.dns import Alias, Destination, Record, ZoneView
from agent.planning.dns import complaint, plan_dns, wanted_records

DOMAIN = "staging.example.com"
WILD = f"*.{DOMAIN}"
MARK = Record(f"_butai.{DOMAIN}", "TXT", 300, ('"heritage=butai,owner=us"',))
THEIRS = Record(f"_butai.{DOMAIN}", "TXT", 300, ('"heritage=butai,owner=them"',))
LB = Alias("lb-1.eu-west-1.elb.amazonaws.com", "Z2")

V4 = Destination(ipv4="203.0.113.10")
BOTH = Destination(ipv4="203.0.113.10", ipv6="2001:db8::1")


def a(name: str, address: str = "203.0.113.10", ttl_s: int = 60) -> Record:
    return Record(name, "A", ttl_s, (address,))


def aaaa(name: str, address: str = "2001:db8::1") -> Record:
    return Record(name, "AAAA", 60, (address,))


RIGHT = (MARK, a(DOMAIN), a(WILD))


def plan(destination: Destination, *records: Record, zone: str = "example.com", adopting: bool = False) -> list[str]:
    wanted = wanted_records(DOMAIN, destination, ttl_s=60, owner="us")
    view = ZoneView(zone, (), records)
    made = plan_dns(wanted, view, domain=DOMAIN, owner="us", adopting=adopting)
    assert made.converged == (not made.changes and made.refusal is None)
    return [made.refusal.code] if made.refusal else [str(change) for change in made.changes]


def test_an_empty_zone_gets_everything_and_the_mark_only_if_nobody_was_faster() -> None:
    assert plan(V4) == [
        'create _butai.staging.example.com TXT "heritage=butai,owner=us", 300 s',
        "upsert staging.example.com A 203.0.113.10, 60 s",
        "upsert *.staging.example.com A 203.0.113.10, 60 s",
    ]


CHANGES = {
    "nothing is sent when all is right": (V4, RIGHT, []),
    "another address": (
        V4,
        (MARK, a(DOMAIN, "198.51.100.1"), a(WILD, "198.51.100.1")),
        ["upsert staging.example.com A 203.0.113.10, 60 s", "upsert *.staging.example.com A 203.0.113.10, 60 s"],
    ),
    "another time to live, of one of them": (
        V4,
        (MARK, a(DOMAIN), a(WILD, ttl_s=300)),
        ["upsert *.staging.example.com A 203.0.113.10, 60 s"],
    ),
    "one that somebody removed": (V4, (MARK, a(DOMAIN)), ["upsert *.staging.example.com A 203.0.113.10, 60 s"]),
    "records of other types and names are nobody's business": (
        V4,
        (*RIGHT, Record(DOMAIN, "MX", 60, ("10 mail",)), Record(DOMAIN, "TXT", 60, ('"v=spf1"',)), a("x.example.com")),
        [],
    ),
    "an IPv6 address too": (
        BOTH,
        RIGHT,
        ["upsert staging.example.com AAAA 2001:db8::1, 60 s", "upsert *.staging.example.com AAAA 2001:db8::1, 60 s"],
    ),
    "an IPv6 address in another spelling is the same": (
        BOTH,
        (*RIGHT, aaaa(DOMAIN, "2001:0DB8:0:0::1"), aaaa(WILD)),
        [],
    ),
    "an IPv6 address that the instance lost": (
        V4,
        (*RIGHT, aaaa(DOMAIN), aaaa(WILD)),
        ["delete staging.example.com AAAA 2001:db8::1, 60 s", "delete *.staging.example.com AAAA 2001:db8::1, 60 s"],
    ),
    "a load balancer in place of addresses": (
        Destination(alias=LB),
        RIGHT,
        [
            "upsert staging.example.com A alias of lb-1.eu-west-1.elb.amazonaws.com",
            "upsert *.staging.example.com A alias of lb-1.eu-west-1.elb.amazonaws.com",
        ],
    ),
    "the same load balancer": (
        Destination(alias=LB, alias_ipv6=True),
        (MARK, *(Record(name, type_, alias=LB) for name in (DOMAIN, WILD) for type_ in ("A", "AAAA"))),
        [],
    ),
    "a CNAME that somebody put beside our mark": (
        V4,
        (MARK, a(DOMAIN), Record(WILD, "CNAME", 60, ("elsewhere.example.net",))),
        [
            "delete *.staging.example.com CNAME elsewhere.example.net, 60 s",
            "upsert *.staging.example.com A 203.0.113.10, 60 s",
        ],
    ),
}


@pytest.mark.parametrize(("destination", "records", "expected"), CHANGES.values(), ids=CHANGES)
def test_only_what_differs_is_sent(destination: Destination, records: tuple[Record, ...], expected: list[str]) -> None:
    assert plan(destination, *records) == expected


REFUSALS = {
    "another agent's": ((THEIRS, a(DOMAIN, "198.51.100.1"), a(WILD, "198.51.100.1")), "example.com", "dns-foreign"),
    "another agent's, though they lead here": ((THEIRS, a(DOMAIN), a(WILD)), "example.com", "dns-foreign"),
    "another agent's mark alone": ((THEIRS,), "example.com", "dns-foreign"),
    "made by hand": ((a(WILD, "198.51.100.1"),), "example.com", "dns-foreign"),
    "some text that is no mark": ((Record(MARK.name, "TXT", 60, ('"hello"',)),), "example.com", "dns-foreign"),
    "a zone that our domain is not in": ((), "example.net", "dns-wrong-zone"),
    "a zone whose name ends alike": ((), "ng.example.com", "dns-wrong-zone"),
    "a zone below our domain": ((), "eu.staging.example.com", "dns-wrong-zone"),
    "records with weights": (
        (MARK, Record(WILD, "A", 60, ("203.0.113.10",), variant="blue")),
        DOMAIN,
        "dns-routing-policy",
    ),
}


@pytest.mark.parametrize(("records", "zone", "code"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_not_ours_is_left_alone(records: tuple[Record, ...], zone: str, code: str) -> None:
    assert plan(V4, *records, zone=zone) == [code]


def test_a_zone_of_its_own_for_the_domain_is_fine() -> None:
    assert plan(V4, *RIGHT, zone=DOMAIN) == []


def test_a_refusal_says_whose_records_these_are_what_they_hold_and_what_to_do() -> None:
    wanted = wanted_records(DOMAIN, V4, ttl_s=60, owner="us")
    view = ZoneView("example.com", (), (THEIRS, a(WILD, "198.51.100.1")))
    refusal = plan_dns(wanted, view, domain=DOMAIN, owner="us").refusal
    assert refusal is not None
    assert refusal.message == (
        "The records of staging.example.com belong to another agent, them: *.staging.example.com A 198.51.100.1, 60 s."
    )
    assert "butai dns adopt" in refusal.hint


def test_adopting_takes_over_the_mark_and_what_differs() -> None:
    assert plan(V4, THEIRS, a(DOMAIN), a(WILD, "198.51.100.1"), adopting=True) == [
        'upsert _butai.staging.example.com TXT "heritage=butai,owner=us", 300 s',
        "upsert *.staging.example.com A 203.0.113.10, 60 s",
    ]


def test_adopting_replaces_a_cname_made_by_hand() -> None:
    assert plan(V4, a(DOMAIN), Record(WILD, "CNAME", 60, ("old.example.net",)), adopting=True) == [
        "delete *.staging.example.com CNAME old.example.net, 60 s",
        'create _butai.staging.example.com TXT "heritage=butai,owner=us", 300 s',
        "upsert *.staging.example.com A 203.0.113.10, 60 s",
    ]


@pytest.mark.parametrize("records", [(THEIRS,), (Record(WILD, "A", 60, ("1.2.3.4",), variant="blue"),)])
def test_adopting_is_no_way_into_another_zone_or_around_a_routing_policy(records: tuple[Record, ...]) -> None:
    zone = "example.net" if records == (THEIRS,) else DOMAIN
    assert plan(V4, *records, zone=zone, adopting=True)[0] in ("dns-wrong-zone", "dns-routing-policy")


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        (a(WILD), ("203.0.113.10",), ""),
        (a(WILD), ("198.51.100.1",), "should be 203.0.113.10"),
        (a(WILD), (), "should be 203.0.113.10"),
        (aaaa(WILD), ("2001:db8:0::1",), ""),
        (Record(WILD, "A", alias=LB), ("198.51.100.1", "198.51.100.2"), ""),
        (Record(WILD, "A", alias=LB), (), "should be an address"),
        (None, (), ""),
        (None, ("2001:db8::1",), "there should be none"),
    ],
)
def test_an_answer_of_a_name_server_is_judged_by_what_is_wanted(
    wanted: Record | None, found: tuple[str, ...], expected: str
) -> None:
    assert complaint(wanted, found) == expected
