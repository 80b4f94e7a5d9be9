"""One look, over a world made up by the test: what the plan says is what is written down."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from agent.errors import DeployError, OutsideError
from agent.model.deployment import Phase
from agent.model.edit import KEPT
from agent.model.environment import Environment
from agent.model.observed import Container, Observed
from agent.planning import routing
from agent.planning.reconcile import MAX_REPAIRS, Context
from agent.runtime.cancel import CancelToken
from agent.runtime.executor import Executor, Report, Scene
from agent.runtime.notifier import Notifier
from agent.runtime.observer import Observer
from agent.runtime.ports import Engine
from agent.runtime.reconciler import Reconciler
from tests.support.desk import Desk
from tests.support.plans import NOW, R2, container, observed, release, service

WEB = service("web")
SHOP = release(WEB)


@dataclass
class World:
    """What is observed, and the last lines of every container."""

    desk: Desk
    observed: Observed
    reports: list[Report] = field(default_factory=list)  # what comes of each plan with steps, in order
    refusal: DeployError | None = None  # what comes of them instead
    takes_s: float = 0.0  # until then

    def run(self, scene: Scene) -> Report:
        self.desk.clock.forward(self.takes_s)
        if self.refusal is not None:
            raise self.refusal
        return self.reports.pop(0)

    def context(self, environment: Environment) -> Context:
        settings = self.desk.settings
        return Context(settings=settings, fingerprint=settings.fingerprint("shop"), now=self.desk.clock.now())

    def glance(self, environment: Environment) -> Observed:
        return replace(self.observed, networks={}, routed=None, own_images=None)

    def complete(self, environment: Environment, half: Observed, *, probing: bool, tidying: bool) -> Observed:
        return self.observed if tidying else replace(self.observed, own_images=None)

    def logs(self, container: str, *, tail: int) -> list[str]:
        return [f"the last words of {container}"]

    def holds(self, environment: Environment, *containers: Container) -> None:
        """These containers, with the route that leads to the first; to the page when none of them runs."""
        if any(each.running for each in containers):
            table = routing.routes_for(environment, SHOP, {"web": (container(WEB),)}, self.desk.settings)
        else:
            table = routing.waiting_table(environment, self.desk.settings)
        listening = frozenset(each.id for each in containers if each.running)
        self.observed = replace(observed(SHOP, *containers), routed=table, confirmed=True, listening=listening)


@pytest.fixture(name="world")
def world_fixture(desk: Desk) -> World:
    return World(desk, Observed())


def look(world: World, environment: Environment) -> float | None:
    reconciler = Reconciler(
        store=world.desk.store,
        observer=cast("Observer", world),
        executor=cast("Executor", world),
        engine=cast("Engine", world),
        attempts=world.desk.attempts,
        timings=world.desk.timings,
        notifier=cast("Notifier", None),
        record=world.desk.record,
    )
    return reconciler.look(world.desk.row(environment), CancelToken())


def test_a_crash_that_five_restarts_did_not_mend_is_written_down_once_with_its_last_lines(world: World) -> None:
    desk = world.desk
    environment = desk.live()
    desk.store.environments.update(environment.slug, repairs=MAX_REPAIRS, repaired_at=NOW)
    world.holds(environment, container(WEB, "exited", exit_code=1))

    assert [look(world, environment) for _ in range(2)] == [None, None]

    crashed, before = desk.store.deployments.history(environment.slug)
    assert before.phase is Phase.READY
    assert crashed.failure is not None
    assert crashed.failure.message == "web exited 1; five restarts did not help."
    assert crashed.failure.log_tail == ("the last words of web-1",)


def test_who_starts_a_crashed_container_by_hand_makes_it_ready(world: World) -> None:
    desk = world.desk
    environment = desk.live()
    desk.store.environments.update(environment.slug, repairs=MAX_REPAIRS, repaired_at=NOW)
    world.holds(environment, container(WEB, "exited", exit_code=1))
    look(world, environment)

    world.holds(environment, container(WEB))
    look(world, environment)

    assert desk.last(environment).phase is Phase.READY
    assert desk.row(environment).repairs == 0


def test_leftovers_are_looked_for_at_once_but_after_people_were_told_that_it_is_live(world: World) -> None:
    desk = world.desk
    environment = desk.fetched(desk.deploy())
    world.holds(environment, container(WEB))

    assert look(world, environment) == 0.0
    assert desk.last(environment).phase is Phase.READY
    assert look(world, environment) is None


def test_a_repair_that_somebody_disturbs_is_no_fault_of_the_author_and_goes_on(world: World) -> None:
    """Networks and containers that somebody prunes while they are made again make Compose and the engine refuse."""
    desk = world.desk
    environment = desk.live()
    world.holds(environment)
    world.refusal = DeployError("Containers could not be created: something went.", code="create-failed")

    with pytest.raises(OutsideError, match="something went"):
        look(world, environment)

    last = desk.last(environment)
    assert (last.caller, last.phase.final, last.failure) == ("agent", False, None)
    world.holds(environment, container(WEB))
    look(world, environment)
    assert desk.last(environment).phase is Phase.READY
    assert desk.last(environment).id == last.id


def test_what_somebody_asked_for_fails_where_compose_refuses_it(world: World) -> None:
    desk = world.desk
    environment = desk.fetched(desk.deploy())
    world.holds(environment)
    world.refusal = DeployError("Containers could not be created: a port is wrong.", code="create-failed")

    look(world, environment)

    assert desk.last(environment).failure is not None


def test_a_worktree_that_follows_is_no_deployment_and_no_part_of_the_next_one(world: World) -> None:
    desk = world.desk
    environment = desk.live()
    before = desk.last(environment)
    world.holds(environment, container(WEB))
    world.observed = replace(world.observed, checkout=R2)
    world.reports = [Report((), (), {"checkout": 1.0})]

    assert look(world, environment) == 0.0

    assert desk.last(environment) == before
    pushed = desk.fetched(environment)
    world.holds(environment, container(WEB))
    look(world, pushed)
    assert desk.last(environment).id == before.id + 1
    assert "checkout" not in desk.last(environment).timings


def test_edits_that_only_the_checkout_found_which_follows_a_deployment_are_told(world: World) -> None:
    desk = world.desk
    environment = desk.fetched(desk.live())
    world.holds(environment, container(WEB))
    world.observed = replace(world.observed, checkout=R2)
    world.reports = [Report((), ("edits were kept",), {"checkout": 1.0})]

    look(world, environment)

    told, ended, *_ = desk.store.deployments.history(environment.slug)
    assert (told.cause, told.notices, told.phase) == (KEPT, ("edits were kept",), Phase.READY)
    assert (ended.phase, ended.notices) == (Phase.READY, ())


def test_the_time_of_a_step_that_failed_is_told_as_that_steps(world: World) -> None:
    desk = world.desk
    environment = desk.fetched(desk.deploy())
    world.refusal = DeployError("The build failed.", code="build-failed")
    world.takes_s = 7.0

    while desk.store.deployments.current(environment.slug) is not None:
        look(world, environment)

    assert desk.last(environment).timings == {"read": 7.0, "route": 7.0}
