"""Where a deployment's time goes: every second is counted once, for the deployment it was spent on."""

from __future__ import annotations

from agent.model.deployment import Phase
from tests.support.desk import Desk

FETCH = {"fetch": 0.5}


def test_what_a_fetch_took_belongs_to_the_deployment_that_it_found(desk: Desk) -> None:
    """The deployment of a push begins after the branch was read."""
    environment = desk.fetched(desk.deploy())
    desk.timings.add(environment.slug, None, FETCH)
    desk.clock.forward(0.25)
    desk.timings.lap(environment.slug, desk.current(environment).id, "wait")
    assert desk.timings.onto(desk.current(environment)) == {"fetch": 0.5, "wait": 0.25}


def test_seconds_are_written_once(desk: Desk) -> None:
    deployment = desk.current(desk.fetched(desk.deploy()))
    desk.timings.add(deployment.slug, deployment.id, FETCH)
    desk.store.deployments.update(deployment.id, timings=desk.timings.onto(deployment))
    written = desk.store.deployments.get(deployment.id)
    assert written is not None
    assert desk.timings.onto(written) == FETCH


def test_what_was_spent_on_a_superseded_deployment_is_not_the_next_ones(desk: Desk) -> None:
    environment = desk.deploy()
    first = desk.current(environment)
    desk.timings.add(first.slug, first.id, {"build": 9.0})
    desk.store.deployments.finish(first.id, Phase.SUPERSEDED, now=desk.clock.now())
    second = desk.current(desk.deploy())
    desk.timings.add(second.slug, second.id, FETCH)
    assert desk.timings.onto(first) == {}
    assert desk.timings.onto(second) == FETCH


def test_what_passes_between_two_deployments_is_nobodys(desk: Desk) -> None:
    """A fetch that finds nothing new begins none; the next look forgets it."""
    environment = desk.fetched(desk.deploy())
    desk.timings.add(environment.slug, None, FETCH)
    desk.timings.forget(environment.slug)
    desk.clock.forward(300)
    desk.timings.lap(environment.slug, desk.current(environment).id, "wait")
    assert desk.timings.onto(desk.current(environment)) == {}
