"""Starting a stack: which container may start now, which is waited for, and when it is over.

Start order is that of `depends_on` with its conditions; what does not depend on each other starts
side by side. A service that cannot run twice has its old container stopped first; all others start
beside the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from agent.model.deployment import Failure
from agent.model.observed import Container, ContainerState, Health, Observed
from agent.model.release import Condition, Release, ServiceSpec
from agent.planning import restarts
from agent.planning.identity import current, outdated
from agent.planning.plan import Step, Verb

MAX_DEATHS = 4  # a container that exits this often while it starts is in a crash loop


class Standing(Enum):
    """How far one service is."""

    IDLE = auto()  # has a container to start
    STARTING = auto()
    READY = auto()
    DONE = auto()  # ran to its end with exit status 0
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Stage:
    """What one look at a stack says."""

    steps: tuple[Step, ...] = ()
    waiting: tuple[str, ...] = ()
    probing: bool = False  # a port is waited for, not the engine's health check
    failure: Failure | None = None
    crashed: bool = False
    slowest: str = ""  # a service that is waited for
    kept: tuple[str, ...] = ()


def look(release: Release, observed: Observed, *, in_progress: bool) -> Stage:
    """Judge every service of the release. `in_progress`: a deployment is going on, so an exit is its failure."""
    mine = {spec.name: current(spec, observed)[: spec.replicas] for spec in release.services}
    standing = {
        spec.name: _standing(spec, mine[spec.name], release, observed, in_progress=in_progress)
        for spec in release.services
    }
    failed = [spec for spec in release.services if standing[spec.name] is Standing.FAILED]
    if failed:
        return Stage(failure=_failure(failed[0], mine[failed[0].name], release, observed), crashed=True)
    steps: list[Step] = []
    waiting: list[str] = []
    waited_for: list[str] = []
    probing = False
    for spec in release.services:
        if standing[spec.name] is Standing.IDLE:
            blockers = _blockers(spec, standing)
            if blockers:
                waiting += [f"{blocker} (needed by {spec.name})" for blocker in blockers]
            else:
                steps += _starts(spec, mine[spec.name], observed)
        elif standing[spec.name] is Standing.STARTING:
            waited_for.append(spec.name)
            waiting.append(_waiting_for(spec, release))
            probing = probing or not spec.has_healthcheck
    if in_progress and not steps and not waiting:
        steps += restarts.due(release, observed)
    kept = tuple(
        spec.name
        for spec in release.services
        if standing[spec.name] in (Standing.READY, Standing.DONE)
        and not any(container.id in observed.started for container in mine[spec.name])
    )
    return Stage(tuple(steps), tuple(waiting), probing, slowest=waited_for[0] if waited_for else "", kept=kept)


def last_in_line(release: Release | None, containers: Sequence[Container]) -> tuple[Container, ...]:
    """Those that nothing else running depends on: what may stop now."""
    if release is None:
        return tuple(containers)
    running = {container.service for container in containers}
    needed = {dependency.service for spec in release.services if spec.name in running for dependency in spec.depends_on}
    free = tuple(container for container in containers if container.service not in needed)
    return free or tuple(containers)


def routed_port(spec: ServiceSpec, release: Release) -> int | None:
    """The port at which people reach the service; None when they do not."""
    if spec.name == release.entry_service:
        return release.entry_port
    return spec.ports[0] if spec.public and spec.ports else None


def networks_to_join(release: Release) -> tuple[str, ...]:
    """Real names of the networks that Traefik needs: one for each service that people reach."""
    names: list[str] = []
    for spec in release.services:
        real = release.networks_of(spec.name)
        if routed_port(spec, release) is not None and real and not set(real) & set(names):
            names.append(real[0])
    return tuple(names)


def _standing(
    spec: ServiceSpec,
    containers: tuple[Container, ...],
    release: Release,
    observed: Observed,
    *,
    in_progress: bool,
) -> Standing:
    verdicts = {_verdict(spec, container, release, observed, in_progress=in_progress) for container in containers}
    for standing in (Standing.FAILED, Standing.IDLE, Standing.STARTING):
        if standing in verdicts:
            return standing
    return Standing.DONE if verdicts == {Standing.DONE} else Standing.READY


def _verdict(
    spec: ServiceSpec, container: Container, release: Release, observed: Observed, *, in_progress: bool
) -> Standing:
    if container.state in (ContainerState.CREATED, ContainerState.PAUSED):
        return Standing.IDLE
    if container.state in (ContainerState.EXITED, ContainerState.DEAD):
        return _exited(spec, container, release, observed, in_progress=in_progress)
    if in_progress and observed.deaths.get(container.id, 0) >= MAX_DEATHS:
        return Standing.FAILED
    if container.state is ContainerState.RESTARTING:
        return Standing.STARTING
    if container.health is Health.UNHEALTHY:
        return Standing.FAILED if in_progress else Standing.READY
    if container.health is Health.STARTING:
        return Standing.STARTING
    if spec.one_shot:
        return Standing.STARTING
    if in_progress and routed_port(spec, release) and container.id not in observed.listening:
        return Standing.STARTING
    return Standing.READY


def _exited(
    spec: ServiceSpec, container: Container, release: Release, observed: Observed, *, in_progress: bool
) -> Standing:
    """An exit with 0 is the end of a task; after a sleep or a reboot it is a service to start again."""
    started = container.id in observed.started
    if container.exit_code == 0:
        if spec.one_shot:
            return Standing.DONE
        if not in_progress:
            return Standing.IDLE if spec.name == release.entry_service else Standing.DONE
        if not started:
            return Standing.IDLE
        return Standing.FAILED if spec.name == release.entry_service else Standing.DONE
    return Standing.FAILED if started and in_progress else Standing.IDLE


def _blockers(spec: ServiceSpec, standing: dict[str, Standing]) -> list[str]:
    satisfied = {
        Condition.STARTED: (Standing.STARTING, Standing.READY, Standing.DONE),
        Condition.HEALTHY: (Standing.READY, Standing.DONE),
        Condition.COMPLETED: (Standing.DONE,),
    }
    return [
        dependency.service
        for dependency in spec.depends_on
        if dependency.service in standing and standing[dependency.service] not in satisfied[dependency.condition]
    ]


def _starts(spec: ServiceSpec, containers: tuple[Container, ...], observed: Observed) -> list[Step]:
    if spec.in_place:
        busy = [
            container
            for container in outdated(spec, observed)
            if container.state in (ContainerState.RUNNING, ContainerState.RESTARTING, ContainerState.PAUSED)
        ]
        if busy:
            cause = f"{spec.name} cannot run twice: it {spec.in_place}"
            return [Step(Verb.STOP, container.name, cause, (container.id,)) for container in busy]
    steps = []
    for container in containers:
        if container.state is ContainerState.PAUSED:
            steps.append(Step(Verb.UNPAUSE, container.name, "it is paused", (container.id,)))
        elif container.state in (ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD):
            cause = "it is new" if container.state is ContainerState.CREATED else container.status.lower()
            steps.append(Step(Verb.START, spec.name, cause, (container.id,)))
    return steps


def _waiting_for(spec: ServiceSpec, release: Release) -> str:
    if spec.one_shot:
        return f"{spec.name} to finish"
    if spec.has_healthcheck:
        return f"{spec.name} to become healthy"
    return f"{spec.name} to listen on port {routed_port(spec, release)}"


def _failure(spec: ServiceSpec, containers: tuple[Container, ...], release: Release, observed: Observed) -> Failure:
    worst = next(
        (
            container
            for container in containers
            if container.state in (ContainerState.EXITED, ContainerState.DEAD)
            or container.health is Health.UNHEALTHY
            or observed.deaths.get(container.id, 0) >= MAX_DEATHS
        ),
        containers[0],
    )
    if worst.health is Health.UNHEALTHY:
        return Failure(
            code="unhealthy",
            message=f"Service `{spec.name}` is unhealthy: its health check fails.",
            hint="Its last lines are below; try the health check's command with `butai exec`.",
            service=spec.name,
        )
    if observed.deaths.get(worst.id, 0) >= MAX_DEATHS:
        return Failure(
            code="crash-loop",
            message=f"Service `{spec.name}` exits again and again ({observed.deaths[worst.id]} times).",
            hint="Its last lines say why.",
            service=spec.name,
        )
    if worst.exit_code == 137:
        hint = "It was killed: most often it needs more memory than its limit."
    elif worst.exit_code == 0:
        hint = "The entry service must keep running; does its command end at once?"
    else:
        hint = "Its last lines say why; fix it and push again."
    return Failure(
        code="exited",
        message=f"Service `{spec.name}` exited with status {worst.exit_code}.",
        hint=hint,
        service=spec.name,
    )
