"""A zone, an instance and a clock that tests turn by hand, and a keeper of records between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from agent import config
from agent.errors import AgentError, OutsideError
from agent.model.dns import Action, Record, RecordChange, ZoneView
from agent.runtime.dns import DnsKeeper
from agent.runtime.dns_ports import Instance, NameServers, Zones
from agent.store import Store

DOMAIN = "staging.example.com"
US = "agent-one"
ADDRESS = "203.0.113.10"
SETTINGS = f"""
domain = "{DOMAIN}"
[projects.shop]
remote = "https://git.example.com/shop.git"
[dns]
zone = "Z1"
"""


class FakeZones:
    """One zone in memory; the contract test holds it to what Route53 does. `batches` is what was sent."""

    def __init__(self, name: str = "example.com") -> None:
        self.name = name
        self.servers = ("ns1.example.net", "ns2.example.net")
        self.records: dict[tuple[str, str], Record] = {}
        self.batches: list[list[str]] = []
        self.failures: list[AgentError] = []  # each refuses one call
        self.pending = 0  # how many looks it takes until a change is everywhere

    def put(self, *records: Record) -> None:
        self.records |= {(one.name, one.type): one for one in records}

    def read(self, zone: str, names: Iterable[str]) -> ZoneView:
        self._fail()
        wanted = set(names)
        return ZoneView(self.name, self.servers, tuple(one for one in self.records.values() if one.name in wanted))

    def change(self, zone: str, changes: Iterable[RecordChange]) -> str:
        self._fail()
        after = dict(self.records)
        batch = list(changes)
        for one in batch:
            key = (one.record.name, one.record.type)
            if one.action is Action.CREATE and key in after:
                raise OutsideError("Somebody made the same records a moment ago.", code="dns-raced")
            if one.action is Action.DELETE:
                del after[key]
            else:
                after[key] = one.record
        self.records = after
        self.batches.append([str(one) for one in batch])
        return f"C{len(self.batches)}"

    def in_sync(self, change: str) -> bool:
        self._fail()
        self.pending = max(0, self.pending - 1)
        return self.pending == 0

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class FakeInstance:
    """An instance whose addresses the test sets."""

    v4: str | None = ADDRESS
    v6: str | None = None

    def public_ipv4(self) -> str | None:
        return self.v4

    def ipv6(self) -> str | None:
        return self.v6


@dataclass
class FakeServers:
    """Name servers that answer from a table (server, name, type), nothing where it has no line."""

    answers: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def ask(self, server: str, name: str, type_: str) -> tuple[str, ...]:
        if server in self.silent:
            raise OutsideError(f"Name server {server} does not answer.", code="dns-server-silent")
        return self.answers.get((server, name, type_), ())


class HandClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class HandStop(Event):
    """Never waits: turns the clock instead. Ends a loop once `until_s` is over."""

    def __init__(self, clock: HandClock, until_s: float = float("inf")) -> None:
        super().__init__()
        self._clock = clock
        self._until_s = until_s

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.seconds += timeout or 0.0
        if self._clock.seconds >= self._until_s:
            self.set()
        return self.is_set()


@dataclass
class DnsWorld:
    zones: FakeZones
    instance: FakeInstance
    servers: FakeServers
    clock: HandClock
    store: Store
    settings: config.Settings
    keeper: DnsKeeper

    def round(self) -> float:
        assert self.settings.dns is not None
        return self.keeper.round(self.settings.dns, HandStop(self.clock))

    def told(self) -> list[str]:
        return [event.text for event in self.store.events.list() if event.kind == "dns"]


def build_world(
    directory: Path,
    text: str = SETTINGS,
    *,
    zones: Zones | None = None,
    instance: Instance | None = None,
    servers: NameServers | None = None,
) -> DnsWorld:
    """With `text` as settings, until `change_settings`; what is given stands in for the fakes."""
    fake_zones, fake_instance, fake_servers, clock = FakeZones(), FakeInstance(), FakeServers(), HandClock()
    store = Store.open(directory / "butai.db")
    world: DnsWorld

    def settings() -> config.Settings:
        return world.settings

    keeper = DnsKeeper(
        settings=settings,
        store=store,
        clock=clock,
        zones=zones or fake_zones,
        instance=instance or fake_instance,
        servers=servers or fake_servers,
        us=lambda: US,
    )
    parsed = config.parse(text, directory)
    world = DnsWorld(fake_zones, fake_instance, fake_servers, clock, store, parsed, keeper)
    return world


def change_settings(world: DnsWorld, text: str) -> None:
    world.settings = config.parse(text, Path("/nowhere"))
