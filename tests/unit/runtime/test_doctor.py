"""The agent's own look at its host: what it asks whom, what it remembers, and what it survives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest

from agent import config
from agent.errors import OutsideError, RequestError
from agent.model.care import Disk
from agent.model.dns import Action, Record, RecordChange
from agent.model.facts import Certificate, EngineFacts, HostFacts, InstanceFacts
from agent.model.finding import Verdict
from agent.runtime.dns import DnsLook
from agent.runtime.doctor import Doctor, Examination
from tests.support.fakes_api import NOW, SETTINGS, FixedClock

FAILS, FINE = Verdict.FAILURE, Verdict.OK
WITH_DNS = SETTINGS + '[dns]\nzone = "Z0123456789ABC"\n'


@dataclass
class World:
    """Everything that is asked, as one object; what it answers is the test's to change."""

    facts_of_host: HostFacts = field(default_factory=HostFacts)
    on_ec2: bool = False
    engine_problem: str = ""
    look_of_dns: DnsLook | RequestError = field(default_factory=lambda: DnsLook("staging.example.com", "Z1", "ours"))
    asked: list[str] = field(default_factory=list)
    measured: dict[str, Path] = field(default_factory=dict)
    engine_places: dict[str, str] = field(default_factory=dict)
    mistakes: int = 0  # that are still to come

    def disks(self, places: Mapping[str, Path]) -> tuple[Disk, ...]:
        self.measured = dict(places)
        return ()

    def gather(self, *, sysctls: Iterable[str], docker_host: str) -> HostFacts:
        if self.mistakes:
            self.mistakes -= 1
            raise ZeroDivisionError
        self.asked.append(docker_host)
        return self.facts_of_host

    def is_ec2(self) -> bool:
        return self.on_ec2

    def version(self) -> str | None:
        return "5.2.0"

    def addresses(self, name: str) -> tuple[str, ...] | None:
        self.asked.append(name)
        return ()

    def status(self, url: str) -> int:
        self.asked.append(url)
        return 404

    def certificate(self, address: tuple[str, int], name: str) -> Certificate | None:
        return Certificate(NOW)

    def look(self) -> DnsLook:
        if isinstance(self.look_of_dns, RequestError):
            raise self.look_of_dns
        return self.look_of_dns


@dataclass
class Engine:
    world: World

    def facts(self, *, edge: str) -> EngineFacts:
        if self.world.engine_problem:
            raise OutsideError(self.world.engine_problem)
        self.world.asked.append(edge)
        return EngineFacts(version="29.3.1", places=self.world.engine_places)


@dataclass
class Instance:
    world: World

    def facts(self) -> InstanceFacts:
        self.world.asked.append("imds")
        return InstanceFacts(id="i-1", answers_without_token=True)


class House:
    def __init__(self, text: str, directory: Path, slack: Messenger | None = None) -> None:
        self.world = World()
        self.told: list[str] = []
        self.heard = Event()
        settings = config.parse(text, directory)
        self.doctor = Doctor(
            settings=lambda: settings,
            clock=FixedClock(),
            host=self.world,
            disks=self.world,
            engine=Engine(self.world),
            compose=self.world,
            instance=Instance(self.world),
            door=self.world,
            records=self.world,
            slack=slack,
            told=self.hear,
            settle_s=0,
        )

    def hear(self, found: Examination) -> None:
        self.told.append(found.summary)
        self.heard.set()

    def says(self, check: str) -> tuple[Verdict, str]:
        return next((one.verdict, one.says) for one in self.doctor.look().findings if one.check == check)


@pytest.fixture(name="house")
def house_fixture(tmp_path: Path) -> House:
    return House(WITH_DNS, tmp_path)


def test_the_host_is_asked_by_the_names_that_the_settings_give(house: House) -> None:
    house.doctor.look()
    assert house.world.asked == [
        "unix:///var/run/docker.sock",
        "butai.staging.example.com",
        "http://butai.staging.example.com",
        "butai--traefik",
    ]
    assert house.says("compose") == (Verdict.OK, "Compose 5.2.0.")


def test_an_engine_that_is_away_is_a_finding_and_no_error(house: House) -> None:
    house.world.engine_problem = "Docker does not answer at unix:///var/run/docker.sock."
    assert house.says("engine") == (Verdict.FAILURE, "Docker does not answer at unix:///var/run/docker.sock.")


