"""The keeper of the wall: what it says, how often, and that nothing about a firewall ends the agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread

import pytest
from structlog.testing import capture_logs

from agent import config
from agent.errors import OutsideError
from agent.runtime.firewall import FirewallKeeper
from tests.support.eventually import eventually
from tests.support.fakes_api import SETTINGS

REFUSED = "iptables says: you must be root."


@dataclass
class World:
    """A firewall that keeps what it is told, as long as nobody stands in its way."""

    settings: config.Settings
    kept: dict[int, tuple[str, ...]] = field(default_factory=dict)
    nat: tuple[str, ...] = ()
    refuses: str = ""
    is_deaf: bool = False
    in_between: int = 0  # so many changes are followed by one of somebody else's
    mistakes: int = 0
    looks: int = 0

    def families(self) -> tuple[int, ...]:
        return (4, 6)

    def rules(self, family: int, table: str = "filter") -> tuple[str, ...]:
        if table == "nat":
            return self.nat
        self.looks += 1
        if self.mistakes:
            self.mistakes -= 1
            raise ZeroDivisionError
        if self.refuses:
            raise OutsideError(self.refuses)
        return self.kept.get(family, ())

    def restore(self, family: int, lines: Sequence[str]) -> None:
        if self.is_deaf:
            return
        if self.in_between:
            self.in_between -= 1
            return
        chains = [f"-N {line[1:].split()[0]}" for line in lines if line.startswith(":")]
        jumps = [line.replace("-I", "-A").replace(" 1 ", " ") for line in lines if line.startswith("-I")]
        rules = (*chains, *jumps, *(line for line in lines if line.startswith("-A ")))
        if lines[0] == "*nat":
            self.nat = rules
        else:
            self.kept[family] = rules


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(config.parse(SETTINGS, tmp_path))


def keeper_of(world: World) -> FirewallKeeper:
    return FirewallKeeper(settings=lambda: world.settings, firewall=world)


def test_both_families_get_a_wall_and_the_next_look_changes_nothing(world: World) -> None:
    keeper = keeper_of(world)
    assert keeper.problem is None
    with capture_logs() as told:
        keeper.look()
        keeper.look()
    assert [(line["event"], line["family"]) for line in told] == [
        ("firewall changed", "IPv4"),
        ("firewall changed", "IPv6"),
    ]
    assert keeper.problem == ""


def test_what_forbids_it_is_said_once_and_so_is_that_it_works_again(world: World) -> None:
    keeper = keeper_of(world)
    world.refuses = REFUSED
    with capture_logs() as told:
        keeper.look()
        keeper.look()
        assert keeper.problem == REFUSED
        world.refuses = ""
        keeper.look()
        keeper.look()
    says = [line["event"] for line in told if line["event"] != "firewall changed"]
    assert says == ["the firewall does not keep containers off", "the firewall keeps containers off again"]
    assert keeper.problem == ""


def test_rules_that_do_not_stick_are_a_problem(world: World) -> None:
    world.is_deaf = True
    keeper = keeper_of(world)
    keeper.look()
    assert keeper.problem == "The rules for IPv4 read otherwise than they were written."


def test_docker_that_changes_the_same_chains_at_that_moment_is_no_problem(world: World) -> None:
    """While it makes a network, rules of its own stand before the jump to ours."""
    keeper = keeper_of(world)
    world.in_between = 1
    with capture_logs() as told:
        keeper.look()
    assert {line["event"] for line in told} == {"firewall changed"}
    assert keeper.problem == ""


def test_nor_is_it_where_containers_are_led_to_their_role(world: World) -> None:
    shop = replace(world.settings.projects["shop"], role="arn:aws:iam::123456789012:role/shop")
    world.settings = replace(world.settings, projects={"shop": shop})
    keeper = keeper_of(world)
    keeper.look()
    led, world.nat, world.in_between = world.nat, (), 1
    keeper.look()
    assert keeper.problem == ""
    assert world.nat == led != ()


def test_whoever_wants_no_wall_is_told_nothing_of_a_firewall_that_is_closed_to_us(world: World) -> None:
    world.settings = replace(world.settings, firewall=config.Firewall(manage=False))
    world.refuses = REFUSED
    keeper = keeper_of(world)
    with capture_logs() as told:
        keeper.look()
    assert told == []
    assert keeper.problem is None


def test_the_thread_survives_a_mistake_of_ours_looks_when_poked_and_ends_when_told(world: World) -> None:
    world.mistakes = 1
    keeper, stop = keeper_of(world), Event()
    thread = Thread(target=keeper.run, args=(stop,))
    thread.start()
    eventually(lambda: world.looks == 1)
    keeper.poke()
    eventually(lambda: keeper.problem == "")
    world.kept.clear()
    keeper.poke()
    eventually(lambda: set(world.kept) == {4, 6})
    stop.set()
    keeper.poke()
    thread.join(5)
    assert not thread.is_alive()
