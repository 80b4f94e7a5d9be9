"""AWS takes the host back: heard from the metadata service, told in Slack, kept as an event, and new work waits.

The metadata service and Slack are stand-ins that really answer over HTTP; everything between them is the agent's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest

from agent.adapters.imds import Imds
from agent.errors import OutsideError
from agent.model.environment import Environment
from agent.runtime.spot import SpotWatch
from tests.support.eventually import eventually
from tests.support.imdsd import Imdsd, imdsd
from tests.support.slackd import Slackd
from tests.support.stage import MovingClock, Stage, build, settings_for

ACTION = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"
ENDS = '{"action": "terminate", "time": "2026-11-23T12:08:17Z"}'


@dataclass
class Host:
    """A Spot instance with two environments on stage, each asked for in another channel."""

    stage: Stage
    slack: Slackd
    service: Imdsd
    resumed: list[str] = field(default_factory=list)

    def watch(self, *, on_ec2: bool = True) -> SpotWatch:
        """As a newly started agent makes it."""
        return SpotWatch(
            settings=lambda: self.stage.settings,
            store=self.stage.store,
            notifier=self.stage.notifier,
            clock=self.stage.clock,
            instance=Imds(self.service.url),
            on_ec2=lambda: on_ec2,
            resumed=lambda: self.resumed.append("all"),
        )

    def events(self) -> list[str]:
        return [f"{one.caller}: {one.text}" for one in self.stage.store.events.list() if one.kind == "spot"]

    def told(self, channel: str) -> list[str]:
        self.stage.work()
        return [one.text for one in self.slack.in_channel(channel) if "Spot" in one.text]


@pytest.fixture(name="host")
def host_fixture(tmp_path: Path) -> Iterator[Host]:
    clock = MovingClock()
    with ExitStack() as stack:
        service = stack.enter_context(imdsd())
        service.data = {"instance-life-cycle": "spot"}
        slack = stack.enter_context(Slackd(now=clock.monotonic))
        stage = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=True), clock=clock)
        stack.callback(stage.store.close)
        for branch, channel in (("one", "C0STAGE"), ("two", "C0OTHER")):
            assert stage.person(channel=channel).types(f"deploy {branch} in shop")[0] == 200
            stage.fetched(branch)
            stage.finish(branch)
            stage.work(2)
        yield Host(stage, slack, service)


def test_an_interruption_is_told_once_in_every_channel_and_kept_as_an_event(host: Host) -> None:
    watch = host.watch()
    watch.look()
    assert (host.events(), watch.notice) == ([], None)

    host.service.data[ACTION] = ENDS
    for agent in (watch, watch, host.watch()):  # the last one was started again in the meantime
        agent.look()
        assert agent.notice is not None

    for channel in ("C0STAGE", "C0OTHER"):
        [text] = host.told(channel)
        assert "AWS ends this Spot instance at 12:08:17 UTC." in text
        assert "comes back by itself" in text
    assert host.events() == ["aws: AWS ends this Spot instance at 12:08:17 UTC."]


def test_a_rebalance_recommendation_is_told_and_stops_nothing(host: Host) -> None:
    host.service.data[REBALANCE] = '{"noticeTime": "2026-11-23T12:00:00Z"}'
    watch = host.watch()
    watch.look()

    [text] = host.told("C0STAGE")
    assert "Nothing changes for now." in text
    watch.admit(_queued(host, "three"))

    host.service.data[ACTION] = ENDS
    watch.look()
    assert len(host.told("C0STAGE")) == 2


def test_new_work_waits_until_a_hibernated_host_runs_again(host: Host) -> None:
    host.service.data[ACTION] = '{"action": "hibernate", "time": "2026-11-23T12:00:00Z"}'
    watch = host.watch()
    watch.look()
    environment = _queued(host, "three")
    with pytest.raises(OutsideError, match="Nothing new begins"):
        watch.admit(environment)
    watch.admit(host.stage.environment("one"))

    del host.service.data[ACTION]
    watch.look()

    assert host.resumed == ["all"]
    watch.admit(environment)
    assert host.events()[-1].endswith("what waited begins.")


def test_the_database_is_one_whole_file_afterwards(host: Host, tmp_path: Path) -> None:
    host.service.data[ACTION] = ENDS
    host.watch().look()

    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "butai.db").read_bytes())
    connection = sqlite3.connect(copy)
    [[count]] = connection.execute("SELECT count(*) FROM events WHERE kind = 'spot'").fetchall()
    connection.close()
    assert count == 1


def test_a_silent_metadata_service_ends_neither_the_waiting_nor_the_listening(host: Host) -> None:
    host.service.data[ACTION] = ENDS
    watch = host.watch()
    watch.look()
    host.service.is_off = True
    with pytest.raises(OutsideError):
        watch.look()
    assert watch.notice is not None


@pytest.mark.parametrize(
    ("on_ec2", "life_cycle", "asked"), [(False, "spot", 0), (True, "on-demand", 1)], ids=["elsewhere", "on-demand"]
)
def test_on_any_other_host_the_listening_ends_at_once(host: Host, on_ec2: bool, life_cycle: str, asked: int) -> None:
    host.service.data = {"instance-life-cycle": life_cycle, ACTION: ENDS}
    watch = host.watch(on_ec2=on_ec2)
    watch.run(Event())  # returns
    assert (watch.notice, host.service.handed_out) == (None, asked)


def test_on_a_spot_instance_it_listens_until_the_agent_stops(host: Host) -> None:
    host.service.data[ACTION] = ENDS
    watch, stop = host.watch(), Event()
    thread = Thread(target=watch.run, args=(stop,), daemon=True)
    thread.start()
    try:
        eventually(host.events)
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()


def _queued(host: Host, branch: str) -> Environment:
    host.stage.operations.deploy(branch, project="shop", caller="unix:anna")
    return host.stage.environment(branch)
