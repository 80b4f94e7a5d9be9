"""Since when containers are out of the route, and who is still connected to them.

Lost with the process: the next one waits from its own first look, which only keeps an old container longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from agent.model.names import Slug
from agent.model.observed import Container, Drain
from agent.runtime.ports import Clock, Engine


class Drains:
    """May be asked from any thread."""

    def __init__(self, *, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = Lock()
        self._since: dict[Slug, dict[str, float]] = {}

    def look(self, slug: Slug, leaving: Sequence[Container], *, containers: Sequence[Container]) -> dict[str, Drain]:
        """One entry for each of `leaving`. Connections among the environment's own `containers` do not count."""
        own = frozenset(address for container in containers for address in container.addresses.values())
        now = self._clock.monotonic()
        with self._lock:
            before = self._since.pop(slug, {})
            since = {container.id: before.get(container.id, now) for container in leaving}
            if since:
                self._since[slug] = since
        return {
            identifier: Drain(self._engine.visitors(identifier, besides=own), now - begun)
            for identifier, begun in since.items()
        }
