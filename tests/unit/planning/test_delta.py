"""When a restart is a new container on a delta image, as a decision and as a plan, and what becomes of the image."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model.change import Action, Cause, Decision, FileSync, Verdict
from agent.model.observed import Observed
from agent.model.release import ExecHook, Release, ServiceSpec
from agent.planning.adopt import adopted
from agent.planning.changes import decide
from agent.planning.delta import to_look_up
from agent.planning.identity import current
from agent.planning.images import delta_tag
from agent.planning.update import MOST_FILES
from tests.support.changing import built as spec_of
from tests.support.changing import change, facts, mount, rule, stack
from tests.support.plans import R1, R2, container, observed, release
from tests.unit.planning.test_reconcile import plan
from tests.unit.planning.test_update import LIVE, built

CONF = rule("sync+restart ./conf -> /app/conf")
NOW_LIVE = {"revision": R2, "deployed_revision": R2}


def verdict(recipe: str, *changes: str, spec: ServiceSpec | None = None, **known: object) -> Verdict:
    web = spec or spec_of("web", CONF)
    asked = facts(*changes, dockerfiles={"web": f"FROM a\n{recipe}"}, **known)  # type: ignore[arg-type]
    return decide([change(text) for text in changes], stack(web), asked).verdicts[0]


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("COPY . /app", ["M conf/a.ini"]),
        ("COPY . /app", ["A conf/new/a.ini", "x conf/b.sh"]),
        ("COPY conf /app/conf/", ["M conf/a.ini"]),
        ("WORKDIR /app\nCOPY conf/ conf\nUSER web\nCMD a", ["M conf/a.ini"]),
        ("RUN mkdir /app\nCOPY . /app", ["M conf/a.ini"]),
        ("COPY . /app\nCOPY conf /app/conf", ["M conf/a.ini"]),
        ("ADD . /app", ["M conf/a.ini"]),
        ("COPY conf/a.ini /app/conf/a.ini", ["M conf/a.ini"]),
        ("COPY conf/*.ini /app/conf/", ["M conf/a.ini"]),
    ],
)
def test_files_that_are_copied_as_they_are_may_be_laid_over_an_older_image(recipe: str, changes: list[str]) -> None:
    found = verdict(recipe, *changes)
    assert found.action is Action.RESTART
    assert found.verbatim


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("COPY . /app", ["M conf/a.ini", "D conf/b.ini"]),
        ("COPY --chown=web . /app", ["M conf/a.ini"]),
        ("COPY --chmod=755 . /app", ["M conf/a.ini"]),
        ("COPY --chown=web pkg.json /app/\nCOPY . /app", ["M conf/a.ini"]),
        ("COPY . /app\nRUN chown -R web /app", ["M conf/a.ini"]),
        ("COPY . /app\nRUN npm run build", ["M conf/a.ini"]),
        ("COPY . /elsewhere", ["M conf/a.ini"]),
        ("COPY . /app\nCOPY conf /etc/app", ["M conf/a.ini"]),
        ("COPY pkg.json /app", ["M conf/a.ini"]),
        ("ADD conf/a.ini /app/conf/", ["M conf/a.ini"]),
        ("COPY . /app\nVOLUME /app/conf", ["M conf/a.ini"]),
        ("COPY conf $DIR", ["M conf/a.ini"]),
        ("COPY . /in\nFROM a\nCOPY --from=0 /in /app", ["M conf/a.ini"]),
    ],
)
def test_what_a_build_may_leave_otherwise_is_not(recipe: str, changes: list[str]) -> None:
    found = verdict(recipe, *changes)
    assert found.action in (Action.RESTART, Action.SYNC)
    assert not found.verbatim


def test_a_file_that_is_left_out_of_the_context_or_lies_on_a_mount_is_not_either() -> None:
    narrow = spec_of("web", rule("sync+restart ./conf -> /app/conf"), context="app")
    assert not verdict("COPY . /app", "M conf/a.ini", spec=narrow).verbatim
    hidden = spec_of("web", CONF, other_mounts=("/app/conf",))
    assert not verdict("COPY . /app", "M conf/a.ini", spec=hidden).verbatim
    mounted = spec_of("web", CONF, binds=(mount("./conf -> /app/conf"),))
    assert not verdict("COPY . /app", "M conf/a.ini", spec=mounted).verbatim


def test_without_a_restart_nobody_asks() -> None:
    assert not verdict("COPY . /app", "M conf/a.ini", spec=spec_of("web", rule("sync . -> /app"))).verbatim


# -- the plan --------------------------------------------------------------------------------------------------

BEFORE = release(built("web", R1), built("worker", R1), revision=R1)
AFTER = adopted(BEFORE, R2) or BEFORE
WEB = AFTER.services[0]
OLD = BEFORE.services[0].image
FILES = (FileSync("conf/a.ini", "/app/conf/a.ini", "100644", "b" * 40),)
RESTART = Verdict(
    "web", Action.RESTART, FILES, restart=True, behind=True, verbatim=True, causes=(Cause("rule", ("conf/a.ini",)),)
)
DELTA = "delta web: conf/a.ini: rule"


def world(asked: Verdict = RESTART, *, after: Release = AFTER, **changes: object) -> Observed:
    """R1 serves and git has moved to R2; all that is left to do for the worker is done."""
    worker = after.services[1]
    base = observed(after, *(container(spec) for spec in BEFORE.services))
    return replace(
        base,
        checkout=R2,
        previous=BEFORE,
        decision=Decision((asked, Verdict("worker"))),
        images={OLD: "sha-web", worker.image: "sha-worker"},
        listening=frozenset({"web-1", "worker-1"}),
        **changes,
    )


def steps(asked: Verdict = RESTART, **changes: object) -> list[str]:
    return str(plan(world(asked, **changes), **LIVE)).splitlines()  # type: ignore[arg-type]


def test_a_restart_of_what_people_reach_is_a_delta_image_and_a_new_container() -> None:
    assert steps() == [DELTA]
    made = world()
    made = replace(made, images={**made.images, delta_tag(WEB.image): "sha-delta"})
    assert str(plan(made, **LIVE)) == "create web: web changed"
    new = container(WEB, "created", number=2, image_id="sha-delta")
    assert str(plan(replace(made, containers=(*made.containers, new)), **LIVE)) == "start web: it is new"


def test_images_are_made_before_anything_that_people_see() -> None:
    asked = replace(world(), checkout=R1, release_saved=False)
    assert [step.partition(" ")[0] for step in str(plan(asked, **LIVE)).splitlines()] == ["delta", "adopt"]


@pytest.mark.parametrize(
    ("asked", "of"),
    [
        (replace(RESTART, verbatim=False), {}),
        (replace(RESTART, execs=(ExecHook(("true",)),)), {}),
        (RESTART, {"in_place": "writes the volume data"}),
    ],
)
def test_what_cannot_be_swapped_so_is_restarted_where_it_is(asked: Verdict, of: dict[str, str]) -> None:
    after = replace(AFTER, services=(replace(WEB, **of), *AFTER.services[1:]))  # type: ignore[arg-type]
    assert steps(asked, after=after) == ["sync web: conf/a.ini: rule"]


def test_a_service_that_nobody_reaches_is_restarted_where_it_is() -> None:
    hidden = replace(WEB, public=False)
    after = replace(AFTER, services=(hidden, *AFTER.services[1:]), entry_service="worker")
    assert steps(after=after) == ["sync web: conf/a.ini: rule"]


@pytest.mark.parametrize(
    "changes",
    [
        {"unfit": frozenset({"web"})},
        {"asked": replace(RESTART, files=FILES * (MOST_FILES + 1))},
        {"images": {}},
    ],
)
def test_without_an_image_to_start_from_or_after_a_failure_it_is_built_in_full(changes: dict[str, object]) -> None:
    asked = changes.pop("asked", RESTART)
    known = replace(world(asked), **changes)  # type: ignore[arg-type]
    assert "build web: conf/a.ini: rule" in str(plan(known, **LIVE))


def test_where_that_build_fails_it_is_restarted_where_it_is() -> None:
    """It was tried when nobody waited, and would fail again."""
    known = replace(world(), images={AFTER.services[1].image: "sha-worker"}, synced={"web-1": R1})
    assert "build web" in str(plan(known, **LIVE))
    assert "sync web" in str(plan(replace(known, hopeless=frozenset({OLD})), **LIVE))


def test_a_container_that_holds_more_than_its_image_does_not_matter() -> None:
    """The image of what serves holds the same."""
    assert steps(synced={"web-1": R1}) == [DELTA]


def test_a_delta_image_is_laid_over_another_until_the_full_one_is_there() -> None:
    known = world()
    other = {delta_tag(OLD): "sha-web", AFTER.services[1].image: "sha-worker"}
    (step,) = plan(replace(known, images=other), **LIVE).steps
    assert step.targets == (delta_tag(OLD), delta_tag(WEB.image))
    (step,) = plan(replace(known, images={**other, OLD: "sha-full"}), **LIVE).steps
    assert step.targets == (OLD, delta_tag(WEB.image))


# -- and what becomes of it ------------------------------------------------------------------------------------


def untouched(**images: str) -> Observed:
    """A push that means nothing to `web`, which runs a delta image."""
    known = world(Verdict("web"))
    return replace(known, images={**images, AFTER.services[1].image: "sha-worker"})


def test_a_container_on_a_delta_image_that_a_push_does_not_touch_stays() -> None:
    known = untouched(**{OLD: "sha-full", delta_tag(OLD): "sha-web"})
    assert [step.targets for step in plan(known, **LIVE).steps] == [
        (OLD, WEB.image),
        (delta_tag(OLD), delta_tag(WEB.image)),
    ]
    known = untouched(**{delta_tag(OLD): "sha-web"})
    assert [step.targets for step in plan(known, **LIVE).steps] == [(delta_tag(OLD), delta_tag(WEB.image))]


def test_it_stays_as_well_when_a_build_gives_the_image_that_was_there() -> None:
    rebuilt = world(Verdict("web", Action.REBUILD))
    images = {WEB.image: "sha-full", delta_tag(OLD): "sha-web", AFTER.services[1].image: "sha-worker"}
    same = plan(replace(rebuilt, images={**images, OLD: "sha-full"}), **LIVE)
    assert [step.targets for step in same.steps] == [(delta_tag(OLD), delta_tag(WEB.image))]
    assert "create web" in str(plan(replace(rebuilt, images={**images, OLD: "sha-older"}), **LIVE))


def test_files_are_copied_into_it_like_into_any_other() -> None:
    known = world(replace(RESTART, action=Action.SYNC, restart=False, verbatim=False))
    assert "sync web" in str(plan(replace(known, images={**untouched().images, delta_tag(OLD): "sha-web"}), **LIVE))


def test_the_full_image_is_made_when_it_is_quiet_and_replaces_nothing() -> None:
    running = tuple(container(spec) for spec in AFTER.services)
    base = observed(AFTER, *running, own_images=(), is_quiet=True, listening=frozenset({"web-1", "worker-1"}))
    delta = replace(base, images={delta_tag(WEB.image): "sha-web", AFTER.services[1].image: "sha-worker"})
    routed = replace(delta, routed=plan(delta, going=False, **NOW_LIVE).route, confirmed=True)
    quiet = plan(routed, going=False, **NOW_LIVE)
    assert str(quiet) == "catch up web: its containers run a delta image of 2222222222"

    full = {**routed.images, WEB.image: "sha-full"}
    tags = (WEB.image, delta_tag(WEB.image), AFTER.services[1].image)
    after = replace(routed, images=full, own_images=tags)
    assert current(WEB, after) == (running[0],)
    assert str(plan(after, going=False, **NOW_LIVE)) == "nothing to do"


def test_the_tag_goes_when_no_container_runs_it() -> None:
    running = tuple(container(spec) for spec in AFTER.services)
    base = observed(AFTER, *running, is_quiet=True, listening=frozenset({"web-1", "worker-1"}))
    tags = {**base.images, delta_tag(WEB.image): "sha-other", delta_tag(OLD): "sha-old"}
    known = replace(base, images=tags, own_images=tuple(tags))
    known = replace(known, routed=plan(known, going=False, **NOW_LIVE).route, confirmed=True)
    (step,) = plan(known, going=False, **NOW_LIVE).steps
    assert step.targets == (delta_tag(OLD), delta_tag(WEB.image))


def asked_for(known: Observed, *, images: dict[str, str]) -> tuple[str, ...]:
    return to_look_up(
        AFTER,
        known.previous,
        known.decision,
        containers=known.containers,
        synced=known.synced,
        known=images,
    )


def test_the_engine_is_asked_for_delta_images_only_where_there_may_be_one() -> None:
    images = {OLD: "sha-web", AFTER.services[1].image: "sha-worker"}
    sync = world(Verdict("web", Action.SYNC, FILES))
    assert asked_for(sync, images=images) == ()
    assert asked_for(replace(sync, synced={"web-1": R1}), images={}) == (
        delta_tag(AFTER.services[1].image),
        delta_tag(BEFORE.services[1].image),
    )
    assert asked_for(world(), images=images) == (delta_tag(WEB.image), delta_tag(OLD))
    brought = replace(world(), synced={"web-1": R1})
    assert asked_for(brought, images={AFTER.services[1].image: "sha-worker"}) == (
        delta_tag(WEB.image),
        OLD,
        delta_tag(OLD),
    )
