"""Which records lead people to this host, and what must change in the zone so that they do.

Our records stand at the domain itself and at its wildcard. A TXT record beside them says whose they are: another
agent's, or a person's who made them by hand, are left alone until somebody says `butai dns adopt`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from agent.errors import RequestError
from agent.model.dns import Action, Destination, Record, RecordChange, ZoneView

_OWNER_TTL_S = 300
_MARK = "heritage=butai,owner="
_LEADING = ("A", "AAAA", "CNAME")  # what decides where a name leads; other types at our names are not our business


@dataclass(frozen=True, slots=True)
class DnsPlan:
    """Either changes, perhaps none, for one batch; or the reason why nothing may be changed."""

    changes: tuple[RecordChange, ...] = ()
    refusal: RequestError | None = None

    @property
    def converged(self) -> bool:
        return not self.changes and self.refusal is None


def names_of(domain: str) -> tuple[str, str, str]:
    """The names that we look at: the domain, its wildcard, and where it is written whose they are."""
    return domain, f"*.{domain}", owner_name(domain)


def owner_name(domain: str) -> str:
    return f"_butai.{domain}"


def wanted_records(domain: str, destination: Destination, *, ttl_s: int, owner: str) -> tuple[Record, ...]:
    """Every record that there should be, the one that says whose they are first."""
    records = [Record(owner_name(domain), "TXT", _OWNER_TTL_S, (f'"{_MARK}{owner}"',))]
    for name in names_of(domain)[:2]:
        if destination.alias is not None:
            types = ("A", "AAAA") if destination.alias_ipv6 else ("A",)
            records += [Record(name, type_, alias=destination.alias) for type_ in types]
        else:
            pairs = (("A", destination.ipv4), ("AAAA", destination.ipv6))
            records += [Record(name, type_, ttl_s, (address,)) for type_, address in pairs if address]
    return tuple(records)


def owner_of(view: ZoneView, domain: str) -> str:
    """The agent whose records these are; "" when nobody has written it down."""
    return next((owner for owner in map(_owner, _at(view, owner_name(domain), "TXT")) if owner), "")


def leading(view: ZoneView, domain: str) -> tuple[Record, ...]:
    """Of what was observed, the records that this is about."""
    places = names_of(domain)[:2]
    return tuple(record for record in view.records if record.name in places and record.type in _LEADING)


def plan_dns(wanted: Iterable[Record], view: ZoneView, *, domain: str, owner: str, adopting: bool = False) -> DnsPlan:
    """What to send to the zone. `adopting` takes over what is somebody else's."""
    if not _holds(view.name, domain):
        return DnsPlan(refusal=_wrong_zone(view.name, domain))
    present = leading(view, domain)
    several = [record for record in present if record.variant]
    if several:
        return DnsPlan(refusal=_routing_policy(several[0]))
    marks = _at(view, owner_name(domain), "TXT")
    found = owner_of(view, domain)
    is_ours = found == owner
    if not adopting and not is_ours and (present or marks):
        return DnsPlan(refusal=_foreign(found, present, domain))
    wanted = tuple(wanted)
    changes = [RecordChange(Action.DELETE, record) for record in present if _is_in_the_way(record, wanted)]
    for record in wanted:
        if not any(_is_same(record, other) for other in view.records):
            # Of two agents that both found nothing, only one may win: the other's batch fails as a whole.
            is_claim = record.type == "TXT" and not marks
            changes.append(RecordChange(Action.CREATE if is_claim else Action.UPSERT, record))
    return DnsPlan(changes=tuple(changes))


def _at(view: ZoneView, name: str, type_: str) -> list[Record]:
    return [record for record in view.records if (record.name, record.type) == (name, type_)]


def _owner(record: Record) -> str:
    texts = (value.strip('"') for value in record.values)
    return next((text.removeprefix(_MARK) for text in texts if text.startswith(_MARK)), "")


def _holds(zone: str, domain: str) -> bool:
    return domain == zone or domain.endswith(f".{zone}")


def _is_in_the_way(record: Record, wanted: tuple[Record, ...]) -> bool:
    """A CNAME, next to which there can be no address; an address of a kind that is not wanted any more."""
    return all((record.name, record.type) != (other.name, other.type) for other in wanted)


def _is_same(record: Record, other: Record) -> bool:
    """Equal, in whichever of its many spellings an IPv6 address is written."""
    return _spelt(record) == _spelt(other)


def _spelt(record: Record) -> Record:
    if record.type != "AAAA":
        return record
    return replace(record, values=tuple(sorted(str(ip_address(value)) for value in record.values)))


def _wrong_zone(zone: str, domain: str) -> RequestError:
    return RequestError(
        f"The zone of dns.zone is {zone}, and {domain} does not belong to it.",
        hint=f"Write the id of the hosted zone for {domain} or for a domain above it into dns.zone.",
        code="dns-wrong-zone",
        http_status=409,
    )


def _routing_policy(record: Record) -> RequestError:
    return RequestError(
        f"{record.name} has {record.type} records with a routing policy (`{record.variant}`).",
        hint="Remove them from the zone, or choose a domain of its own for Butai.",
        code="dns-routing-policy",
        http_status=409,
    )


def _foreign(owner: str, present: tuple[Record, ...], domain: str) -> RequestError:
    whose = f"belong to another agent, {owner}" if owner else "were not made by this agent"
    what = "; ".join(map(str, present)) or f"the mark at {owner_name(domain)}"
    return RequestError(
        f"The records of {domain} {whose}: {what}.",
        hint="Nothing was changed. `butai dns adopt` takes them over.",
        code="dns-foreign",
        http_status=409,
    )


def complaint(wanted: Record | None, found: tuple[str, ...]) -> str:
    """What is wrong with the addresses that a name server gave; "" when nothing is."""
    if wanted is None:
        return "there should be none" if found else ""
    if not found:
        return f"should be {' '.join(wanted.values) or 'an address'}"
    if wanted.alias is not None or {*map(ip_address, found)} == {*map(ip_address, wanted.values)}:
        return ""
    return f"should be {' '.join(wanted.values)}"
