"""The keeper of records: what it does at each look, what it says of it, and how often it comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import OutsideError, RequestError
from agent.model.dns import Record
from tests.support.dnsworld import (
    ADDRESS,
    DOMAIN,
    SETTINGS,
    US,
    DnsWorld,
    HandStop,
    build_world,
    change_settings,
)

WILD = f"*.{DOMAIN}"
MARK = f"_butai.{DOMAIN}"
THEIRS = Record(MARK, "TXT", 300, ('"heritage=butai,owner=agent-two"',))
THROTTLED = OutsideError("Route53 wants to be asked less often.", hint="Nobody must act.", code="aws-throttled")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DnsWorld]:
    world = build_world(tmp_path)
    yield world
    world.store.close()


def addresses(world: DnsWorld) -> dict[str, str]:
    return {record.name: " ".join(record.values) for record in world.zones.records.values() if record.type == "A"}


def test_the_first_look_makes_the_records_and_the_next_ones_send_nothing(world: DnsWorld) -> None:
    world.round()
    assert addresses(world) == {DOMAIN: ADDRESS, WILD: ADDRESS}
    world.round()
    world.round()
    assert len(world.zones.batches) == 1


def test_the_records_follow_an_instance_that_was_stopped_and_started(world: DnsWorld) -> None:
    world.round()
    world.instance.v4 = "198.51.100.7"
    world.round()
    assert addresses(world) == {DOMAIN: "198.51.100.7", WILD: "198.51.100.7"}
    assert world.told()[-1] == (
        f"records of {DOMAIN} changed: {DOMAIN} A 198.51.100.7, 60 s; {WILD} A 198.51.100.7, 60 s"
    )


def test_a_record_that_somebody_changes_is_put_right_at_the_next_look(world: DnsWorld) -> None:
    world.round()
    world.zones.put(Record(WILD, "A", 60, ("198.51.100.99",)))
    world.round()
    assert addresses(world)[WILD] == ADDRESS


def test_an_ipv6_address_is_told_only_where_that_is_wanted(world: DnsWorld) -> None:
    world.instance.v6 = "2001:db8::1"
    world.round()
    assert (WILD, "AAAA") not in world.zones.records
    change_settings(world, f"{SETTINGS}ipv6 = true")
    world.round()
    assert world.zones.records[WILD, "AAAA"].values == ("2001:db8::1",)
    world.instance.v6 = None
    world.round()
    assert (WILD, "AAAA") not in world.zones.records


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('addresses = ["198.51.100.5"]', f"{WILD} A 198.51.100.5, 60 s"),
        ('addresses = ["2001:db8::5"]', f"{WILD} AAAA 2001:db8::5, 60 s"),
        ("ttl_s = 300", f"{WILD} A {ADDRESS}, 300 s"),
        ('load_balancer = { name = "lb.example.net", zone = "Z2" }', f"{WILD} A alias of lb.example.net"),
    ],
)
def test_what_is_configured_counts(tmp_path: Path, line: str, expected: str) -> None:
    world = build_world(tmp_path, SETTINGS + line)
    world.round()
    assert f"upsert {expected}" in world.zones.batches[0]
    world.store.close()


def test_an_instance_without_an_address_says_so_and_changes_nothing(world: DnsWorld) -> None:
    world.round()
    world.instance.v4 = None
    world.round()
    assert len(world.zones.batches) == 1
    assert "no public IPv4 address. Associate an Elastic IP" in world.told()[-1]


# --- whose the records are


def test_records_of_another_agent_are_refused_and_that_is_said_once(world: DnsWorld) -> None:
    world.zones.put(THEIRS, Record(WILD, "A", 60, ("198.51.100.1",)))
    for _ in range(3):
        world.round()
    assert world.zones.batches == []
    [told] = world.told()
    assert "belong to another agent, agent-two" in told
    assert "butai dns adopt" in told


def test_adopting_takes_them_over_at_once_and_for_good(world: DnsWorld) -> None:
    world.zones.put(THEIRS, Record(WILD, "A", 60, ("198.51.100.1",)))
    world.round()
    assert "are this agent's now" in world.keeper.adopt(caller="unix:anna")
    assert addresses(world) == {DOMAIN: ADDRESS, WILD: ADDRESS}
    event = world.store.events.list()[-1]
    assert (event.caller, event.data["lines"][0]) == ("unix:anna", f"upsert {world.zones.records[MARK, 'TXT']}")
    world.round()
    assert len(world.zones.batches) == 1
    assert world.told()[-1] == f"records of {DOMAIN} are looked after again"


def test_adopting_what_is_ours_already_changes_nothing(world: DnsWorld) -> None:
    world.round()
    assert "already" in world.keeper.adopt(caller="unix:anna")
    assert len(world.zones.batches) == 1


def test_an_agent_whose_records_were_taken_over_never_fights_for_them(world: DnsWorld, tmp_path: Path) -> None:
    world.round()
    world.zones.put(THEIRS, Record(WILD, "A", 60, ("198.51.100.1",)))
    world.round()
    assert addresses(world)[WILD] == "198.51.100.1"
    assert len(world.zones.batches) == 1


def test_of_two_agents_that_find_nothing_one_gets_all_and_the_other_is_refused(world: DnsWorld) -> None:
    read, theirs = world.zones.read, (THEIRS, Record(WILD, "A", 60, ("198.51.100.1",)))

    def read_before_they_write(zone: str, names: object) -> object:
        view = read(zone, names)  # type: ignore[arg-type]
        world.zones.put(*theirs)
        return view

    world.zones.read = read_before_they_write  # type: ignore[method-assign, assignment]
    world.round()
    assert addresses(world) == {WILD: "198.51.100.1"}
    world.round()
    assert "belong to another agent" in world.told()[-1]


# --- what goes wrong


def test_an_outage_is_told_once_and_its_end_once(world: DnsWorld) -> None:
    world.round()
    world.zones.failures = [THROTTLED, THROTTLED, THROTTLED]
    for _ in range(5):
        world.round()
    assert world.told()[1:] == [
        f"records of {DOMAIN} not looked after: Route53 wants to be asked less often. Nobody must act.",
        f"records of {DOMAIN} are looked after again",
    ]


def test_it_comes_back_soon_after_a_failure_and_ever_later_but_never_later_than_usual(world: DnsWorld) -> None:
    world.zones.failures = [THROTTLED] * 9
    waits = [world.round() for _ in range(9)]
    for wait_s, expected in zip(waits, (5, 10, 20, 40, 80, 160, 300, 300, 300), strict=True):
        assert 0.9 * expected <= wait_s <= 1.1 * expected
    assert 270 <= world.round() <= 330


def test_a_change_is_waited_for_until_every_server_has_it(world: DnsWorld) -> None:
    world.zones.pending = 4
    world.round()
    assert world.clock.seconds == 15.0  # three looks in vain
    assert len(world.told()) == 1


def test_a_change_that_never_arrives_is_a_problem_until_it_does(world: DnsWorld) -> None:
    world.zones.pending = 1_000_000
    world.round()
    assert world.clock.seconds == 120.0
    assert "has not brought the last change to all of its servers within 120 s" in world.told()[-1]
    world.round()
    assert len(world.told()) == 2
    world.zones.pending = 0
    world.round()
    assert world.told()[-1] == f"records of {DOMAIN} are looked after again"


def test_the_end_of_the_agent_waits_for_no_server(world: DnsWorld) -> None:
    world.zones.pending = 1_000_000
    world.keeper.run(HandStop(world.clock, until_s=5.0))
    assert world.clock.seconds <= 11.0


# --- the loop


def test_without_the_section_nothing_is_asked(tmp_path: Path) -> None:
    world = build_world(tmp_path, SETTINGS.partition("[dns]")[0])
    world.zones.failures = [THROTTLED]
    world.keeper.run(HandStop(world.clock, until_s=1_000.0))
    assert len(world.zones.failures) == 1
    for ask in (world.keeper.look, world.keeper.check):
        with pytest.raises(RequestError) as caught:
            ask()
        assert (caught.value.code, caught.value.http_status) == ("dns-off", 404)
    world.store.close()


def test_it_looks_at_start_and_on_a_timer(world: DnsWorld) -> None:
    asked: list[float] = []
    world.instance.public_ipv4 = lambda: asked.append(world.clock.seconds) or ADDRESS  # type: ignore[method-assign, func-returns-value]
    world.keeper.run(HandStop(world.clock, until_s=1_000.0))
    assert asked[0] == 0.0
    assert 3 <= len(asked) <= 5


def test_changed_settings_are_taken_up_at_once(world: DnsWorld) -> None:
    class Stop(HandStop):
        def wait(self, timeout: float | None = None) -> bool:
            if world.clock.seconds == 10.0:
                change_settings(world, f"{SETTINGS}ttl_s = 30")
            return super().wait(timeout)

    world.keeper.run(Stop(world.clock, until_s=20.0))
    assert world.zones.records[WILD, "A"].ttl_s == 30


def test_after_an_adoption_it_looks_again_at_once(world: DnsWorld) -> None:
    class Stop(HandStop):
        def wait(self, timeout: float | None = None) -> bool:
            if world.clock.seconds == 20.0:
                world.keeper.adopt(caller="unix:anna")
            return super().wait(timeout)

    world.zones.put(THEIRS)
    world.keeper.run(Stop(world.clock, until_s=23.0))
    assert world.told()[-1] == f"records of {DOMAIN} are looked after again"


def test_a_mistake_of_ours_does_not_end_the_loop(world: DnsWorld) -> None:
    world.zones.read = FailingOnce(world.zones.read)  # type: ignore[method-assign, assignment]
    world.keeper.run(HandStop(world.clock, until_s=700.0))
    assert addresses(world) == {DOMAIN: ADDRESS, WILD: ADDRESS}


class FailingOnce:
    def __init__(self, act: object) -> None:
        self._act = act
        self._failed = False

    def __call__(self, *arguments: object) -> object:
        if not self._failed:
            self._failed = True
            raise KeyError("bug")
        return self._act(*arguments)  # type: ignore[operator]


# --- what people see


def test_a_look_tells_what_is_wanted_what_is_there_and_what_comes_next(world: DnsWorld) -> None:
    look = world.keeper.look()
    assert [str(one) for one in look.wanted] == [f"{DOMAIN} A {ADDRESS}, 60 s", f"{WILD} A {ADDRESS}, 60 s"]
    assert (look.observed, len(look.changes), look.owner, look.problem) == ((), 3, "", None)
    assert world.zones.batches == []
    world.round()
    look = world.keeper.look()
    assert (look.observed, look.changes, look.owner) == (look.wanted, (), US)


def test_a_look_shows_what_it_can_while_something_is_away(world: DnsWorld) -> None:
    world.round()
    world.instance.v4 = None
    look = world.keeper.look()
    assert look.problem is not None
    assert (look.problem.code, len(look.observed), look.wanted) == ("dns-no-address", 2, ())
    world.instance.v4 = ADDRESS
    world.zones.failures = [THROTTLED]
    look = world.keeper.look()
    assert (look.problem, len(look.wanted), look.observed) == (THROTTLED, 2, ())


def test_the_check_asks_every_server_for_both_names(world: DnsWorld) -> None:
    right = {("ns1.example.net", name, "A"): (ADDRESS,) for name in (DOMAIN, f"butai.{DOMAIN}")}
    world.servers.answers = right | {
        ("ns2.example.net", DOMAIN, "A"): ("198.51.100.1",),
        ("ns2.example.net", f"butai.{DOMAIN}", "AAAA"): ("2001:db8::9",),
    }
    assert [(one.server[:3], one.name, one.type, one.problem) for one in world.keeper.check()] == [
        ("ns1", DOMAIN, "A", ""),
        ("ns1", f"butai.{DOMAIN}", "A", ""),
        ("ns2", DOMAIN, "A", f"should be {ADDRESS}"),
        ("ns2", f"butai.{DOMAIN}", "A", f"should be {ADDRESS}"),
        ("ns2", f"butai.{DOMAIN}", "AAAA", "there should be none"),
    ]


def test_a_silent_server_is_asked_no_further(world: DnsWorld) -> None:
    world.servers.silent = {"ns1.example.net", "ns2.example.net"}
    assert [one.problem for one in world.keeper.check()] == [
        "Name server ns1.example.net does not answer.",
        "Name server ns2.example.net does not answer.",
    ]
