"""Wanted against observed: the next steps for one environment, each with its cause.

Pure: the same snapshot gives the same plan. A plan holds only steps that may run side by side now;
what comes after is found by looking again, so a crash at any point continues where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.config import Settings
from agent.model.deployment import Deployment, Failure
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision
from agent.model.observed import Container, ContainerState, Observed
from agent.model.release import Release
from agent.planning import rollout, routing
from agent.planning.identity import current, outdated, wanted_identity
from agent.planning.plan import Plan, Step, Verb

MAX_REPAIRS = 5  # crashed containers are started again this often, then a person must act
_PROBE_AGAIN_S = 0.015
_HEALTH_AGAIN_S = 0.1
_IDLE_AGAIN_S = 5.0
_A_PERSON = "somebody to push or to deploy again: the last attempt failed"
_NOT_ROUTED = Failure(
    code="route-not-served",
    message="The containers are ready, but Traefik does not serve the route.",
    hint="The operator should look at Traefik's log: another file in its folder may be broken.",
)


@dataclass(frozen=True, slots=True)
class Context:
    """What the plan needs beside the snapshot: settings, their fingerprint for this project, the time."""

    settings: Settings
    fingerprint: str
    now: datetime


def plan(environment: Environment, deployment: Deployment | None, observed: Observed, context: Context) -> Plan:
    """What to do next so that the world matches the wish; empty when it does."""
    if environment.wanted is Wanted.ABSENT:
        return _absent(environment, observed)
    if environment.wanted is Wanted.ASLEEP:
        return _asleep(environment, observed, context)
    return _running(environment, deployment, observed, context)


def _running(environment: Environment, deployment: Deployment | None, observed: Observed, context: Context) -> Plan:
    if environment.project not in context.settings.projects:
        return Plan(waiting=("its project to come back into the settings",))
    if environment.needs_fetch and not (environment.pinned and environment.revision is not None):
        return Plan((Step(Verb.FETCH, environment.branch, "somebody asked, or a push was seen"),))
    target = environment.target(context.fingerprint)
    if target is None:
        return _nothing_good(environment, observed, context)
    release = observed.release
    making = _make(target, observed)
    if release is None or making:
        return Plan(making) if deployment is not None else _by_itself(making, environment, observed, context)
    return _start_and_route(environment, deployment, observed, context, release)


def _make(target: Revision, observed: Observed) -> tuple[Step, ...]:
    """What is missing before the first container may start."""
    release = observed.release
    if release is None or release.revision != target:
        return (Step(Verb.READ, target.short, "its compose file was not read yet"),)
    missing = _images(release, observed)
    if missing:
        return missing + (_checkout(release, observed) if observed.checkout is None else ())
    return _checkout(release, observed) or _create(release, observed)


def _by_itself(steps: tuple[Step, ...], environment: Environment, observed: Observed, context: Context) -> Plan:
    """Nobody asked for these steps. When they failed under these settings, they wait; in the end for a person."""
    pause = _repair_pause(environment, context.now) if environment.failed_config == context.fingerprint else 0.0
    if pause == 0.0:
        return Plan(steps)
    table = routing.waiting_table(environment, context.settings)
    if observed.routed != table and not any(container.running for container in observed.containers):
        return Plan((Step(Verb.ROUTE, environment.slug, "nothing of it runs"),), route=table)
    if pause is None:
        return Plan(waiting=(_A_PERSON,))
    return Plan(waiting=(f"the next attempt to repair in {pause:.0f} s",), look_again_s=pause)


def _images(release: Release, observed: Observed) -> tuple[Step, ...]:
    steps: dict[str, Step] = {}
    for spec in release.services:
        if spec.image in observed.images or spec.image in steps:
            continue
        if spec.build is not None:
            cause = f"no image of {release.revision.short} yet"
            steps[spec.image] = Step(Verb.BUILD, spec.name, cause, (spec.name,))
        else:
            steps[spec.image] = Step(Verb.PULL, spec.image, "not on this host", (spec.name,))
    return tuple(steps.values())


def _checkout(release: Release, observed: Observed) -> tuple[Step, ...]:
    if observed.checkout == release.revision:
        return ()
    cause = f"the worktree holds {observed.checkout.short if observed.checkout else 'nothing'}"
    return (Step(Verb.CHECKOUT, release.revision.short, cause),)


def _create(release: Release, observed: Observed) -> tuple[Step, ...]:
    needed, causes = [], []
    for spec in release.services:
        identity = wanted_identity(spec, observed)
        have = current(spec, identity, observed.containers)
        if len(have) < spec.replicas:
            needed.append(spec.name)
            others = outdated(spec, identity, observed.containers)
            causes.append(f"{spec.name} {'changed' if others else 'has no container'}")
    absent = sorted(set(release.networks) - set(observed.networks))
    if not needed and not absent:
        return ()
    causes += [f"network {name} is missing" for name in absent]
    return (Step(Verb.CREATE, ", ".join(needed) or "networks", "; ".join(causes), tuple(needed)),)


def _start_and_route(
    environment: Environment,
    deployment: Deployment | None,
    observed: Observed,
    context: Context,
    release: Release,
) -> Plan:
    in_progress = deployment is not None
    stage = rollout.look(release, observed, in_progress=in_progress)
    joins = _joins(release, observed, context)
    failure = stage.failure or _overdue(stage, observed, context)
    if failure is not None and in_progress:
        return Plan(failure=failure)
    if not in_progress and (stage.steps or stage.crashed):
        pause = _repair_pause(environment, context.now)
        if pause is None:
            return Plan(joins, waiting=(), live=False)
        if pause > 0:
            return Plan(joins, waiting=(f"the next attempt to repair in {pause:.0f} s",), look_again_s=pause)
    if stage.steps:
        return Plan(stage.steps + joins, stage.waiting, _HEALTH_AGAIN_S, kept=stage.kept)
    if joins:
        return Plan(joins, stage.waiting, _PROBE_AGAIN_S, kept=stage.kept)
    if stage.waiting:
        again = _PROBE_AGAIN_S if stage.probing else _HEALTH_AGAIN_S
        again = again if in_progress else _IDLE_AGAIN_S
        return Plan((), stage.waiting, again, kept=stage.kept)
    return _switch(environment, observed, context, release, in_progress=in_progress)


def _switch(
    environment: Environment, observed: Observed, context: Context, release: Release, *, in_progress: bool
) -> Plan:
    serving = {
        spec.name: tuple(
            container
            for container in current(spec, wanted_identity(spec, observed), observed.containers)
            if container.running
        )
        for spec in release.services
    }
    table = routing.routes_for(environment, release, serving, context.settings)
    if observed.routed != table:
        if not in_progress and _failed_by_itself(environment, context) and _serves(observed, serving):
            return Plan(waiting=(_A_PERSON,))
        cause = "the new containers are ready" if observed.routed else "it has no route yet"
        return Plan((Step(Verb.ROUTE, environment.slug, cause),), route=table)
    if in_progress and not observed.confirmed:
        if observed.starting_s > context.settings.limits.start_timeout_s:
            return Plan(failure=_NOT_ROUTED)
        return Plan((), ("Traefik to serve the new route",), _PROBE_AGAIN_S)
    return Plan(_tidy(release, observed), live=True)


def _failed_by_itself(environment: Environment, context: Context) -> bool:
    return environment.repairs > 0 and environment.failed_config == context.fingerprint


def _serves(observed: Observed, replacing: Mapping[str, tuple[Container, ...]]) -> bool:
    """Whether people are served by containers that others were meant to replace."""
    routes = observed.routed.routes if observed.routed is not None else ()
    routed = {name for route in routes for name in route.containers}
    new = {container.name for containers in replacing.values() for container in containers}
    return any(container.running and container.name in routed - new for container in observed.containers)


def _tidy(release: Release, observed: Observed) -> tuple[Step, ...]:
    keep = {
        container.id
        for spec in release.services
        for container in current(spec, wanted_identity(spec, observed), observed.containers)[: spec.replicas]
    }
    old = [container for container in observed.containers if container.id not in keep]
    if old:
        return _removals(old, "replaced")
    unused = sorted(set(observed.networks) - set(release.networks))
    if unused:
        return _network_removals(tuple(unused), observed, "no service uses it")
    wanted = {spec.image for spec in release.services}
    tags = tuple(sorted(set(observed.own_images) - wanted))
    return (Step(Verb.UNTAG, f"{len(tags)} image tags", "of an older revision", tags),) if tags else ()


def _joins(release: Release, observed: Observed, context: Context) -> tuple[Step, ...]:
    if not context.settings.traefik.managed:
        return ()
    absent = tuple(
        name
        for name in rollout.networks_to_join(release)
        if name not in observed.edge_networks and name in observed.networks
    )
    return tuple(Step(Verb.JOIN, name, "Traefik is not in it", (name,)) for name in absent)


def _nothing_good(environment: Environment, observed: Observed, context: Context) -> Plan:
    """The wanted revision failed and there is no earlier one: say so at the URL, keep the pieces for debugging."""
    table = routing.waiting_table(environment, context.settings)
    if observed.routed != table:
        return Plan((Step(Verb.ROUTE, environment.slug, "nothing of it can serve"),), route=table)
    looping = [container for container in observed.containers if container.state is ContainerState.RESTARTING]
    cause = "it exits again and again"
    return Plan(tuple(Step(Verb.STOP, container.name, cause, (container.id,)) for container in looping), live=True)


def _asleep(environment: Environment, observed: Observed, context: Context) -> Plan:
    table = routing.waiting_table(environment, context.settings)
    if observed.routed != table:
        return Plan((Step(Verb.ROUTE, environment.slug, "it goes to sleep"),), route=table)
    awake = [
        container
        for container in observed.containers
        if container.state in (ContainerState.RUNNING, ContainerState.RESTARTING, ContainerState.PAUSED)
    ]
    turn = rollout.last_in_line(observed.release, awake)
    return Plan(
        tuple(Step(Verb.STOP, container.service, "sleep was asked for", (container.id,)) for container in turn),
        live=not awake,
    )


def _absent(environment: Environment, observed: Observed) -> Plan:
    cause = "the environment is being removed"
    if observed.routed is not None:
        return Plan((Step(Verb.UNROUTE, environment.slug, cause),))
    if observed.containers:
        return Plan(_removals(list(observed.containers), cause))
    if observed.networks:
        return Plan(_network_removals(observed.networks, observed, cause))
    steps = [Step(Verb.REMOVE_VOLUME, volume, cause, (volume,)) for volume in observed.volumes]
    if observed.own_images:
        count = f"{len(observed.own_images)} image tags"
        steps.append(Step(Verb.UNTAG, count, cause, observed.own_images))
    if observed.checkout is not None or observed.has_files:
        steps.append(Step(Verb.REMOVE_CHECKOUT, environment.slug, cause))
    return Plan(tuple(steps) or (Step(Verb.FORGET, environment.slug, cause),))


def _removals(containers: list[Container], cause: str) -> tuple[Step, ...]:
    return tuple(Step(Verb.REMOVE, container.name, cause, (container.id,)) for container in containers)


def _network_removals(networks: tuple[str, ...], observed: Observed, cause: str) -> tuple[Step, ...]:
    joined = tuple(name for name in networks if name in observed.edge_networks)
    if joined:
        return tuple(Step(Verb.LEAVE, name, cause, (name,)) for name in joined)
    return tuple(Step(Verb.REMOVE_NETWORK, name, cause, (name,)) for name in networks)


def _overdue(stage: rollout.Stage, observed: Observed, context: Context) -> Failure | None:
    limit = context.settings.limits.start_timeout_s
    if not stage.waiting or observed.starting_s <= limit:
        return None
    return Failure(
        code="not-ready-in-time",
        message=f"Not ready after {limit:.0f} s: still waiting for {', '.join(stage.waiting)}.",
        hint="Look at `butai logs`; a service must listen on 0.0.0.0 at its container port, not on 127.0.0.1.",
        service=stage.slowest,
    )


def _repair_pause(environment: Environment, now: datetime) -> float | None:
    """Seconds until crashed containers may be started again; None when it was tried often enough."""
    if environment.repairs >= MAX_REPAIRS:
        return None
    if environment.repaired_at is None:
        return 0.0
    due = environment.repaired_at.timestamp() + 2.0 ** (environment.repairs + 1)
    return max(0.0, due - now.timestamp())
