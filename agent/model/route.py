"""Route: a hostname and where its requests go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.model.names import Hostname, Revision, Slug


class Backend(StrEnum):
    """Who answers: containers of the environment, or the agent with a page that says why not."""

    CONTAINERS = "containers"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Route:
    hostname: Hostname
    service: str
    port: int
    containers: tuple[str, ...]  # container names: unique on the engine, resolved by its DNS


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes of one environment. With Backend.AGENT the routes' containers are empty."""

    slug: Slug
    backend: Backend
    revision: Revision | None
    routes: tuple[Route, ...]
