"""What a DNS zone holds at the names of ours, what it should hold, and how one becomes the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """CREATE fails where there is such a record already, UPSERT never does."""

    CREATE = "CREATE"
    UPSERT = "UPSERT"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of Amazon's that answers in place of addresses, such as a load balancer's."""

    target: str
    zone: str  # the hosted zone of the target, not ours
    checks_health: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """All values of one type at one name. Names are lower-case, without a final dot, with `*` for a wildcard."""

    name: str
    type: str
    ttl_s: int | None = None  # None: an alias has none of its own
    values: tuple[str, ...] = ()
    alias: Alias | None = None
    variant: str = ""  # one of several at this name and type that a routing policy chooses from

    def __str__(self) -> str:
        said = f"alias of {self.alias.target}" if self.alias else " ".join(self.values)
        return f"{self.name} {self.type} {said}" + ("" if self.ttl_s is None else f", {self.ttl_s} s")


@dataclass(frozen=True, slots=True)
class RecordChange:
    action: Action
    record: Record

    def __str__(self) -> str:
        return f"{self.action.lower()} {self.record}"


@dataclass(frozen=True, slots=True)
class ZoneView:
    """What was read of a zone just now: its own name and name servers, and every record at the names asked for."""

    name: str
    servers: tuple[str, ...]
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the names should lead: addresses, or an alias for IPv4 and perhaps IPv6."""

    ipv4: str = ""
    ipv6: str = ""
    alias: Alias | None = None
    alias_ipv6: bool = False
