"""An engine, disks and a clock that tests turn by hand, and a caretaker between them. Files and database are real."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from agent import config
from agent.adapters import host
from agent.config import Settings
from agent.errors import AgentError
from agent.model.care import Disk, EngineFigures, KeptFile, StoredImage
from agent.model.labels import INSTANCE, SLUG
from agent.model.observed import Container
from agent.runtime.caretaker import Caretaker
from agent.runtime.vitals import Vitals
from agent.store import Store
from tests.support.blank import open_store

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)
GB = 1024**3
ROOMY = Disk("state", "/var/lib/butai", 100 * GB, 50 * GB, 1_000_000, 500_000)
SETTINGS = """
domain = "staging.example.com"
state_dir = "{directory}"
[projects.shop]
remote = "https://git.example.com/shop.git"
"""


def image(
    name: str, *tags: str, slug: str = "main", instance: str = "butai", created_at: datetime = LONG_AGO
) -> StoredImage:
    return StoredImage(f"sha256:{name}", tags, created_at, 1000, {INSTANCE: instance, SLUG: slug})


@dataclass
class FakeCareEngine:
    """Images, containers and a cache in memory; the contract test holds it to what Docker does."""

    kept: dict[str, StoredImage] = field(default_factory=dict)
    running: list[Container] = field(default_factory=list)
    cache: int = 0
    failure: AgentError | None = None
    version: str = "29.0.0"
    asked: int = 0  # how often for its figures

    def put(self, *images: StoredImage) -> None:
        self.kept |= {one.id: one for one in images}

    def figures(self) -> EngineFigures:
        self.asked += 1
        self._fail()
        return EngineFigures(
            self.version, {"engine": "/var/lib/docker"}, {"running": len(self.running)}, len(self.kept)
        )

    def containers(self, filters: Mapping[str, str]) -> tuple[Container, ...]:
        self._fail()
        return tuple(self.running)

    def stored_images(self, labels: Mapping[str, str]) -> tuple[StoredImage, ...]:
        self._fail()
        return tuple(one for one in self.kept.values() if labels.items() <= one.labels.items())

    def untag(self, reference: str) -> None:
        """The last name of an image takes the image along, unless a container needs it."""
        self._fail()
        for one in list(self.kept.values()):
            if reference in one.tags:
                self.kept[one.id] = replace(one, tags=tuple(tag for tag in one.tags if tag != reference))
                if not self.kept[one.id].tags:
                    self.drop_image(one.id)

    def drop_image(self, image_id: str) -> bool:
        self._fail()
        if any(container.image_id == image_id for container in self.running):
            return False
        self.kept.pop(image_id, None)
        return True

    def cache_bytes(self) -> int:
        self._fail()
        return self.cache

    def prune_cache(self, keep_bytes: int) -> int:
        self._fail()
        before, self.cache = self.cache, min(self.cache, keep_bytes)
        return before - self.cache

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class FakeHost:
    """The real host, but for the size of its disks; a place without a line cannot be measured."""

    sizes: dict[str, Disk] = field(default_factory=lambda: {"state": ROOMY, "engine": replace(ROOMY, place="engine")})

    def disks(self, places: Mapping[str, Path]) -> tuple[Disk, ...]:
        return tuple(self.sizes[place] for place in places if place in self.sizes)

    def files(self, directory: Path, pattern: str) -> tuple[KeptFile, ...]:
        return host.files(directory, pattern)

    def remove_files(self, directory: Path, names: Iterable[str]) -> None:
        host.remove_files(directory, names)

    def own_figures(self) -> dict[str, float]:
        return host.own_figures()


class HandClock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds - 1000.0)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class CareWorld:
    directory: Path
    settings: Settings
    engine: FakeCareEngine
    host: FakeHost
    clock: HandClock
    store: Store
    vitals: Vitals
    caretaker: Caretaker
    traefik: list[bool]

    def fill(self, place: str = "state", **changes: int) -> None:
        """Change what the disk of a place is like, and look at it."""
        self.host.sizes[place] = replace(self.host.sizes[place], **changes)
        self.vitals.look()

    def after(self, seconds: float) -> None:
        self.clock.seconds += seconds
        self.caretaker.tick()

    def told(self) -> list[str]:
        return [event.text for event in self.store.events.list() if event.kind == "care"]

    def backups(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "backups").glob("*"))


class HandStop(Event):
    """Never waits: turns the clock, and does what is to be done at a time. Ends a loop once `until_s` have passed."""

    def __init__(self, world: CareWorld, until_s: float, *, at_s: float, act: Callable[[], object]) -> None:
        super().__init__()
        self._world = world
        self._until = world.clock.seconds + until_s
        self._at = world.clock.seconds + at_s
        self._act = act

    def wait(self, timeout: float | None = None) -> bool:
        before = self._world.clock.seconds
        self._world.clock.seconds += timeout or 0.0
        if before < self._at <= self._world.clock.seconds:
            self._act()
        if self._world.clock.seconds >= self._until:
            self.set()
        return self.is_set()


def build_world(directory: Path, more: str = "") -> CareWorld:
    """With `more` as further settings, until `change_settings`."""
    engine, fake_host, clock, traefik = FakeCareEngine(), FakeHost(), HandClock(), [True]
    store = open_store(directory / "butai.db")
    world: CareWorld

    def settings() -> Settings:
        return world.settings

    vitals = Vitals(
        settings=settings,
        store=store,
        engine=engine,
        host=fake_host,
        clock=clock,
        traefik_answers=lambda: traefik[0],
    )
    caretaker = Caretaker(
        settings=settings,
        store=store,
        engine=engine,
        host=fake_host,
        clock=clock,
        shortage=vitals.shortage,
    )
    parsed = _parsed(directory, more)
    world = CareWorld(directory, parsed, engine, fake_host, clock, store, vitals, caretaker, traefik)
    return world


def change_settings(world: CareWorld, more: str) -> None:
    world.settings = _parsed(world.directory, more)


def _parsed(directory: Path, more: str) -> Settings:
    return config.parse(SETTINGS.format(directory=directory) + more, directory)
