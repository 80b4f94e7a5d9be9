"""What looking after DNS needs of the world; adapters satisfy these without knowing them. OutsideError: try again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agent.model.dns import RecordChange, ZoneView


class Zones(Protocol):
    """The hosted zones. Each method may raise RequestError too: the operator must act first."""

    def read(self, zone: str, names: Iterable[str]) -> ZoneView:
        """The zone's own name and servers, and every record at `names`."""
        ...

    def change(self, zone: str, changes: Iterable[RecordChange]) -> str:
        """Make all changes or none; the id to ask `in_sync` about."""
        ...

    def in_sync(self, change: str) -> bool:
        """Whether every server answers with the change."""
        ...


class Instance(Protocol):
    """What this host knows of its own addresses; None where it has none."""

    def public_ipv4(self) -> str | None: ...

    def ipv6(self) -> str | None: ...


class NameServers(Protocol):
    def ask(self, server: str, name: str, type_: str) -> tuple[str, ...]:
        """What one server says by itself. OutsideError when it says nothing."""
        ...
