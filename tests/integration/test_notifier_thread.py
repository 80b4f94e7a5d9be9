"""The notifier in its own thread, by the real clock: Slack's moods never reach those who ask."""

import time
from threading import Event, Thread

import pytest

from agent.adapters.clock import SystemClock
from tests.support.eventually import eventually
from tests.support.slackd import Misbehaviour, Slackd
from tests.support.stage import build, settings_for


@pytest.fixture
def slack():
    with Slackd() as server:
        yield server


@pytest.fixture
def stage(tmp_path, slack):
    made = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=True), clock=SystemClock())
    stop = Event()
    thread = Thread(target=made.notifier.run, args=(stop,))
    thread.start()
    yield made
    stop.set()
    thread.join(15)
    assert not thread.is_alive()
    made.store.close()


def person(stage):
    made = stage.person()
    made.clock = time.time
    return made


def test_a_message_leaves_as_soon_as_somebody_asked(stage, slack):
    person(stage).types("deploy main in shop")
    eventually(lambda: slack.in_channel("C0STAGE"), 5)


def test_commands_are_answered_while_slack_hangs(stage, slack):
    slack.misbehave = [Misbehaviour(status=500, delay_s=3.0)]
    asking = person(stage)
    asking.types("deploy main in shop")
    slow = []
    for number in range(20):
        began = time.monotonic()
        asking.types(f"deploy b{number} in shop")
        slow.append(time.monotonic() - began)
    assert sorted(slow)[10] < 0.1
    eventually(lambda: len(slack.in_channel("C0STAGE")) >= 10, 20)


def test_an_error_of_ours_does_not_end_the_thread(stage, slack, monkeypatch):
    broken = Event()

    def fail(*_: object, **__: object) -> None:
        broken.set()
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(stage.store.outbox, "due", fail)
        person(stage).types("deploy main in shop")
        assert broken.wait(5)
    stage.notifier.look_at(stage.environment("main").slug)
    eventually(lambda: slack.in_channel("C0STAGE"), 15)


def test_it_stops_soon_although_it_has_nothing_to_do(tmp_path, slack):
    made = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=True), clock=SystemClock())
    stop = Event()
    thread = Thread(target=made.notifier.run, args=(stop,))
    thread.start()
    began = time.monotonic()
    stop.set()
    thread.join(10)
    assert time.monotonic() - began < 3
    made.store.close()
