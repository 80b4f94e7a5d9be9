"""Route: a hostname and where its requests go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.model.names import Hostname, Revision, Slug

REVISION_HEADER = "X-Butai-Revision"  # on every response of an environment: the revision it was routed for
ROUTE_HEADER = "X-Butai-Route"  # on the probe only: fingerprint of the file that Traefik answers by
PROBE_PATH = "/.well-known/butai"  # answered by Traefik itself: asking never reaches an application


class Backend(StrEnum):
    """Who answers: containers of the environment, or the agent with a page that says why not."""

    CONTAINERS = "containers"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Route:
    hostname: Hostname
    service: str
    port: int
    containers: tuple[str, ...]  # container names, unique on the engine; addresses where Traefik is not ours


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes of one environment. With Backend.AGENT the routes' containers are empty."""

    slug: Slug
    backend: Backend
    revision: Revision | None
    routes: tuple[Route, ...]
