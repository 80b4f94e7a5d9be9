"""What a look at the host needs of the world; adapters satisfy these without knowing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from agent.model.care import Disk
from agent.model.facts import Certificate, EngineFacts, HostFacts, InstanceFacts
from agent.runtime.dns import DnsLook


class Host(Protocol):
    """A module is an implementation of this. What cannot be read is left out, never an error."""

    def gather(self, *, sysctls: Iterable[str], docker_host: str) -> HostFacts: ...

    def is_ec2(self) -> bool: ...


class Disks(Protocol):
    """A module is an implementation of this. What cannot be measured is left out."""

    def disks(self, places: Mapping[str, Path]) -> tuple[Disk, ...]: ...


class Engine(Protocol):
    def facts(self, *, edge: str) -> EngineFacts:
        """OutsideError when it does not answer."""
        ...


class Compose(Protocol):
    def version(self) -> str | None:
        """As it tells it; None where there is none."""
        ...


class Instance(Protocol):
    def facts(self) -> InstanceFacts: ...


class FrontDoor(Protocol):
    """How a visitor sees this host. A module is an implementation of this."""

    def addresses(self, name: str) -> tuple[str, ...] | None:
        """() for a name without an address, None when nobody can tell."""
        ...

    def status(self, url: str) -> int:
        """0 without an answer."""
        ...

    def certificate(self, address: tuple[str, int], name: str) -> Certificate | None: ...


class Messenger(Protocol):
    """Slack, where the settings name one with a bot token."""

    @property
    def can_post(self) -> bool: ...

    def verify(self) -> str:
        """The workspace of the bot token. RequestError when it is not taken, OutsideError when nobody answers."""
        ...


class Wall(Protocol):
    @property
    def problem(self) -> str | None:
        """Why the agent's rules are not in the firewall, "" when they are, None when nobody can tell."""
        ...


class Roles(Protocol):
    @property
    def problems(self) -> tuple[str, ...]:
        """Why environments are without the credentials of their project's role."""
        ...


class Records(Protocol):
    def look(self) -> DnsLook:
        """What is wanted and observed in DNS; raises what forbids to look."""
        ...
