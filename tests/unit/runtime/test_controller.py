"""The scheduler: one worker for each environment, the newest wish first, and no error that ends it.

The reconciler's place is taken by a script of looks: what is tested is when a look happens, not what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event, Lock, Thread
from typing import cast

import pytest

from agent.adapters.clock import SystemClock
from agent.errors import CancelledError, OutsideError
from agent.model.deployment import Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.runtime.cancel import CancelToken
from agent.runtime.controller import Controller, Load
from agent.runtime.reconciler import Reconciler
from agent.runtime.refresh import Refresher
from tests.support.desk import ANNA, Desk
from tests.support.eventually import eventually
from tests.support.plans import R1, R2

Look = Callable[[Environment, CancelToken], float | None]


def settled(environment: Environment, cancel: CancelToken) -> float | None:
    return None


def holding(event: Event) -> Look:
    """A look that lasts until the event."""

    def look(environment: Environment, cancel: CancelToken) -> float | None:
        event.wait(5)
        return None

    return look


class Looks:
    """A reconciler whose looks do what the test says; it counts them, and how many happen at once."""

    def __init__(self) -> None:
        self.act: Look = settled
        self.seen: list[Environment] = []
        self.busy: dict[Slug, int] = {}
        self.most: dict[Slug, int] = {}
        self._lock = Lock()

    def look(self, environment: Environment, cancel: CancelToken) -> float | None:
        slug = environment.slug
        with self._lock:
            self.seen.append(environment)
            self.busy[slug] = self.busy.get(slug, 0) + 1
            self.most[slug] = max(self.most.get(slug, 0), self.busy[slug])
        try:
            return self.act(environment, cancel)
        finally:
            with self._lock:
                self.busy[slug] -= 1


class Remote:
    """A refresher: `revision` is what the branch holds; `gate` is where it hangs."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.revision = R1
        self.asked = 0
        self.gate = Event()
        self.gate.set()

    def refresh(self, slug: Slug) -> bool:
        self.asked += 1
        self.gate.wait(5)
        store = self.desk.store
        environment = store.environments.get(slug)
        assert environment is not None
        store.environments.update(slug, revision=self.revision, fetched=environment.request)
        return environment.revision != self.revision


