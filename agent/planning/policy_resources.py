"""What a compose file may say of networks and volumes: plain ones of its own, nothing fixed, nothing shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.planning.rules import Subject, is_set

_NETWORK_DROPPED = {
    "name": "networks are named after the stack",
    "ipam": "each environment has addresses of its own",
    "driver_opts": "networks are plain bridges here",
    "enable_ipv6": "networks here are IPv4",
}


def check_network(body: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """A top-level network that may be made here."""
    if body.get("external"):
        return _external(body, subject, "networks", "environments share no network; without `external` it is its own")
    kept: dict[str, Any] = {}
    for field, value in body.items():
        if not is_set(value) or field.startswith("x-") or field == "attachable":
            continue
        if field == "driver":
            if value != "bridge":
                subject.refuse(field, f"`{value}` networks reach past this host; only `bridge` runs here")
        elif field in _NETWORK_DROPPED:
            if not _given_by_compose(field, value, subject):
                subject.note(f"`{field}` was removed: {_NETWORK_DROPPED[field]}.")
        elif field == "labels":
            kept[field] = subject.labels(value)
        elif field == "internal":
            kept[field] = True
        else:
            subject.refuse(field, "this field is not known here")
    return kept


def check_volume(body: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """A top-level volume that may be made here."""
    if body.get("external"):
        return _external(body, subject, "volumes", "without `external` each environment gets a volume of its own")
    kept: dict[str, Any] = {}
    for field, value in body.items():
        if not is_set(value) or field.startswith("x-"):
            continue
        if field == "driver":
            if value != "local":
                subject.refuse(field, f"the driver `{value}` may reach anything; only `local` runs here")
        elif field == "driver_opts":
            subject.refuse(field, "driver options can mount any folder of the host")
        elif field == "name":
            if not _given_by_compose(field, value, subject):
                subject.note("`name` was removed: every environment has a volume of its own.")
        elif field == "labels":
            kept[field] = subject.labels(value)
        else:
            subject.refuse(field, "this field is not known here")
    return kept


def _external(body: Mapping[str, Any], subject: Subject, allow: str, reason: str) -> dict[str, Any]:
    real = str(body.get("name") or subject.name)
    if real not in getattr(subject.rules.allow, allow):
        subject.refuse("external", f"`{real}` belongs to somebody else; {reason}", allow=allow)
    return {"external": True, "name": real}


def _given_by_compose(field: str, value: object, subject: Subject) -> bool:
    return field == "name" and value == f"{subject.rules.stack}_{subject.name}"
