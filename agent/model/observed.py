"""Observed: one frozen snapshot of what the world holds for one environment, read just now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.model.change import Decision
from agent.model.names import Revision
from agent.model.release import Release
from agent.model.route import RouteTable


class ContainerState(StrEnum):
    """The engine's own words."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class Health(StrEnum):
    """The engine's verdict; NONE where the container has no health check."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Container:
    """One line of the engine's container list, decoded; never the fruit of an inspect."""

    id: str
    name: str
    service: str
    number: int
    state: ContainerState
    health: Health
    exit_code: int | None
    image_id: str
    created_at: int  # seconds since the epoch
    labels: Mapping[str, str]
    addresses: Mapping[str, str]  # network name -> IPv4 address, while running
    networks: Mapping[str, str] = field(default_factory=dict)  # name -> id of those it is in; "" before its first start
    status: str = ""  # the engine's sentence: "Up 3 minutes (healthy)"

    @property
    def running(self) -> bool:
        return self.state is ContainerState.RUNNING

    @property
    def label_slug(self) -> str:
        return self.labels.get("butai.slug", "")


@dataclass(frozen=True, slots=True)
class Network:
    """One line of the engine's list of networks."""

    id: str
    subnets: tuple[str, ...]  # IPv4


@dataclass(frozen=True, slots=True)
class Drain:
    """A container that no route names any more: who is still connected (None: cannot be told), and since when."""

    connections: int | None
    for_s: float


@dataclass(frozen=True, slots=True)
class Observed:
    """What one look at git, Docker and Traefik's folder found for one environment."""

    containers: tuple[Container, ...] = ()
    networks: Mapping[str, Network] = field(default_factory=dict)  # by name
    volumes: tuple[str, ...] = ()  # looked for only where nobody waits
    images: Mapping[str, str] = field(default_factory=dict)  # tag -> image id, of those that both releases name
    own_images: tuple[str, ...] | None = ()  # every tag that was built for this environment; None: not looked for
    release: Release | None = None  # of the target revision, if it was read already
    checkout: Revision | None = None  # what the worktree holds; None when there is none
    checkout_identity: str = ""  # another one each time that its folder was made anew; "" when nobody knows
    edited: Revision | None = None  # what people made of it: that stays in the worktree, even when it failed
    holds_edit: bool = False  # whether an edit is in the worktree, be it one that is not wanted any more
    routed: RouteTable | None = None  # what Traefik's file says
    edge_networks: frozenset[str] = frozenset()  # networks that Traefik is joined to
    listening: frozenset[str] = frozenset()  # ids of containers whose port answered just now
    confirmed: bool = False  # Traefik answered by these routes
    has_files: bool = False  # whether a worktree directory or release files are left
    previous: Release | None = None  # of the revision that serves, when another one is the target
    decision: Decision | None = None  # what the way from there to the target takes
    release_saved: bool = True  # false: `release` was derived from `previous` and is not on disk yet
    synced: Mapping[str, Revision] = field(default_factory=dict)  # container id -> whose files it was brought up to
    unfit: frozenset[str] = frozenset()  # services whose containers could not take the target's files
    is_quiet: bool = False  # nothing was synced or created for some seconds
    hopeless: frozenset[str] = frozenset()  # image tags that could not be built in the background
    started: frozenset[str] = frozenset()  # containers that this deployment has started
    deaths: Mapping[str, int] = field(default_factory=dict)  # container id -> exits seen in this deployment
    draining: Mapping[str, Drain] = field(default_factory=dict)  # container id -> what is still open with it
    starting_s: float = 0.0  # how long this deployment has been starting containers