class House:
    """A controller that runs."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.looks = Looks()
        self.remote = Remote(desk)
        self.fed = 0
        self.admit: Callable[[Environment], None] = lambda _: None
        self.controller = Controller(
            settings=lambda: desk.settings,
            store=desk.store,
            reconciler=cast("Reconciler", self.looks),
            record=desk.record,
            refresher=cast("Refresher", self.remote),
            clock=SystemClock(),
            alive=self._feed,
            admit=lambda environment: self.admit(environment),
        )
        self.thread = Thread(target=self.controller.run, daemon=True)

    def start(self) -> None:
        """As the daemon does: everything on stage is woken once."""
        self.thread.start()
        for environment in self.desk.store.environments.all():
            self.controller.wake(environment.slug)

    def close(self) -> None:
        self.remote.gate.set()
        self.controller.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()

    def _feed(self) -> None:
        self.fed += 1


@pytest.fixture(name="house")
def house_fixture(desk: Desk) -> Iterator[House]:
    house = House(desk)
    yield house
    if house.thread.is_alive():
        house.close()


def test_everything_on_stage_is_looked_at_at_the_start_and_the_watchdog_is_fed(house: House) -> None:
    house.desk.live("one")
    house.desk.live("two")
    house.start()
    eventually(lambda: {each.slug for each in house.looks.seen} == {"one", "two"})
    assert house.fed


def test_one_environment_has_one_worker_however_often_it_is_woken(house: House) -> None:
    environment = house.desk.live()
    hold = Event()
    house.looks.act = holding(hold)
    house.start()
    eventually(lambda: house.looks.busy.get(environment.slug))
    for _ in range(50):
        house.controller.wake(environment.slug)
    hold.set()
    eventually(lambda: len(house.looks.seen) >= 2)
    assert house.looks.most == {environment.slug: 1}


def test_environments_do_not_wait_for_each_other(house: House) -> None:
    slow = house.desk.live("slow")
    house.desk.live("quick")
    hold, reached = Event(), Event()

    def act(environment: Environment, cancel: CancelToken) -> float | None:
        if environment.slug == slow.slug:
            hold.wait(5)
        else:
            reached.set()
        return None

    house.looks.act = act
    house.start()
    assert reached.wait(5)
    hold.set()


def test_how_much_waits_and_for_how_long_is_told(house: House) -> None:
    object.__setattr__(house.desk.settings, "limits", replace(house.desk.settings.limits, workers=1))
    house.desk.live("one")
    house.desk.live("two")
    hold, reached = Event(), Event()

    def act(environment: Environment, cancel: CancelToken) -> float | None:
        reached.set()
        hold.wait(5)
        return None

    house.looks.act = act
    house.start()
    assert reached.wait(5)
    eventually(lambda: house.controller.load().due == 1, 5)
    before = house.controller.load()
    eventually(lambda: house.controller.load().lag_s > before.lag_s, 5)
    assert (before.working, before.failing) == (1, 0)
    hold.set()
    eventually(lambda: house.controller.load() == Load(due=0, lag_s=0.0, working=0, failing=0), 5)


@pytest.mark.parametrize("wish", ["sleep", "destroy", "redeploy", "an edit"])
def test_another_wish_ends_what_a_worker_does_at_once(house: House, wish: str) -> None:
    environment = house.desk.live()
    cancelled, again = Event(), Event()

    def build(seen: Environment, cancel: CancelToken) -> float | None:
        if not cancelled.is_set():
            cancel.on_cancel(cancelled.set)
            cancelled.wait(5)
            return 0.0
        assert not cancel.cancelled(), "the next look begins with a fresh token"
        again.set()
        return None

    house.looks.act = build
    house.start()
    eventually(lambda: house.looks.busy.get(environment.slug))

    if wish == "an edit":
        house.desk.store.environments.update(environment.slug, edited=R2, edited_by="anna")
    else:
        getattr(house.desk.operations, wish)(environment.slug, caller=ANNA)
    house.controller.wake(environment.slug)

    assert cancelled.wait(5)
    assert again.wait(5)


def test_a_push_of_something_new_ends_a_build_and_one_of_nothing_new_does_not(house: House) -> None:
    environment = house.desk.live(revision=R1)
    cancelled, hold = Event(), Event()

    def build(seen: Environment, cancel: CancelToken) -> float | None:
        cancel.on_cancel(cancelled.set)
        hold.wait(5)
        return None

    house.looks.act = build
    house.start()
    eventually(lambda: house.looks.busy.get(environment.slug))

    house.desk.operations.push("shop", "feature/x", deleted=False, caller="github")
    house.controller.wake(environment.slug)
    eventually(lambda: house.remote.asked == 1 and not house.desk.row(environment).needs_fetch)
    assert not cancelled.is_set()

    house.remote.revision = R2
    house.desk.operations.push("shop", "feature/x", deleted=False, caller="github")
    house.controller.wake(environment.slug)
    assert cancelled.wait(5)
    hold.set()


def test_a_burst_of_pushes_asks_the_remote_once_at_a_time(house: House) -> None:
    environment = house.desk.live(revision=R1)
    hold = Event()
    house.looks.act = holding(hold)
    house.start()
    eventually(lambda: house.looks.busy.get(environment.slug))

    house.remote.gate.clear()
    for _ in range(20):
        house.desk.operations.push("shop", "feature/x", deleted=False, caller="github")
        house.controller.wake(environment.slug)
    eventually(lambda: house.remote.asked == 1)
    house.remote.gate.set()

    eventually(lambda: not house.desk.row(environment).needs_fetch)
    assert house.remote.asked <= 2
    hold.set()


def test_what_sleeps_is_not_fetched_beside_its_worker(house: House) -> None:
    environment = house.desk.live(revision=R1)
    house.desk.operations.sleep(environment.slug, caller=ANNA)
    hold = Event()
    house.looks.act = holding(hold)
    house.start()
    eventually(lambda: house.looks.busy.get(environment.slug))

    house.desk.operations.push("shop", "feature/x", deleted=False, caller="github")
    house.controller.wake(environment.slug)
    hold.set()

    eventually(lambda: len(house.looks.seen) >= 2)
    assert house.remote.asked == 0


def test_an_event_makes_a_worker_look_again_and_ends_nothing(house: House) -> None:
    environment = house.desk.live()
    hold, cancelled = Event(), Event()

    def act(seen: Environment, cancel: CancelToken) -> float | None:
        cancel.on_cancel(cancelled.set)
        hold.wait(5)
        return None

    house.looks.act = act
    house.start()
    eventually(lambda: house.looks.busy.get(environment.slug))
    house.controller.nudge(environment.slug)
    hold.set()
    eventually(lambda: len(house.looks.seen) == 2)
    assert not cancelled.is_set()


def test_an_outage_is_tried_again_less_and_less_often_and_told_once(house: House) -> None:
    environment = house.desk.deploy()
    fails = OutsideError("The git server does not answer.")

    def act(seen: Environment, cancel: CancelToken) -> float | None:
        raise fails

    house.looks.act = act
    house.start()
    eventually(lambda: len(house.looks.seen) >= 2, 15)
    house.looks.act = settled
    assert house.desk.current(environment).notices == (
        "Waiting: The git server does not answer. It is tried again by itself.",
    )


def test_work_that_must_not_begin_waits_and_begins_when_it_may(house: House) -> None:
    """As on a host that AWS takes back: who waits is told why, and what has begun goes on."""
    begun, new = house.desk.live("begun"), house.desk.deploy("new")

    def admit(environment: Environment) -> None:
        if environment.slug == new.slug:
            raise OutsideError("AWS ends this Spot instance.", code="host-leaves")

    house.admit = admit
    house.start()
    eventually(lambda: house.desk.current(new).notices)
    assert house.desk.current(new).notices == ("Waiting: AWS ends this Spot instance. It is tried again by itself.",)
    eventually(lambda: house.looks.seen)
    assert {one.slug for one in house.looks.seen} == {begun.slug}

    house.admit = lambda _: None
    house.controller.wake(new.slug)
    eventually(lambda: new.slug in {one.slug for one in house.looks.seen})


def test_a_person_does_not_wait_for_the_next_try_after_an_outage(house: House) -> None:
    """Git hangs, somebody gives up and asks to destroy: that needs no git."""
    environment = house.desk.deploy()
    house.controller._failures[environment.slug] = 10  # as after some minutes: the next try is up to a minute away
    hanging, hold = Event(), Event()

    def act(seen: Environment, cancel: CancelToken) -> float | None:
        if seen.wanted is Wanted.ABSENT:
            return None
        hanging.set()
        hold.wait(5)
        raise OutsideError("The git server does not answer.")

    house.looks.act = act
    house.start()
    assert hanging.wait(5)
    house.desk.operations.destroy(environment.slug, caller=ANNA)
    house.controller.wake(environment.slug)
    hold.set()
    eventually(lambda: house.looks.seen[-1].wanted is Wanted.ABSENT, 2)


def test_full_passes_during_an_outage_do_not_multiply_the_tries(house: House) -> None:
    """Each pass adds a look of its own; only the earliest may stay, or a long outage becomes a storm."""
    environment = house.desk.deploy()
    with house.controller._changed:
        for seconds in (60.0, 50.0, 40.0, 55.0):
            house.controller._push(environment.slug, seconds)
    house.start()
    eventually(lambda: house.looks.seen)
    eventually(lambda: not house.controller._working)
    assert house.controller._due_at == {}, "the look that came first was the one that all of them asked for"


def test_an_outage_of_days_is_still_tried_every_minute(house: House) -> None:
    slug = house.desk.deploy().slug
    house.controller._failures[slug] = 5_000
    assert 0 < house.controller._backoff(slug) <= 60


def test_a_bug_in_one_look_marks_that_environment_and_the_others_go_on(house: House) -> None:
    bad, good = house.desk.deploy("bad"), house.desk.deploy("good")

    def act(environment: Environment, cancel: CancelToken) -> float | None:
        if environment.slug == bad.slug and house.desk.store.deployments.current(bad.slug):
            raise KeyError("web")
        return None

    house.looks.act = act
    house.start()
    eventually(lambda: house.desk.last(bad).phase is Phase.FAILED)
    assert house.desk.current(good).phase is Phase.QUEUED
    seen = len(house.looks.seen)
    house.controller.wake(good.slug)
    eventually(lambda: len(house.looks.seen) > seen)


@pytest.mark.parametrize("error", [CancelledError("superseded"), OutsideError("disk full")], ids=["newer", "full"])
def test_what_cannot_be_written_down_ends_no_thread(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    environment = house.desk.deploy()

    def refuse(*_: object, **__: object) -> None:
        raise error

    def act(seen: Environment, cancel: CancelToken) -> float | None:
        raise OutsideError("Docker does not answer.")

    monkeypatch.setattr(house.desk.store.deployments, "update", refuse)
    house.looks.act = act
    house.start()
    eventually(lambda: len(house.looks.seen) >= 2, 15)
    assert house.thread.is_alive()
    assert environment.slug in house.controller._failures


def test_a_look_that_is_due_soon_keeps_its_worker_and_one_that_is_not_gives_it_back(house: House) -> None:
    environment = house.desk.live()
    answers = iter((0.01, 0.01, 30.0))
    house.looks.act = lambda *_: next(answers, None)
    house.start()
    eventually(lambda: len(house.looks.seen) == 3)
    eventually(lambda: environment.slug not in house.controller._working)
    house.controller.nudge(environment.slug)
    eventually(lambda: len(house.looks.seen) == 4, 2)


def test_stop_ends_what_runs_and_marks_nothing(house: House) -> None:
    """Everything is taken apart: what a worker still stumbles over is no verdict on its environment."""
    environment = house.desk.deploy()
    begun = Event()

    def act(seen: Environment, cancel: CancelToken) -> float | None:
        over = Event()
        cancel.on_cancel(over.set)
        begun.set()
        over.wait(5)
        raise KeyError("the store is closed")

    house.looks.act = act
    house.start()
    assert begun.wait(5)
    house.close()
    assert house.desk.current(environment).phase is Phase.QUEUED
    assert [event.kind for event in house.desk.store.events.list()] == ["deploy"]


def test_what_is_gone_is_forgotten(house: House) -> None:
    environment = house.desk.live()
    house.desk.store.environments.delete(environment.slug)
    house.start()
    house.controller.wake(environment.slug)
    other = house.desk.live("other")
    house.controller.wake(other.slug)
    eventually(lambda: other.slug in {each.slug for each in house.looks.seen})
    assert environment.slug not in {each.slug for each in house.looks.seen}