def test_the_disks_are_those_that_the_engine_says_it_uses(house: House) -> None:
    state = config.parse(WITH_DNS, Path("/")).state_dir
    house.world.engine_places = {"engine": "/data/docker", "images": "/var/lib/containerd"}
    house.doctor.look()
    assert house.world.measured == {
        "state": state,
        "engine": Path("/data/docker"),
        "images": Path("/var/lib/containerd"),
    }
    house.world.engine_problem = "Docker does not answer."
    house.doctor.look()
    assert house.world.measured == {"state": state, "engine": Path("/var/lib/docker")}


def test_the_disk_of_an_engine_elsewhere_is_not_looked_for_here(tmp_path: Path) -> None:
    house = House(WITH_DNS + '[docker]\nhost = "tcp://10.0.0.1:2375"\n', tmp_path)
    house.world.engine_places = {"engine": "/var/lib/docker"}
    house.doctor.look()
    assert list(house.world.measured) == ["state"]


def test_what_fails_is_looked_at_again_soon(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float | None] = []

    class Stop(Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            house.world.engine_problem = "" if len(pauses) > 2 else "Away."
            return len(pauses) > 3

    monkeypatch.setattr("agent.planning.doctor.worst", lambda found: FAILS if house.world.engine_problem else FINE)
    house.doctor.run(Stop())
    assert pauses == [0, 300.0, 300.0, 3_600.0]


def test_only_on_ec2_is_its_metadata_service_asked(house: House) -> None:
    house.doctor.look()
    assert "imds" not in house.world.asked
    house.world.on_ec2 = True
    assert house.says("imds-tokens")[0] is Verdict.FAILURE


def test_what_is_wrong_with_the_records_is_told(house: House) -> None:
    assert house.says("dns-records")[0] is Verdict.OK
    change = RecordChange(Action.UPSERT, Record("staging.example.com", "A", 60, ("203.0.113.10",)))
    house.world.look_of_dns = DnsLook("staging.example.com", "Z1", "ours", changes=(change,))
    assert house.says("dns-records") == (
        Verdict.FAILURE,
        "To be done in the zone: upsert staging.example.com A 203.0.113.10, 60 s.",
    )
    house.world.look_of_dns = DnsLook("staging.example.com", "Z1", "ours", problem=OutsideError("Throttled."))
    assert house.says("dns-records") == (Verdict.FAILURE, "Throttled.")
    house.world.look_of_dns = RequestError("The agent looks after no DNS records.")
    assert house.says("dns-records") == (Verdict.FAILURE, "The agent looks after no DNS records.")


def test_only_what_is_new_is_told(house: House) -> None:
    for _ in range(3):
        house.doctor.look()
    assert len(house.told) == 1
    house.world.engine_problem = "Away."
    found = house.doctor.look()
    assert house.told[1:] == [found.summary]
    assert house.doctor.last is found


def test_the_agent_looks_by_itself_and_a_mistake_of_ours_does_not_end_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.runtime.doctor._AGAIN_S", 0.001)
    house.world.mistakes = 2
    stop = Event()
    thread = Thread(target=house.doctor.run, args=(stop,), daemon=True)
    thread.start()
    assert house.heard.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert house.world.mistakes == 0


@dataclass
class Messenger:
    answer: str | Exception
    can_post: bool = True

    def verify(self) -> str:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("messenger", "verdict"),
    [
        (Messenger("T0123ABCD"), Verdict.OK),
        (Messenger("T9"), Verdict.FAILURE),
        (Messenger(RequestError("Slack refuses: invalid_auth.")), Verdict.FAILURE),
        (Messenger(OutsideError("Slack does not answer.")), Verdict.UNKNOWN),
        (None, Verdict.UNKNOWN),
    ],
)
def test_the_bot_token_is_tried_where_there_is_one(
    tmp_path: Path, messenger: Messenger | None, verdict: Verdict
) -> None:
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("xoxb-0123456789")
    slack = '[slack]\nteam = "T0123ABCD"\nsigning_secret_file = "token"\nbot_token_file = "token"\n'
    house = House(SETTINGS + slack, tmp_path, messenger)
    assert house.says("slack")[0] is verdict
