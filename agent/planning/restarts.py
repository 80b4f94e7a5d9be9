"""`depends_on: restart: true`: who is restarted after a push restarted or replaced what it depends on.

Each once, in the order of what depends on what, and only when everything is ready: a service that came up in this
deployment found what it needs, so it is never restarted for it.
"""

from __future__ import annotations

from agent.model.observed import Observed
from agent.model.release import Release, ServiceSpec
from agent.planning.drain import is_routed
from agent.planning.identity import current, outdated
from agent.planning.plan import Step, Verb


def due(release: Release, observed: Observed) -> tuple[Step, ...]:
    """Restarts that may be done now, side by side.

    What the new container replaced goes first, else the restarted service might find that one under the same name. One
    that people still reach stays until the route is switched.
    """
    begun = {
        spec.name for spec in release.services if any(one.id in observed.started for one in current(spec, observed))
    }
    asking = {spec.name: _why(spec, begun) for spec in release.services if not spec.one_shot and spec.name not in begun}
    asking = {name: services for name, services in asking.items() if services and release.service(name).replicas}
    ready = {name: services for name, services in asking.items() if not _above(name, release) & asking.keys()}
    replaced = tuple(
        Step(Verb.STOP, old.name, f"{name} is restarted for what replaced it", (old.id,))
        for name, services in ready.items()
        for service in services
        for old in outdated(release.service(service), observed)
        if old.running and not is_routed(old, observed.routed)
    )
    return tuple({step.targets: step for step in replaced}.values()) or tuple(
        _restart(release.service(name), services, observed) for name, services in ready.items()
    )


def _why(spec: ServiceSpec, begun: set[str]) -> tuple[str, ...]:
    return tuple(need.service for need in spec.depends_on if need.restart and need.service in begun)


def _above(name: str, release: Release) -> set[str]:
    """Everything whose restart restarts this service; Compose refuses circles."""
    direct = {need.service for need in release.service(name).depends_on if need.restart}
    known = {spec.name for spec in release.services}
    return direct.union(*(_above(other, release) for other in direct & known))


def _restart(spec: ServiceSpec, services: tuple[str, ...], observed: Observed) -> Step:
    targets = tuple(container.id for container in current(spec, observed)[: spec.replicas])
    return Step(Verb.RESTART, spec.name, f"depends on {', '.join(services)} with `restart: true`", targets)
