"""What `/metrics` says of a store, an engine and disks whose state is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.errors import OutsideError
from agent.model.deployment import Failure, Phase
from agent.model.environment import Wanted
from agent.model.finding import Finding, Verdict
from agent.model.names import Slug
from agent.planning.metrics import CATALOGUE
from agent.runtime.controller import Load
from agent.runtime.figures import Figures
from agent.runtime.tally import Tally
from tests.support.careworld import GB, NOW, CareWorld, build_world
from tests.support.plans import environment

FINDINGS = (Finding(Verdict.FAILURE, "x"), Finding(Verdict.OK, "x"), Finding(Verdict.OK, "x"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CareWorld]:
    world = build_world(tmp_path)
    world.store.branches.replace("shop", {}, NOW)
    world.vitals.look()
    yield world
    world.store.close()


@pytest.fixture
def figures(world: CareWorld) -> Figures:
    tally = Tally()
    world.store.deployments.tell(tally.count)
    return Figures(
        settings=lambda: world.settings,
        store=world.store,
        load=lambda: Load(due=2, lag_s=1.5, working=3, failing=1),
        vitals=world.vitals,
        caretaker=world.caretaker,
        tally=tally,
        host=world.host,
        findings=lambda: FINDINGS,
    )


def read(figures: Figures) -> dict[str, float]:
    """`name` or `name:label` of each sample."""
    families = text_string_to_metric_families(figures.text())
    return {":".join((each.name, *each.labels.values())): each.value for family in families for each in family.samples}


def test_environments_and_deployments_are_counted(world: CareWorld, figures: Figures) -> None:
    store = world.store
    for block, name in enumerate(("ready", "failed", "building", "asleep")):
        row = store.environments.restore(environment(slug=Slug(name), branch=name, block=block))
        begun = store.deployments.begin(row, cause="c", caller="a", now=NOW)
        if name == "building":
            store.deployments.update(begun.id, phase=Phase.BUILDING)
            continue
        store.deployments.update(begun.id, timings={"build": 1.0})
        phase = Phase.FAILED if name == "failed" else Phase.READY
        failure = Failure("x", "x") if name == "failed" else None
        store.deployments.finish(begun.id, phase, now=NOW + timedelta(seconds=7), failure=failure)
    store.environments.update(Slug("asleep"), wanted=Wanted.ASLEEP)
    found = read(figures)
    states = {state: found[f"butai_environments:{state}"] for state in ("ready", "deploying", "failed", "asleep")}
    assert states == {"ready": 1, "deploying": 1, "failed": 1, "asleep": 1}
    assert found["butai_environments:removing"] == 0
    assert found["butai_deployments_unfinished:building"] == 1
    assert found["butai_deployment_duration_seconds_count:build:ready"] == 2
    assert found["butai_deployment_duration_seconds_sum:build:failed"] == 7


def test_the_queue_the_engine_and_the_disks_are_told(world: CareWorld, figures: Figures) -> None:
    world.fill(free_bytes=GB)
    world.engine.cache = 3 * GB
    world.after(61)
    found = read(figures)
    assert (found["butai_reconcile_due"], found["butai_reconcile_lag_seconds"]) == (2, 1.5)
    assert (found["butai_workers_busy"], found["butai_workers"], found["butai_reconcile_failing"]) == (3, 16, 1)
    assert found["butai_remote_listed_timestamp_seconds:shop"] == NOW.timestamp()
    assert (found["butai_disk_free_bytes:state"], found["butai_disk_free_bytes:engine"]) == (GB, 50 * GB)
    assert found["butai_disk_nearly_full"] == 1
    assert found["butai_build_cache_bytes"] == 3 * GB
    assert found["butai_backup_timestamp_seconds"] == pytest.approx(NOW.timestamp() + 61)
    assert found["butai_care_failing:backup"] == 0
    assert 10e6 < found["process_resident_memory_bytes"] < 1e9


def test_what_is_away_is_told_as_away(world: CareWorld, figures: Figures) -> None:
    world.engine.failure = OutsideError("Docker does not answer.", code="docker-down")
    world.traefik[0] = False
    world.vitals.look()
    world.after(61)
    found = read(figures)
    assert (found["butai_engine_up"], found["butai_traefik_up"]) == (0, 0)
    assert (found["butai_ready:engine"], found["butai_ready:traefik"], found["butai_ready:git"]) == (0, 0, 1)
    assert found["butai_care_failing:images"] == 1
    assert not [name for name in found if name.startswith("butai_engine_containers")]


def test_everything_in_the_catalogue_is_told(world: CareWorld, figures: Figures) -> None:
    row = world.store.environments.restore(environment())
    begun = world.store.deployments.begin(row, cause="c", caller="a", now=NOW)
    world.store.deployments.finish(begun.id, Phase.READY, now=NOW)
    world.vitals.look()
    world.after(61)
    told = {line.split()[2] for line in figures.text().splitlines() if line.startswith("# TYPE")}
    assert told == set(CATALOGUE)


def test_what_the_doctor_found_is_counted(figures: Figures) -> None:
    found = read(figures)
    assert {verdict: found[f"butai_host_findings:{verdict}"] for verdict in Verdict} == {
        "failure": 1,
        "warning": 0,
        "unknown": 0,
        "ok": 2,
        "not-applicable": 0,
    }
