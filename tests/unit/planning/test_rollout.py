"""Starting a stack, as one look judges it: what may start, what is waited for, and when it has failed."""

from __future__ import annotations

import pytest

from agent.model.observed import Observed
from agent.model.release import Release
from agent.planning import rollout
from tests.support.plans import container, observed, release, service


def words(of: Release, world: Observed, *, in_progress: bool = True) -> str:
    stage = rollout.look(of, world, in_progress=in_progress)
    lines = [str(step) for step in stage.steps] + [f"wait for {what}" for what in stage.waiting]
    return "\n".join(lines + ([f"fail: {stage.failure.message}"] if stage.failure else [])) or "ready"


DB = service("db", has_healthcheck=True, in_place="writes the volume data")
MIGRATE = service("migrate", "db:healthy", one_shot=True)
WEB = service("web", "migrate:done", "cache", public=True, ports=(8000,))
CACHE = service("cache")
SHOP = release(DB, MIGRATE, WEB, CACHE)


def test_what_depends_on_nothing_starts_side_by_side_and_the_rest_waits_with_a_reason() -> None:
    world = observed(SHOP, *(container(spec, "created") for spec in SHOP.services))
    assert words(SHOP, world) == (
        "start db: it is new\n"
        "start cache: it is new\n"
        "wait for db (needed by migrate)\n"
        "wait for migrate (needed by web)\n"
        "wait for cache (needed by web)"
    )


def test_a_healthy_dependency_is_waited_for_until_the_engine_says_healthy() -> None:
    starting = observed(
        SHOP,
        container(DB, health="starting"),
        container(CACHE),
        container(MIGRATE, "created"),
        container(WEB, "created"),
    )
    assert "start migrate" not in words(SHOP, starting)
    healthy = observed(
        SHOP,
        container(DB, health="healthy"),
        container(CACHE),
        container(MIGRATE, "created"),
        container(WEB, "created"),
    )
    assert words(SHOP, healthy) == "start migrate: it is new\nwait for migrate (needed by web)"


def test_a_one_shot_that_ended_with_0_lets_its_dependents_start_and_is_never_run_again() -> None:
    world = observed(
        SHOP,
        container(DB, health="healthy"),
        container(CACHE),
        container(MIGRATE, "exited", exit_code=0),
        container(WEB, "created"),
    )
    assert words(SHOP, world) == "start web: it is new"
    woken = observed(
        SHOP,
        container(DB, health="healthy"),
        container(CACHE, "exited", exit_code=0),
        container(MIGRATE, "exited", exit_code=0),
        container(WEB, "exited", exit_code=0),
    )
    assert "migrate" not in words(SHOP, woken)
    assert "start cache: exited" in words(SHOP, woken)


def test_a_routed_service_without_health_check_is_ready_when_its_port_answers() -> None:
    up = (
        container(DB, health="healthy"),
        container(CACHE),
        container(MIGRATE, "exited", exit_code=0),
        container(WEB),
    )
    assert words(SHOP, observed(SHOP, *up)) == "wait for web to listen on port 8000"
    assert words(SHOP, observed(SHOP, *up, listening=frozenset({"web-1"}))) == "ready"


def test_a_service_that_cannot_run_twice_has_its_old_container_stopped_first() -> None:
    old = container(DB, config="old", number=1, health="healthy")
    new = container(DB, "created", number=2)
    assert words(release(DB, entry="db"), observed(release(DB, entry="db"), old, new)) == (
        "stop butai-feature-x-db-1: db cannot run twice: it writes the volume data"
    )
    stopped = container(DB, "exited", config="old", number=1, exit_code=0)
    assert words(release(DB, entry="db"), observed(release(DB, entry="db"), stopped, new)) == "start db: it is new"


def test_other_services_start_beside_their_old_container() -> None:
    only = release(WEB)
    world = observed(only, container(WEB, config="old", number=1), container(WEB, "created", number=2))
    assert words(only, world) == "start web: it is new"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"state": "exited", "exit_code": 1}, "fail: Service `web` exited with status 1."),
        ({"state": "exited", "exit_code": 0}, "fail: Service `web` exited with status 0."),
        ({"state": "running", "health": "unhealthy"}, "fail: Service `web` is unhealthy: its health check fails."),
    ],
)
def test_a_started_entry_service_that_ends_or_sickens_fails_the_deployment(
    changes: dict[str, object], verdict: str
) -> None:
    only = release(WEB)
    state = str(changes.pop("state"))
    world = observed(only, container(WEB, state, **changes), started=frozenset({"web-1"}))
    assert words(only, world) == verdict


def test_the_same_exit_before_this_deployment_started_it_is_a_reason_to_start_it() -> None:
    only = release(WEB)
    assert words(only, observed(only, container(WEB, "exited", exit_code=137))) == "start web: exited"


def test_a_crash_loop_is_a_failure_long_before_the_deadline() -> None:
    only = release(WEB)
    world = observed(only, container(WEB, "restarting"), started=frozenset({"web-1"}), deaths={"web-1": 4})
    assert words(only, world) == "fail: Service `web` exits again and again (4 times)."


def test_a_service_without_route_that_exits_with_0_has_done_its_work() -> None:
    only = release(WEB, CACHE)
    world = observed(
        only,
        container(WEB),
        container(CACHE, "exited", exit_code=0),
        started=frozenset({"cache-1"}),
        listening=frozenset({"web-1"}),
    )
    assert words(only, world) == "ready"


def test_outside_of_a_deployment_a_crashed_service_is_started_and_an_ended_task_is_left_alone() -> None:
    only = release(WEB, CACHE)
    world = observed(only, container(WEB, "exited", exit_code=1), container(CACHE, "exited", exit_code=0))
    assert words(only, world, in_progress=False) == "start web: exited"


def test_a_paused_container_is_unpaused() -> None:
    only = release(WEB)
    assert words(only, observed(only, container(WEB, "paused"))) == "unpause butai-feature-x-web-1: it is paused"


def test_services_stop_in_the_reverse_of_their_start_order() -> None:
    chain = release(DB, service("api", "db"), service("web", "api"))
    running = [container(spec) for spec in chain.services]
    order = []
    while running:
        turn = rollout.last_in_line(chain, running)
        order.append([one.service for one in turn])
        running = [one for one in running if one not in turn]
    assert order == [["web"], ["api"], ["db"]]
