"""Wanted against observed: the next steps for one environment, each with its cause.

Pure: the same snapshot gives the same plan. A plan holds only steps that may run side by side now;
what comes after is found by looking again, so a crash at any point continues where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.config import Settings
from agent.model.deployment import Deployment, Failure
from agent.model.environment import Environment, Wanted
from agent.model.observed import Container, ContainerState, Observed
from agent.model.release import Release, ServiceSpec
from agent.planning import drain, making, rollout, routing
from agent.planning.identity import current
from agent.planning.images import delta_tag
from agent.planning.plan import Plan, Step, Verb

MAX_REPAIRS = 5  # crashed containers are started again this often, then a person must act
CRASHED = "crashed"  # the code of the failure that is left then
_PROBE_AGAIN_S = (0.015, 0.25)  # nobody tells when a port is listened to, or Traefik has read a file
_HEALTH_AGAIN_S = (0.1, 1.0)  # the engine tells; this is for when it does not
_PATIENCE = 0.05  # of the time that it took so far: to look again that much later is noticed by nobody
_IDLE_AGAIN_S = 5.0
_SOMEBODY = "somebody to push or to deploy again"
_A_PERSON = f"{_SOMEBODY}: the last attempt failed"
QUIET_S = 5.0  # after the last sync, before images are built that lag behind
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


def first(environment: Environment) -> Plan | None:
    """What comes before any look at the world; on the way of a push, a look that says nothing costs milliseconds."""
    if environment.wanted is not Wanted.RUNNING or not environment.needs_fetch:
        return None
    if environment.pinned and environment.revision is not None:
        return None
    return Plan((Step(Verb.FETCH, environment.branch, "somebody asked, or a push was seen"),))


def plan(environment: Environment, deployment: Deployment | None, observed: Observed, context: Context) -> Plan:
    """What to do next so that the world matches the wish; empty when it does."""
    before = first(environment)
    if before is not None:
        return before
    if environment.wanted is Wanted.ABSENT:
        return _absent(environment, observed)
    if environment.wanted is Wanted.ASLEEP:
        return _asleep(environment, observed, context)
    return _running(environment, deployment, observed, context)


def early(environment: Environment, deployment: Deployment, observed: Observed, context: Context) -> Plan | None:
    """What a deployment does before it starts anything; None when that is done. Half a look at the world is enough."""
    target = environment.target(context.fingerprint)
    if environment.wanted is not Wanted.RUNNING or environment.project not in context.settings.projects or not target:
        return None
    steps = making.prepare(target, observed, follows=_follows(environment, deployment))
    return Plan(steps) if steps else None


def _running(environment: Environment, deployment: Deployment | None, observed: Observed, context: Context) -> Plan:
    if environment.project not in context.settings.projects:
        return Plan(waiting=("its project to come back into the settings",))
    target = environment.target(context.fingerprint)
    if target is None:
        return _nothing_good(environment, observed, context)
    release = observed.release
    steps = making.make(target, observed, follows=_follows(environment, deployment))
    if release is None or steps:
        return Plan(steps) if deployment is not None else _by_itself(steps, environment, observed, context)
    return _start_and_route(environment, deployment, observed, context, release)


def _follows(environment: Environment, deployment: Deployment | None) -> bool:
    """Whether the worktree may wait until the target is live. What failed, or never was live, is looked into there."""
    return environment.deployed_revision is not None and (deployment is None or deployment.failure is None)


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
        if pause != 0.0 and (page := _page(environment, observed, context)):
            return page
        if pause is None:
            return Plan(joins, waiting=(_SOMEBODY,), failure=_crashed(stage.steps, observed))
        if pause > 0:
            return Plan(joins, waiting=(f"the next attempt to repair in {pause:.0f} s",), look_again_s=pause)
    if stage.steps:
        return Plan(stage.steps + joins, stage.waiting, kept=stage.kept)
    if joins:
        return Plan(joins, stage.waiting, kept=stage.kept)
    if stage.waiting:
        again = _patience(observed, _PROBE_AGAIN_S if stage.probing else _HEALTH_AGAIN_S)
        return Plan((), stage.waiting, again if in_progress else _IDLE_AGAIN_S, kept=stage.kept)
    return _switch(environment, observed, context, release, in_progress=in_progress)


def _page(environment: Environment, observed: Observed, context: Context) -> Plan | None:
    """Show the agent's page in place of a route to what does not run; None where the route is fine, or the page."""
    table = routing.waiting_table(environment, context.settings)
    if observed.routed in (None, table) or not routing.leads_nowhere(observed.routed, observed.containers):
        return None
    return Plan((Step(Verb.ROUTE, environment.slug, "nothing behind its route runs"),), route=table)


def _patience(observed: Observed, bounds: tuple[float, float]) -> float:
    """Seconds until the next look at what starts: a look costs as much as a health check, and some take minutes."""
    return min(max(observed.starting_s * _PATIENCE, bounds[0]), bounds[1])


