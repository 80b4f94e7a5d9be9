"""Where the time of a deployment goes: a stopwatch for each environment, until its record is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from agent.model.deployment import Deployment
from agent.model.names import Slug
from agent.runtime.ports import Clock

LOOK = "look"  # asking git, Docker and Traefik what there is, and planning
WAIT = "wait"  # between looks: for containers to become ready, or for a turn


@dataclass(slots=True)
class _Watch:
    deployment: int | None  # None while only a fetch can tell whether there will be one
    since: float  # monotonic
    spent: dict[str, float] = field(default_factory=dict)


class Timings:
    """Seconds by part. Lost with the process, like all that is known of work in progress."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._watches: dict[Slug, _Watch] = {}

    def lap(self, slug: Slug, deployment: int | None, part: str) -> None:
        """What passed since the last lap went into `part`; the first one of a deployment only starts the watch."""
        now = self._clock.monotonic()
        with self._lock:
            watch = self._of(slug, deployment, now)
            if now > watch.since:
                watch.spent[part] = watch.spent.get(part, 0.0) + now - watch.since
            watch.since = now

    def add(self, slug: Slug, deployment: int | None, seconds: Mapping[str, float]) -> None:
        """What passed since the last lap, measured by whoever did it."""
        now = self._clock.monotonic()
        with self._lock:
            watch = self._of(slug, deployment, now)
            watch.since = now
            for part, spent_s in seconds.items():
                watch.spent[part] = watch.spent.get(part, 0.0) + spent_s

    def onto(self, deployment: Deployment) -> dict[str, float]:
        """What its record should say from now on: what it says already, and what was spent since. Counted once."""
        total = dict(deployment.timings)
        with self._lock:
            watch = self._watches.get(deployment.slug)
            spent = watch.spent if watch is not None and watch.deployment == deployment.id else {}
            for part, spent_s in spent.items():
                total[part] = round(total.get(part, 0.0) + spent_s, 4)
            spent.clear()
        return total

    def forget(self, slug: Slug) -> None:
        """Whatever comes next is another deployment."""
        with self._lock:
            self._watches.pop(slug, None)

    def _of(self, slug: Slug, deployment: int | None, now: float) -> _Watch:
        watch = self._watches.get(slug)
        if watch is None or watch.deployment not in (None, deployment):
            watch = self._watches[slug] = _Watch(deployment, now)
        watch.deployment = deployment
        return watch
