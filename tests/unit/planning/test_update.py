"""From a revision that serves to the next, as a plan: what is copied, tagged, built, and what is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.model.change import Action, Cause, Decision, FileSync, Verdict
from agent.model.deployment import Deployment
from agent.model.names import Revision
from agent.model.observed import Observed
from agent.model.release import BindMount, BuildSpec, Release, ServiceSpec
from agent.planning import reconcile
from agent.planning.adopt import adopted
from agent.planning.identity import current
from agent.planning.plan import Verb
from agent.planning.update import MOST_FILES
from tests.support.desk import BROKEN
from tests.support.plans import R1, R2, container, deployment, environment, observed, release, service
from tests.unit.planning.test_reconcile import CONTEXT, plan

BUILD = BuildSpec(context=".", dockerfile="Dockerfile")


def built(name: str, revision: Revision) -> ServiceSpec:
    image = f"butai/feature-x/{name}:{revision[:12]}"
    return service(name, build=BUILD, image=image, public=True, ports=(8000,))


BEFORE = release(built("web", R1), built("worker", R1), service("db"), revision=R1)
FILES = (FileSync("app/a.py", "/srv/a.py", "100644", "b" * 40),)
COPY = Verdict("web", Action.SYNC, files=FILES, behind=True, causes=(Cause("watch rule", ("app/a.py",)),))
LIVE = {"revision": R2, "deployed_revision": R1}


def after(decision: Decision) -> Release:
    assert decision.verdicts
    found = adopted(BEFORE, R2)
    assert found is not None
    return found


def world(*verdicts: Verdict, **changes: object) -> Observed:
    """R1 serves with every image and container in place; git has moved to R2."""
    asked = {verdict.service for verdict in verdicts}
    rest = tuple(Verdict(spec.name) for spec in BEFORE.services if spec.name not in asked)
    decision = Decision((*verdicts, *rest))
    base = observed(after(decision), *(container(spec) for spec in BEFORE.services))
    return replace(
        base,
        checkout=R1,
        previous=BEFORE,
        decision=decision,
        release_saved=False,
        images={spec.image: f"sha-{spec.name}" for spec in BEFORE.services},
        listening=frozenset({"web-1", "worker-1"}),
        **changes,
    )


def test_files_under_a_rule_are_copied_before_anything_else_is_done() -> None:
    assert str(plan(world(COPY), **LIVE)) == "sync web: app/a.py: watch rule"
    assert str(plan(world(COPY, synced={"web-1": R2}), **LIVE)).splitlines() == [
        "tag worker: nothing that it is built from changed",
        "adopt 2222222222: nothing it was read from changed",
    ]


MOUNTED = replace(BEFORE, services=(replace(BEFORE.services[0], binds=(BindMount("app", "/srv"),)),))


@pytest.mark.parametrize(
    ("why", "seen", "row", "going"),
    [
        ("a container shows it", {"release": adopted(MOUNTED, R2)}, {}, deployment()),
        ("it holds an edit, and the deployment tells where that is kept", {"holds_edit": True}, {}, deployment()),
        ("it was never live: people look there for the reason", {}, {"deployed_revision": None}, deployment()),
        ("the deployment failed: its end is told when all is as it was", {}, {}, deployment(failure=BROKEN)),
        ("", {}, {}, deployment()),
        ("", {"checkout": None}, {}, deployment()),
        ("", {"checkout": None}, {}, None),
        ("", {}, {}, None),
    ],
)
def test_the_worktree_is_waited_for_only_where_it_must_be(
    why: str, seen: dict[str, Any], row: dict[str, Any], going: Deployment | None
) -> None:
    pushed = replace(world(), **seen)
    assert pushed.release is not None
    pushed = replace(pushed, images={spec.image: f"sha-{spec.name}" for spec in pushed.release.services})
    found = reconcile.plan(environment(**LIVE | row), going, pushed, CONTEXT)
    assert ("checkout" in str(found)) == bool(why), str(found)


def test_what_a_container_mounts_of_the_worktree_is_there_before_it_is_restarted() -> None:
    """The checkout is the sync there."""
    known = world(replace(COPY, action=Action.RESTART, files=(), restart=True))
    assert known.release is not None
    web, *others = known.release.services
    mounted = replace(web, binds=(BindMount("app", "/srv"),))
    known = replace(known, release=replace(known.release, services=(mounted, *others)))
    assert [step.verb for step in plan(known, **LIVE).steps] == [Verb.TAG, Verb.ADOPT, Verb.CHECKOUT]
    images = {**known.images, f"butai/feature-x/worker:{R2[:12]}": "sha-worker"}
    ready = replace(known, images=images, checkout=R2, release_saved=True)
    assert str(plan(ready, **LIVE)) == "sync web: app/a.py: watch rule"


def test_an_image_that_is_run_as_it_is_is_restarted_for_what_it_mounts_and_only_once() -> None:
    restart = Verdict("db", Action.RESTART, restart=True, mounted=1, causes=(Cause("mounted", ("db.cnf",)),))
    images = {f"butai/feature-x/{name}:{R2[:12]}": f"sha-{name}" for name in ("web", "worker")}
    known = world(restart)
    due = replace(known, images={**known.images, **images}, checkout=R2, release_saved=True)
    assert str(plan(due, **LIVE)) == "sync db: db.cnf: mounted"
    assert "db" not in str(plan(replace(due, synced={"db-1": R2}), **LIVE))
    assert str(plan(replace(due, synced={"db-1": R1}), **LIVE)) == "sync db: db.cnf: mounted"  # an earlier time
    untouched = replace(due, decision=Decision(tuple(Verdict(spec.name) for spec in BEFORE.services)))
    assert "db" not in str(plan(replace(untouched, synced={"db-1": R1}), **LIVE))


def test_a_container_that_was_brought_up_to_date_is_current_whatever_its_image() -> None:
    synced = world(COPY, synced={"web-1": R2})
    assert [one.id for one in current(synced.release.services[0], synced)] == ["web-1"]  # type: ignore[union-attr]


def test_a_container_with_files_of_another_revision_is_not_current_although_its_image_is() -> None:
    stale = replace(observed(BEFORE, container(BEFORE.services[0])), synced={"web-1": R2})
    assert current(BEFORE.services[0], stale) == ()


def test_a_rebuild_beside_a_sync_comes_first_so_that_a_broken_build_changes_nothing() -> None:
    rebuild = Verdict("worker", Action.REBUILD, causes=(Cause("it goes into the image", ("Dockerfile",)),))
    assert str(plan(world(COPY, rebuild), **LIVE)).splitlines() == [
        "build worker: Dockerfile: it goes into the image",
        "adopt 2222222222: nothing it was read from changed",
    ]


def test_containers_that_could_not_take_the_files_get_an_image() -> None:
    assert "build web" in str(plan(world(COPY, unfit=frozenset({"web"})), **LIVE))


def test_more_files_than_a_build_is_worth_get_an_image() -> None:
    many = tuple(FileSync(f"app/{n}.py", f"/srv/{n}.py", "100644", "b" * 40) for n in range(MOST_FILES + 1))
    assert "build web" in str(plan(world(replace(COPY, files=many)), **LIVE))


def test_a_push_that_touches_nothing_only_moves_the_names() -> None:
    assert "sync" not in str(plan(world(), **LIVE))
    assert "build" not in str(plan(world(), **LIVE))


def test_a_synced_service_stays_synced_when_the_next_push_does_not_touch_it() -> None:
    known = world(synced={"web-1": R1})
    images = {**known.images, f"butai/feature-x/worker:{R2[:12]}": "sha-worker"}
    assert "sync web: nothing of it changed" in str(plan(replace(known, images=images), **LIVE))


def test_images_catch_up_when_it_is_quiet_and_older_ones_stay_until_then() -> None:
    found = adopted(BEFORE, R2)
    assert found is not None
    base = observed(found, *(container(spec) for spec in found.services))
    behind = replace(
        base,
        images={spec.image: f"sha-{spec.name}" for spec in found.services if spec.name != "web"},
        own_images=(BEFORE.services[0].image,),
        synced={"web-1": R2},
        listening=frozenset({"web-1", "worker-1"}),
    )
    now_live = {"revision": R2, "deployed_revision": R2}
    table = plan(behind, going=False, **now_live).route
    routed = replace(behind, routed=table, confirmed=True)
    busy = plan(routed, going=False, **now_live)
    assert str(busy) == "nothing to do"
    assert busy.look_again_s
    quiet = plan(replace(routed, is_quiet=True), going=False, **now_live)
    assert str(quiet) == "catch up web: its containers were synced to 2222222222"
    hopeless = replace(routed, is_quiet=True, hopeless=frozenset({found.services[0].image}))
    assert "untag" in str(plan(hopeless, going=False, **now_live))


def test_the_last_name_of_an_image_in_use_stays() -> None:
    """The engine refuses to remove it, and what it refuses would be tried for ever."""
    found = adopted(BEFORE, R2)
    assert found is not None
    web = found.services[0]
    old, stale = BEFORE.services[0].image, "butai/feature-x/web:000000000000"
    base = observed(found, *(container(spec) for spec in found.services), container(web, number=1, image_id="sha-old"))
    world_now = replace(
        base,
        containers=(
            *(container(spec) for spec in found.services if spec.name != "web"),
            replace(container(web), image_id="sha-old"),
        ),
        images={**base.images, old: "sha-old", stale: "sha-stale"},
        own_images=(old, stale),
        synced={"web-1": R2},
        listening=frozenset({"web-1", "worker-1"}),
        is_quiet=True,
    )
    now_live = {"revision": R2, "deployed_revision": R2}
    table = plan(world_now, going=False, **now_live).route
    last = plan(replace(world_now, routed=table, confirmed=True), going=False, **now_live)
    assert [step.targets for step in last.steps] == [(stale,)]


def test_the_environment_of_a_derived_release_says_its_own_revision() -> None:
    found = adopted(BEFORE, R2)
    assert found is not None
    assert found.model["services"]["web"]["environment"]["BUTAI_REVISION"] == R2
    assert [spec.config_hash for spec in found.services] == [spec.config_hash for spec in BEFORE.services]
    assert environment(**LIVE).target("settings-1") == R2
