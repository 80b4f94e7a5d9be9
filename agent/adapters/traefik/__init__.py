"""Traefik: its container, its folder of routes, and what it answers.

What to write and where everything is was decided in planning; this does it. It never sees the
containers that it routes to, and asks Traefik without reaching them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agent.adapters.traefik import certificates
from agent.adapters.traefik.folder import Folder
from agent.adapters.traefik.probe import Probe
from agent.config import Settings
from agent.model.edge import AcmeFiles, ContainerSpec, NetworkSpec
from agent.model.names import Slug
from agent.model.route import ROUTE_HEADER, Backend, RouteTable

__all__ = ["EdgeEngine", "Layout", "Routing", "Traefik"]

_BASE = ""  # key of the file that holds what is true for all environments
_REMEMBERED = 8  # files of one environment that lead to the same places, as pushes that follow each other write them


@dataclass(frozen=True, slots=True)
class _Written:
    """What an environment's file says, and by which fingerprints Traefik answers while it leads to the same places."""

    table: RouteTable
    settings: Settings
    alike: tuple[str, ...]

    def leads_as(self, table: RouteTable, settings: Settings) -> bool:
        same = (self.table.backend, self.table.routes) == (table.backend, table.routes)
        return same and self.settings is settings


class EdgeEngine(Protocol):
    """What Traefik's container needs of the engine."""

    def ensure_network(self, spec: NetworkSpec) -> None: ...

    def ensure_container(self, spec: ContainerSpec) -> None: ...

    def joined(self, container: str) -> frozenset[str]:
        """Names of the networks that the container is attached to; empty when there is no such container."""
        ...


class Routing(Protocol):
    """Routes in Traefik's words and back: `planning/routing.py`. A module is an implementation of this."""

    def render(self, table: RouteTable, settings: Settings) -> dict[str, Any]: ...

    def parse(self, slug: Slug, document: Mapping[str, Any], settings: Settings) -> RouteTable: ...

    def fingerprint(self, table: RouteTable, settings: Settings) -> str: ...

    def base_routes(
        self, settings: Settings, certificate: tuple[str, str] | None, *, attempt: str
    ) -> dict[str, Any]: ...


class Layout(Protocol):
    """Which network, container and addresses: `planning/edge.py`."""

    def edge_network(self, settings: Settings) -> NetworkSpec: ...

    def acme_folder(self, settings: Settings) -> str: ...

    def edge_container(
        self,
        settings: Settings,
        *,
        routes_dir: Path,
        certificates_dir: Path,
        acme_files: AcmeFiles | None,
        user: str,
    ) -> ContainerSpec: ...

    def container_name(self, settings: Settings) -> str: ...

    def probe_address(self, settings: Settings) -> tuple[str, int]: ...


