"""Draining: how long a container that no route names any more is kept for what people still have open with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.model.observed import Container, Drain, Observed
from agent.model.release import Release
from agent.model.route import RouteTable
from agent.planning.identity import current

# A request that was just being passed on when the route was switched has no connection yet.
SETTLE_S = 0.1
_LONGEST_LOOK_S = 2.0  # Traefik lets go of idle connections after this long (planning/routing)


@dataclass(frozen=True, slots=True)
class Leaving:
    """Which of the replaced containers go now, and what is waited for with the others."""

    due: tuple[Container, ...]
    waiting: tuple[str, ...] = ()
    look_again_s: float | None = None


def is_routed(container: Container, table: RouteTable | None) -> bool:
    """Whether Traefik's file names the container, by its name or by an address."""
    named = {name for route in table.routes for name in route.containers} if table is not None else set()
    return not named.isdisjoint((container.name, *container.addresses.values()))


def leaving(release: Release, observed: Observed) -> tuple[Container, ...]:
    """Running containers that people may still be connected to, though the route leads to others."""
    internal = {
        spec.name
        for spec in release.services
        if spec.name != release.entry_service and not (spec.public and spec.ports)
    }
    wanted = {one.id for spec in release.services for one in current(spec, observed)[: spec.replicas]}
    return tuple(
        container
        for container in observed.containers
        if container.running
        and container.id not in wanted
        and container.service not in internal
        and not is_routed(container, observed.routed)
    )


def split(old: Sequence[Container], observed: Observed, *, limit_s: float) -> Leaving:
    """Those that nobody has anything open with go, and those whose time is over."""
    due = tuple(container for container in old if _is_over(observed.draining.get(container.id), limit_s))
    kept = [container for container in old if container not in due]
    if not kept:
        return Leaving(due)
    longest_s = max(observed.draining[container.id].for_s for container in kept)
    again_s = min(max(longest_s, SETTLE_S), _LONGEST_LOOK_S, max(limit_s - longest_s, SETTLE_S))
    return Leaving(due, tuple(_words(container, observed.draining[container.id]) for container in kept), again_s)


def _is_over(drain: Drain | None, limit_s: float) -> bool:
    return drain is None or drain.for_s >= limit_s or (drain.connections == 0 and drain.for_s >= SETTLE_S)


def _words(container: Container, drain: Drain) -> str:
    if drain.connections is None:
        return f"what may still be open with {container.name}"
    if drain.connections == 0:
        return f"what is on its way to {container.name}"
    return f"{drain.connections} connection{'s' * (drain.connections != 1)} to {container.name} to end"
