"""Release: what one revision's compose file means on this host, checked and ready to build and create.

Made by policy and overlay from the resolved compose model; everything after it works from this
alone, so nothing in the checkout can change it between check and use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agent.model.names import Revision, Slug


class Condition(StrEnum):
    """What a service must see of a service it depends on (the Compose specification's words)."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


@dataclass(frozen=True, slots=True)
class Dependency:
    service: str
    condition: Condition
    required: bool = True
    restart: bool = False  # restarted after a push restarted or replaced that service


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """How to make a service's image. Paths are relative to the root of the repository; "." is the root."""

    context: str
    dockerfile: str  # relative to the context, as Compose has it
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    no_cache: bool = False
    pull: bool = False
    inline: str = ""  # dockerfile_inline
    needs_session: bool = False  # secrets, ssh, additional contexts: only the Compose CLI can build these
    raw: Mapping[str, Any] = field(default_factory=dict)  # the checked `build:` section, for that fallback


class WatchAction(StrEnum):
    """What `develop.watch` may ask for (the Compose specification's words)."""

    SYNC = "sync"
    RESTART = "restart"
    SYNC_RESTART = "sync+restart"
    SYNC_EXEC = "sync+exec"
    REBUILD = "rebuild"


@dataclass(frozen=True, slots=True)
class ExecHook:
    """A command to run in a container after files were copied into it. Never with more rights than the container."""

    command: tuple[str, ...]
    user: str = ""
    working_dir: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchRule:
    """What is to happen when something at or below `path` changes. Patterns are relative to it."""

    path: str  # from the root of the repository; "." is the root
    action: WatchAction
    target: str = ""  # absolute in the container; a final slash says that a single file goes into that folder
    ignore: tuple[str, ...] = ()
    include: tuple[str, ...] = ()  # () is everything
    exec: ExecHook | None = None


class Reload(StrEnum):
    """What a service needs to see changed files that it mounts (`x-butai.reload`)."""

    NONE = "none"  # development servers watch their files themselves
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class BindMount:
    """A part of the checkout that a container sees."""

    source: str  # from the root of the repository; "." is the root
    target: str  # absolute in the container
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service as it will run here."""

    name: str
    image: str  # the tag to run: ours when built, the compose file's otherwise
    build: BuildSpec | None
    config_hash: str  # of the canonical service, without revision, deployment and image identity
    depends_on: tuple[Dependency, ...] = ()
    ports: tuple[int, ...] = ()  # container ports: `ports:` first, then `expose:`
    public: bool = False  # has `ports:`: gets a hostname of its own
    has_healthcheck: bool = False
    one_shot: bool = False  # somebody waits for its completion
    replicas: int = 1
    in_place: str = ""  # why it cannot run twice ("writes the volume data"); empty: it is swapped
    bind_sources: tuple[str, ...] = ()  # paths in the checkout that it mounts, relative to its root
    stop_grace_s: float = 10.0
    watch: tuple[WatchRule, ...] = ()
    binds: tuple[BindMount, ...] = ()  # `volumes:` of the checkout, and `configs:` and `secrets:` that are its files
    other_mounts: tuple[str, ...] = ()  # container paths where a volume, memory or the host hides the image
    reload: Reload = Reload.NONE


@dataclass(frozen=True, slots=True)
class Release:
    """A revision as this host will run it. `model` is the canonical compose model without `build:` sections."""

    slug: Slug
    stack: str
    revision: Revision
    services: tuple[ServiceSpec, ...]
    model: Mapping[str, Any]
    networks: tuple[str, ...] = ()  # real names, the entry service's first
    volumes: tuple[str, ...] = ()
    entry_service: str = ""
    entry_port: int = 0
    notices: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()  # paths that it was read from, or would be if they were there

    def service(self, name: str) -> ServiceSpec:
        """The service called `name`; KeyError when there is none."""
        for spec in self.services:
            if spec.name == name:
                return spec
        raise KeyError(name)

    def networks_of(self, service: str) -> tuple[str, ...]:
        """Real names of the networks that a service is in; none where it uses another's, or the host's."""
        bodies = self.model.get("networks") or {}
        keys = self.model["services"][service].get("networks") or ()
        return tuple((bodies.get(key) or {}).get("name", key) for key in keys)