class Traefik:
    """The edge. `settings` is asked at each call: it changes while the agent runs."""

    def __init__(
        self, settings: Callable[[], Settings], *, engine: EdgeEngine, routing: Routing, layout: Layout
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._routing = routing
        self._layout = layout
        self._probe = Probe()
        self._written: dict[Slug, _Written] = {}

    def ensure(self) -> bool:
        """Make Traefik run as configured; whether its container is a new one, which has to join its networks again.

        The network comes first: the agent listens on its gateway, also while the container cannot start.
        Does not wait until Traefik answers. Raises ConfigError when the certificate cannot be used.
        """
        settings = self._settings()
        routes = self._routes()
        if not settings.traefik.managed:
            routes.prepare()
            self._put_base(routes, None)
            return False
        self._engine.ensure_network(self._layout.edge_network(settings))
        keys = self._folder("certificates")
        for folder in (routes, keys):
            folder.prepare()
        pair = certificates.copy_pair(settings, keys)
        acme_files = certificates.acme_files(
            settings, keys, folder=settings.state_dir / "edge" / "acme" / self._layout.acme_folder(settings)
        )
        attempt = certificates.attempt(settings, acme_files)
        if not self._put_base(routes, pair, attempt=attempt):  # else Traefik may still be reading by the old names
            used = {*(pair or ()), *((acme_files.token, acme_files.authority) if acme_files else ())}
            for path in keys.path.iterdir():
                if path.name not in used:
                    path.unlink(missing_ok=True)
        before = self.joined()
        self._engine.ensure_container(
            self._layout.edge_container(
                settings,
                routes_dir=routes.path,
                certificates_dir=keys.path,
                acme_files=acme_files,
                user=f"{os.getuid()}:{os.getgid()}",
            )
        )
        return not before or not before <= self.joined()

    def token(self) -> str:
        """What Traefik says when it asks the agent for credentials; "" when it has no reason to ask."""
        return certificates.read_token(self._folder("certificates"))

    @property
    def container(self) -> str:
        """Name of Traefik's container; "" when somebody else runs it."""
        settings = self._settings()
        return self._layout.container_name(settings) if settings.traefik.managed else ""

    def joined(self) -> frozenset[str]:
        """Networks that Traefik is attached to, now; none where it is not ours to join."""
        name = self.container
        return self._engine.joined(name) if name else frozenset()

    def read(self, slug: Slug) -> RouteTable | None:
        """What the environment's file says; None without one.

        A file that we would write differently today (by hand, by an older agent, under other settings)
        reads as a table without routes, which equals no table that anybody wants.
        """
        settings = self._settings()
        with contextlib.suppress(ValueError):
            document = self._routes().read(slug)
            if document is None:
                return None
            table = self._routing.parse(slug, document, settings)
            if self._routing.render(table, settings) == document:
                return table
        return RouteTable(slug, Backend.AGENT, None, ())

    def write(self, table: RouteTable) -> None:
        """Validate, then replace the environment's file in one rename."""
        settings = self._settings()
        self._routes().write(table.slug, self._routing.render(table, settings))
        before = self._written.get(table.slug)
        alike = before.alike if before is not None and before.leads_as(table, settings) else ()
        alike = (*alike, self._routing.fingerprint(table, settings))[-_REMEMBERED:]
        self._written[table.slug] = _Written(table, settings, alike)

    def remove(self, slug: Slug) -> None:
        """Take the environment's routes away; gone already is fine."""
        self._routes().remove(slug)
        self._written.pop(slug, None)

    def confirms(self, table: RouteTable) -> bool:
        """Whether Traefik answers by this table's file, or by one before it that leads to the same places.

        A push that changes no route need not wait until Traefik has seen the file of the push before. Never reaches the
        containers.
        """
        if not table.routes:
            return False
        settings = self._settings()
        address, secure = self._layout.probe_address(settings), settings.scheme == "https"
        _, headers = self._probe.ask(address, table.routes[0].hostname, secure=secure)
        answers = headers.get(ROUTE_HEADER)
        written = self._written.get(table.slug)
        if written is not None and answers in written.alike and written.leads_as(table, settings):
            return True
        return answers == self._routing.fingerprint(table, settings)

    def answers(self) -> bool:
        """Whether Traefik answers at all, whatever it says. Waits a second at most; never reaches the containers."""
        settings = self._settings()
        address, secure = self._layout.probe_address(settings), settings.scheme == "https"
        status, _ = self._probe.ask(address, settings.hostname(Slug("butai")), secure=secure)
        return status != 0

    def _routes(self) -> Folder:
        traefik = self._settings().traefik
        if not traefik.managed and traefik.directory is not None:
            return self._folder("routes", path=traefik.directory)
        return self._folder("routes")

    def _folder(self, name: str, *, path: Path | None = None) -> Folder:
        settings = self._settings()
        edge_dir = settings.state_dir / "edge"
        return Folder(path or edge_dir / name, staging=edge_dir / "staging", prefix=settings.instance)

    def _put_base(self, routes: Folder, certificate: tuple[str, str] | None, *, attempt: str = "") -> bool:
        """Write what holds for all environments; whether that changed anything."""
        document = self._routing.base_routes(self._settings(), certificate, attempt=attempt)
        with contextlib.suppress(ValueError):
            if routes.read(_BASE) == document:
                return False
        routes.write(_BASE, document)
        return True
