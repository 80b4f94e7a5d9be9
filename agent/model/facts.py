"""What was found on this host just now, as plain data: all that `butai doctor` judges by.

None means that it could not be looked at (no right, no program, no answer), which is never the same as "none there".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent.model.care import Disk


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """dockerd as the kernel sees it."""

    oom_score_adj: int | None = None
    open_files: int | None = None  # at most
    tasks_max: str | None = None  # "max", or how many processes and threads its control group may have


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The kernel, its limits, and the programs that the agent starts."""

    sysctls: Mapping[str, int] = field(default_factory=dict)  # those that this kernel has
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None  # what could be had without swapping
    swap_bytes: int | None = None
    networks: tuple[str, ...] = ()  # IPv4 networks that the routing table leads to, bridges of Docker left out
    listening: frozenset[int] = frozenset()  # TCP ports
    docker_proxies: int = 0
    engine_process: EngineProcess | None = None
    log_options: Mapping[str, str] = field(default_factory=dict)  # of the engine, as daemon.json has them
    is_clock_synchronised: bool | None = None
    packager: str = "apt-get"  # or "dnf"
    docker_from: str = "docker"  # whose packages it is, with apt-get: Docker's own, or those of "debian" or "ubuntu"
    git: str | None = None
    compose: str | None = None
    builder: tuple[str, ...] | None = None  # what `docker buildx inspect` says
    firewall: tuple[str, ...] | None = None  # `iptables -S`: for root and CAP_NET_ADMIN only
    firewall_v6: tuple[str, ...] | None = None  # `ip6tables -S`, where the kernel speaks IPv6


@dataclass(frozen=True, slots=True)
class EngineNetwork:
    name: str
    subnets: tuple[str, ...]
    is_ours: bool
    containers: int = 0


@dataclass(frozen=True, slots=True)
class EdgeContainer:
    """Traefik's container, where the agent runs it."""

    is_running: bool
    image: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What Docker Engine says of itself."""

    version: str
    places: Mapping[str, str] = field(default_factory=dict)  # where it keeps what, as `care.Disk` names them
    storage_driver: str = ""
    backing: str = ""  # the file system below it: "extfs", "xfs"
    log_driver: str = ""
    is_live_restoring: bool = False
    lacks: tuple[str, ...] = ()  # what of containers it cannot limit: "memory", "processors", "processes", "swap"
    pools: tuple[tuple[str, int], ...] = ()  # of `default-address-pools`; empty: those that are built in
    mirrors: tuple[str, ...] = ()
    networks: tuple[EngineNetwork, ...] = ()
    edge: EdgeContainer | None = None


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What the metadata service of EC2 tells, and how it tells it."""

    id: str = ""
    vpc: tuple[str, ...] = ()  # IPv4 networks
    answers_without_token: bool | None = None
    crosses_to_containers: bool | None = None  # whether a token would reach one hop further than this host
    role: str = ""
    public_ipv4: str = ""
    is_spot: bool = False
    interruption: str = ""  # what AWS is about to do, and when


@dataclass(frozen=True, slots=True)
class Certificate:
    """What visitors are shown; `is_makeshift`: made by Traefik itself, where it has none for the name."""

    ends_at: datetime
    is_makeshift: bool = False


@dataclass(frozen=True, slots=True)
class DoorFacts:
    """How this host looks to those who visit: by name, through Traefik."""

    addresses: tuple[str, ...] | None = None  # of a name that only the wildcard covers; () when it has none
    status: int | None = None  # of the agent's page at its own name; 0 without an answer
    certificate: Certificate | None = None  # None when none is shown, or none is wanted
    slack_team: str | None = None  # of the bot token; "" when Slack does not take it
    slack_refusal: str = ""
    records_problem: str | None = None  # of the section [dns]; "" when all is as it should be


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything; `engine` is None when it does not answer, and `engine_problem` then says why."""

    taken_at: datetime
    host: HostFacts = field(default_factory=HostFacts)
    disks: tuple[Disk, ...] = ()
    engine: EngineFacts | None = None
    engine_problem: str = ""
    is_ec2: bool = False
    instance: InstanceFacts = field(default_factory=InstanceFacts)
    door: DoorFacts = field(default_factory=DoorFacts)
    wall_problem: str | None = None  # why the agent cannot keep its rules in the firewall; None when nobody can tell
    role_problems: tuple[str, ...] | None = None  # why environments lack credentials; None when nobody can tell
