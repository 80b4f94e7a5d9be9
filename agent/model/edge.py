"""What the edge (Traefik) needs of the engine: one network and one container, as plain data.

The Traefik adapter says what it wants in these words and the Docker adapter makes it so, which is how
two adapters work together without knowing each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A bridge network of our own with a fixed subnet, so that its addresses are known beforehand."""

    name: str
    subnet: str  # "10.200.0.0/25"
    gateway: str  # the host's own address in it
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the host that leads into the container (TCP)."""

    address: str  # of the host: "0.0.0.0" for all
    port: int
    container_port: int


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of the host, seen in the container."""

    source: Path
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class AcmeFiles:
    """What Traefik needs on disk to get certificates: its own folder, and names of files in that of certificates."""

    folder: Path  # its account and certificates: the only place that it writes to
    token: str  # by which the agent knows it when it asks for credentials
    authority: str = ""  # certificates that recognise the ACME server; "" for those that browsers know


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A long-running container of the agent itself, on exactly one network at first.

    An existing container whose label `butai.config` differs from the one in `labels` is replaced; one
    that is only stopped is started. `network_priority` is the endpoint's GwPriority (Engine API 1.48):
    without it the engine moves the published ports to whichever network is joined next and sorts
    first, and drops connections while it does.
    """

    name: str
    image: str
    command: tuple[str, ...]
    network: str
    address: str  # its fixed IPv4 address in that network
    labels: Mapping[str, str]
    network_priority: int = 0
    ports: tuple[PublishedPort, ...] = ()
    mounts: tuple[Mount, ...] = ()
    user: str = ""  # "uid:gid"; "" for the image's own
    read_only: bool = True  # root file system
    restart: str = "unless-stopped"
    environment: Mapping[str, str] = field(default_factory=dict)  # no secret: whoever may use Docker reads it
    memory_bytes: int = 0  # 0: no limit