def _crashed(steps: tuple[Step, ...], observed: Observed) -> Failure:
    """What the repairs that are used up did not mend."""
    targets = {target for step in steps for target in step.targets}
    dead = [each for each in observed.containers if each.id in targets and not each.running]
    words = [f"{each.service} {each.state}{'' if each.exit_code is None else f' {each.exit_code}'}" for each in dead]
    return Failure(
        code=CRASHED,
        message=f"{', '.join(words) or 'It crashed'}; five restarts did not help.",
        hint="Its last lines say why. Push a correction, or try once more with `butai deploy`.",
        service=dead[0].service if dead else "",
    )


def _switch(
    environment: Environment, observed: Observed, context: Context, release: Release, *, in_progress: bool
) -> Plan:
    serving = {
        spec.name: tuple(container for container in current(spec, observed) if container.running)
        for spec in release.services
    }
    table = routing.routes_for(environment, release, serving, context.settings)
    if observed.routed != table:
        if not in_progress and _failed_by_itself(environment, context) and _serves(observed, serving):
            return Plan(waiting=(_A_PERSON,))
        if observed.confirmed and observed.routed is not None and observed.routed.routes == table.routes:
            cause = "the same containers serve another revision"
            steps = (Step(Verb.ROUTE, environment.slug, cause), *making.worktree(release, observed))
            return Plan(steps, route=table, live=True)
        cause = "the new containers are ready" if observed.routed else "it has no route yet"
        return Plan((Step(Verb.ROUTE, environment.slug, cause),), route=table)
    if in_progress and not observed.confirmed:
        if observed.starting_s > context.settings.limits.start_timeout_s:
            return Plan(failure=_NOT_ROUTED)
        return Plan((), ("Traefik to serve the new route",), _PROBE_AGAIN_S[0])
    return _tidy(release, observed, context)


def _failed_by_itself(environment: Environment, context: Context) -> bool:
    return environment.repairs > 0 and environment.failed_config == context.fingerprint


def _serves(observed: Observed, replacing: Mapping[str, tuple[Container, ...]]) -> bool:
    """Whether people are served by containers that others were meant to replace."""
    routes = observed.routed.routes if observed.routed is not None else ()
    routed = {name for route in routes for name in route.containers}
    new = {container.name for containers in replacing.values() for container in containers}
    return any(container.running and container.name in routed - new for container in observed.containers)


def _tidy(release: Release, observed: Observed, context: Context) -> Plan:
    """The target is live; the worktree follows, and what it replaced goes, one kind of thing after the other."""
    if checkout := making.worktree(release, observed):
        return Plan(checkout, live=True)
    keep = {container.id for spec in release.services for container in current(spec, observed)[: spec.replicas]}
    old = [container for container in observed.containers if container.id not in keep]
    leaving = drain.split(old, observed, limit_s=context.settings.limits.drain_timeout_s)
    if old:
        return Plan(_removals(leaving.due, "replaced"), leaving.waiting, leaving.look_again_s, live=True)
    unused = tuple(sorted(set(observed.networks) - set(release.networks)))
    if unused:
        return Plan(_network_removals(unused, observed, "no service uses it"), live=True)
    behind = [
        spec
        for spec in release.services
        if spec.build is not None and spec.image not in observed.images and spec.image not in observed.hopeless
    ]
    if behind and not observed.is_quiet:
        return Plan(look_again_s=QUIET_S, live=True)
    if behind:
        return Plan(tuple(_catch_up(spec, release, observed) for spec in behind), live=True)
    if observed.own_images is None:
        return Plan(look_again_s=0.0, live=True)
    tags = _unused_tags(release, observed.own_images, observed)
    untag = (Step(Verb.UNTAG, f"{len(tags)} image tags", "of an older revision", tags),) if tags else ()
    return Plan(untag, live=True)


def _catch_up(spec: ServiceSpec, release: Release, observed: Observed) -> Step:
    holding = "run a delta image of" if delta_tag(spec.image) in observed.images else "were synced to"
    return Step(Verb.CATCH_UP, spec.name, f"its containers {holding} {release.revision.short}", (spec.name,))


def _unused_tags(release: Release, own: Iterable[str], observed: Observed) -> tuple[str, ...]:
    """Tags of older revisions; one that is the last name of an image in use stays, for the engine refuses."""
    in_use = {container.image_id for container in observed.containers}
    deltas = (delta_tag(spec.image) for spec in release.services)
    wanted = {spec.image for spec in release.services} | {tag for tag in deltas if observed.images.get(tag) in in_use}
    kept = {observed.images.get(tag) for tag in wanted}
    return tuple(
        tag
        for tag in sorted(set(own) - wanted)
        if observed.images.get(tag) in kept or observed.images.get(tag) not in in_use
    )


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
        return Plan(_removals(observed.containers, cause))
    if observed.networks:
        return Plan(_network_removals(tuple(observed.networks), observed, cause))
    steps = [Step(Verb.REMOVE_VOLUME, volume, cause, (volume,)) for volume in observed.volumes]
    if observed.own_images:
        count = f"{len(observed.own_images)} image tags"
        steps.append(Step(Verb.UNTAG, count, cause, observed.own_images))
    if observed.checkout is not None or observed.has_files:
        steps.append(Step(Verb.REMOVE_CHECKOUT, environment.slug, cause))
    return Plan(tuple(steps) or (Step(Verb.FORGET, environment.slug, cause),))


def _removals(containers: Iterable[Container], cause: str) -> tuple[Step, ...]:
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
