"""Draining: what was replaced stays for what people still have open with it, and not longer than the limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent import config
from agent.model.observed import Container, Drain, Observed
from agent.planning import drain, reconcile
from agent.planning.plan import Plan
from agent.planning.reconcile import Context
from tests.support.plans import NOW, container, deployment, environment, observed, release, service

SETTINGS = config.parse(
    """
    domain = "staging.example.com"
    [projects.shop]
    remote = "https://git.example.com/shop.git"
    """,
    Path("/etc/butai"),
)
CONTEXT = Context(settings=SETTINGS, fingerprint="settings-1", now=NOW)
WEB = service("web", public=True, ports=(8000,))
JOB = service("job")
SHOP = release(WEB, JOB)
OLD = container(WEB, config="older", number=2)
OLD_JOB = container(JOB, config="older", number=2)


def plan(world: Observed, *, going: bool = False) -> Plan:
    return reconcile.plan(environment(), deployment() if going else None, world, CONTEXT)


def live(*old_ones: Container) -> Observed:
    """Switched and confirmed, with these containers left over."""
    world = observed(SHOP, container(WEB), container(JOB), listening=frozenset({"web-1"}))
    table = plan(world, going=True).route
    assert table is not None
    return replace(world, routed=table, confirmed=True, containers=(*world.containers, *old_ones))


@pytest.mark.parametrize("going", [True, False])
def test_a_container_with_open_connections_stays_and_the_deployment_is_live_all_the_same(going: bool) -> None:
    held = plan(replace(live(OLD), draining={OLD.id: Drain(2, 1.0)}), going=going)
    assert str(held) == "wait for 2 connections to butai-feature-x-web-2 to end"
    assert held.live
    assert held.look_again_s == 1.0


def test_it_goes_once_nobody_has_anything_open() -> None:
    assert str(plan(replace(live(OLD), draining={OLD.id: Drain(0, 0.5)}))) == "remove butai-feature-x-web-2: replaced"


def test_a_request_that_is_just_being_passed_on_is_waited_for() -> None:
    just_now = plan(replace(live(OLD), draining={OLD.id: Drain(0, 0.0)}))
    assert str(just_now) == "wait for what is on its way to butai-feature-x-web-2"
    assert just_now.look_again_s == drain.SETTLE_S


def test_what_is_open_at_the_limit_is_cut() -> None:
    limit_s = SETTINGS.limits.drain_timeout_s
    assert "wait" in str(plan(replace(live(OLD), draining={OLD.id: Drain(1, limit_s - 0.5)})))
    assert str(plan(replace(live(OLD), draining={OLD.id: Drain(1, limit_s)}))) == (
        "remove butai-feature-x-web-2: replaced"
    )


def test_where_nobody_can_tell_the_limit_is_waited_for() -> None:
    unknown = plan(replace(live(OLD), draining={OLD.id: Drain(None, 4.0)}))
    assert str(unknown) == "wait for what may still be open with butai-feature-x-web-2"


def test_the_next_look_is_never_long_after_the_limit() -> None:
    nearly = plan(replace(live(OLD), draining={OLD.id: Drain(1, 9.5)}))
    assert nearly.look_again_s == 0.5


def test_what_people_never_reached_goes_at_once() -> None:
    world = replace(live(OLD, OLD_JOB), draining={OLD.id: Drain(1, 1.0)})
    assert str(plan(world)) == (
        "remove butai-feature-x-job-2: replaced\nwait for 1 connection to butai-feature-x-web-2 to end"
    )


def test_only_running_containers_out_of_the_route_that_people_may_have_reached_are_leaving() -> None:
    stopped = container(WEB, "exited", config="older", number=3)
    forgotten = container(service("removed"), number=4)
    world = live(OLD, OLD_JOB, stopped, forgotten)
    assert {one.id for one in drain.leaving(SHOP, world)} == {"web-2", "removed-4"}
    assert world.routed is not None
    routed = replace(world.routed.routes[0], containers=(OLD.name,))
    assert "web-2" not in {
        one.id for one in drain.leaving(SHOP, replace(world, routed=replace(world.routed, routes=(routed,))))
    }


def test_a_traefik_of_others_names_containers_by_address() -> None:
    world = live(OLD)
    assert world.routed is not None
    elsewhere = replace(OLD, addresses={"butai-feature-x_default": "10.200.0.140"})
    by_address = replace(world.routed.routes[0], containers=("10.200.0.140",))
    assert drain.is_routed(elsewhere, replace(world.routed, routes=(by_address,)))
    assert not drain.is_routed(OLD, replace(world.routed, routes=(by_address,)))
