"""What a line of the list says: how it is, in words that hold against the containers beside them."""

from __future__ import annotations

from typing import cast

import pytest

from agent.config import Settings
from agent.model.deployment import Deployment, Failure, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.model.observed import Container
from agent.model.release import Release
from agent.runtime.inspect import Inspector, Listed, summary_of
from agent.runtime.observer import Observer
from agent.runtime.ports import Engine
from tests.support.desk import ANNA, Desk
from tests.support.plans import R1, R2, container, deployment, environment, release, service

WEB = service("web")
MIGRATE = service("migrate", one_shot=True)
SHOP = release(WEB, MIGRATE)
EXITED = Failure("exited", "Service `web` exited with status 1.")
CRASHED = Failure("crashed", "web exited 1; five restarts did not help.")
REFUSED = Failure("refused", "compose.yaml: `privileged` is refused.\ncompose.yaml: `pid` is refused.")


class Host:
    """An engine and an observer that know what the test put here."""

    def __init__(self, *containers: Container) -> None:
        self.listed = containers

    def containers(self, labels: object) -> tuple[Container, ...]:
        return self.listed

    def release(self, row: Environment) -> Release:
        return SHOP


def line(desk: Desk, *containers: Container) -> Listed:
    host = Host(*containers)
    settings: Settings = desk.settings
    inspector = Inspector(
        settings=lambda: settings,
        store=desk.store,
        observer=cast("Observer", host),
        engine=cast("Engine", host),
        clock=desk.clock,
    )
    [listed] = inspector.listing()
    return listed


def test_a_task_that_ended_well_counts_as_up_and_a_service_that_ended_does_not(desk: Desk) -> None:
    desk.live()
    done = container(MIGRATE, "exited", exit_code=0)
    assert line(desk, container(WEB), done).services == "2/2 up"
    assert line(desk, container(WEB, "exited", exit_code=0), done).services == "1/2 up"
    assert line(desk, container(WEB), container(MIGRATE, "exited", exit_code=1)).services == "1/2 up"


def test_nothing_is_up_that_sleeps(desk: Desk) -> None:
    desk.operations.sleep(desk.live().slug, caller=ANNA)
    asleep = line(desk, container(WEB, "exited", exit_code=0), container(MIGRATE, "exited", exit_code=0))
    assert (asleep.summary, asleep.services) == ("asleep", "0/2 up")


def test_what_was_read_back_from_docker_runs_and_is_not_queued_for_ever(desk: Desk) -> None:
    found = environment(slug=Slug("feature-x"), deployed_revision=R1, created_by="rebuild-database", fetched=0)
    desk.store.environments.restore(found)
    assert line(desk, container(WEB)).summary == "running"
    assert summary_of(environment(), None) == "queued"


@pytest.mark.parametrize(
    ("failure", "caller", "serves", "summary"),
    [
        (REFUSED, ANNA, None, "failed: compose.yaml: `privileged` is refused"),
        (REFUSED, "push", R1, "failed: compose.yaml: `privileged` is refused; 1111111111 serves"),
        (EXITED, "agent", R1, "failed: Service `web` exited with status 1"),
        (CRASHED, "agent", R1, "crashed: web exited 1; five restarts did not help"),
    ],
)
def test_a_failure_is_one_line_and_claims_nothing_to_serve_that_crashed(
    failure: Failure, caller: str, serves: object, summary: str
) -> None:
    ended: Deployment = deployment(phase=Phase.FAILED, failure=failure, caller=caller)
    assert summary_of(environment(wanted=Wanted.RUNNING, deployed_revision=serves), ended) == summary


def test_an_edited_environment_says_by_whom() -> None:
    assert summary_of(environment(edited=R2, edited_by="anna"), deployment(phase=Phase.READY)) == (
        "ready, edited by anna"
    )
