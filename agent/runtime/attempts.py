"""What only this process knows of deployments in progress: what it started, and what it saw die.

Lost with the process on purpose: the next start looks at the world and goes on from there.
"""

from __future__ import annotations

from threading import Lock

from agent.model.names import Slug
from agent.runtime.ports import Clock


class Attempts:
    """Per environment: containers started, exits counted, and since when containers are starting."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._deployments: dict[Slug, int] = {}
        self._started: dict[Slug, set[str]] = {}
        self._deaths: dict[str, int] = {}
        self._since: dict[Slug, float] = {}

    def turn_to(self, slug: Slug, deployment: int) -> None:
        """From now on it is about this deployment; what an earlier one started, and somebody stopped, failed nobody."""
        with self._lock:
            if self._deployments.get(slug) != deployment:
                self._forget(slug)
                self._deployments[slug] = deployment

    def begin(self, slug: Slug) -> None:
        """Forget everything about earlier attempts."""
        with self._lock:
            self._forget(slug)

    def started(self, slug: Slug, container: str) -> None:
        with self._lock:
            self._started.setdefault(slug, set()).add(container)
            self._since.setdefault(slug, self._clock.monotonic())

    def waiting(self, slug: Slug) -> None:
        """The deployment waits for containers: its time runs, also when an earlier process started them."""
        with self._lock:
            self._since.setdefault(slug, self._clock.monotonic())

    def died(self, container: str) -> None:
        """Count an exit of a container that this process started; of others nothing is known."""
        with self._lock:
            if any(container in mine for mine in self._started.values()):
                self._deaths[container] = self._deaths.get(container, 0) + 1

    def of(self, slug: Slug) -> tuple[frozenset[str], dict[str, int], float]:
        """Started containers, exits of each, and seconds since the first start."""
        with self._lock:
            started = frozenset(self._started.get(slug, ()))
            deaths = {container: self._deaths[container] for container in started if container in self._deaths}
            since = self._since.get(slug)
            return started, deaths, 0.0 if since is None else self._clock.monotonic() - since

    def _forget(self, slug: Slug) -> None:
        for container in self._started.pop(slug, ()):
            self._deaths.pop(container, None)
        self._since.pop(slug, None)
        self._deployments.pop(slug, None)
