"""`depends_on: restart: true`: who is restarted after a push, in which order, and how often."""

from __future__ import annotations

from agent.model.names import Hostname
from agent.model.observed import Container, Observed
from agent.model.release import Release
from agent.model.route import Backend, Route, RouteTable
from agent.planning import rollout
from tests.support.plans import R1, SLUG, container, observed, release, service

DB = service("db", in_place="writes the volume data")
API = service("api", "db+")
WORKER = service("worker", "api+", "db+")
WEB = service("web", "api")
SHOP = release(DB, API, WORKER, WEB)


def words(of: Release, world: Observed, *, in_progress: bool = True) -> str:
    stage = rollout.look(of, world, in_progress=in_progress)
    return "\n".join([str(step) for step in stage.steps] + [f"wait for {what}" for what in stage.waiting]) or "ready"


def world(*started: str, of: Release = SHOP, more: tuple[Container, ...] = ()) -> Observed:
    up = [container(spec) for spec in of.services]
    listening = frozenset(one.id for one in up)
    return observed(of, *up, *more, started=frozenset(started), listening=listening)


def test_what_was_replaced_restarts_its_dependents_one_after_the_other_and_each_once() -> None:
    assert words(SHOP, world("db-1")) == "restart api: depends on db with `restart: true`"
    assert words(SHOP, world("db-1", "api-1")) == "restart worker: depends on api, db with `restart: true`"
    assert words(SHOP, world("db-1", "api-1", "worker-1")) == "ready"


def test_a_service_without_restart_is_left_alone() -> None:
    assert words(SHOP, world("api-1")) == "restart worker: depends on api with `restart: true`"
    assert words(SHOP, world("worker-1", "web-1")) == "ready"


def test_nothing_is_restarted_on_its_first_start_or_outside_of_a_deployment() -> None:
    assert words(SHOP, world("db-1", "api-1", "worker-1", "web-1")) == "ready"
    assert words(SHOP, world("db-1"), in_progress=False) == "ready"


def test_nothing_is_restarted_before_what_it_depends_on_is_ready_again() -> None:
    checked = service("db", has_healthcheck=True)
    shop = release(checked, API, WEB)
    starting = observed(
        shop,
        container(checked, health="starting"),
        container(API),
        container(WEB),
        started=frozenset({"db-1"}),
        listening=frozenset({"web-1"}),
    )
    assert words(shop, starting) == "wait for db to become healthy"


def test_every_container_of_a_service_is_restarted() -> None:
    twice = service("api", "db+", replicas=2)
    shop = release(DB, twice, WEB)
    containers = (container(DB), container(twice), container(twice, number=2), container(WEB))
    stage = rollout.look(
        shop,
        observed(shop, *containers, started=frozenset({"db-1"}), listening=frozenset({"web-1"})),
        in_progress=True,
    )
    assert [step.targets for step in stage.steps] == [("api-1", "api-2")]


def test_a_service_that_is_scaled_to_nought_is_not_waited_for() -> None:
    none = service("api", "db+", replicas=0)
    shop = release(DB, none, WEB)
    world = observed(shop, container(DB), container(WEB), started=frozenset({"db-1"}), listening=frozenset({"web-1"}))
    assert words(shop, world) == "ready"


def test_a_task_that_ended_is_not_run_again() -> None:
    task = service("migrate", "db+", one_shot=True)
    shop = release(DB, task, WEB)
    containers = (container(DB), container(task, "exited", exit_code=0), container(WEB))
    up = observed(shop, *containers, started=frozenset({"db-1"}), listening=frozenset({"web-1"}))
    assert words(shop, up) == "ready"


def test_what_was_replaced_goes_first_so_that_nobody_finds_it_again() -> None:
    old = container(API, config="older", number=2)
    assert words(SHOP, world("api-1", more=(old,))) == (
        "stop butai-feature-x-api-2: worker is restarted for what replaced it"
    )
    gone = container(API, "exited", config="older", number=2, exit_code=0)
    assert words(SHOP, world("api-1", more=(gone,))) == "restart worker: depends on api with `restart: true`"


def test_what_people_still_reach_stays_until_the_route_is_switched() -> None:
    old = container(API, config="older", number=2)
    table = RouteTable(SLUG, Backend.CONTAINERS, R1, (Route(Hostname("x.example.com"), "api", 80, (old.name,)),))
    up = observed(
        SHOP,
        *(container(spec) for spec in SHOP.services),
        old,
        started=frozenset({"api-1"}),
        listening=frozenset({"web-1"}),
        routed=table,
    )
    assert words(SHOP, up) == "restart worker: depends on api with `restart: true`"
