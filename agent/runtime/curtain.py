"""Shows the agent's page where a route leads to nothing that runs: after a reboot, until an environment's turn comes.

Environments are brought back a few at a time, and Traefik answers a bare 502 for all others meanwhile. So this is done
for all of them at once, when the agent starts and when Docker is back: one list of containers, one rename for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError
from agent.model.environment import Wanted
from agent.model.labels import INSTANCE, SLUG
from agent.model.names import Slug
from agent.model.observed import Container
from agent.model.route import RouteTable
from agent.planning import routing
from agent.store import Store

log = structlog.get_logger(__name__)


class Listing(Protocol):
    def containers(self, filters: Mapping[str, str]) -> tuple[Container, ...]: ...


class Routes(Protocol):
    def read(self, slug: Slug) -> RouteTable | None: ...

    def write(self, table: RouteTable) -> None: ...


class Curtain:
    """`nudge` has an environment looked at: whoever brought it up a moment ago finds its route gone, and writes it."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        engine: Listing,
        edge: Routes,
        nudge: Callable[[Slug], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._edge = edge
        self._nudge = nudge

    def fall(self) -> None:
        """Look once. What is in the way is logged: the plans of the environments write their routes as well."""
        try:
            fallen = self._fall()
        except AgentError as error:
            log.warning("routes that lead nowhere stay", problem=str(error))
            return
        if fallen:
            log.info("pages shown where nothing runs", environments=fallen)

    def _fall(self) -> list[Slug]:
        settings = self._settings()
        found: dict[str, list[Container]] = {}
        for container in self._engine.containers({INSTANCE: settings.instance, SLUG: ""}):
            found.setdefault(container.label_slug, []).append(container)
        fallen = []
        for environment in self._store.environments.all():
            slug = environment.slug
            page, table = routing.waiting_table(environment, settings), self._edge.read(slug)
            if environment.wanted is not Wanted.RUNNING or table is None or table == page:
                continue
            if routing.leads_nowhere(table, found.get(slug, ())):
                self._edge.write(page)
                self._nudge(slug)
                fallen.append(slug)
        return fallen
