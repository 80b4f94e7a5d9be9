"""Whom a service may reach, and under which names others reach it: the stack, never another or this host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.planning.rules import Subject, is_set


def check_network_mode(value: str, subject: Subject, services: frozenset[str]) -> str:
    if value != "none" and value.removeprefix("service:") not in services - {subject.name}:
        subject.refuse("network_mode", f"`{value}` leaves the networks of the environment")
    return value


def check_networks(value: Mapping[str, Any], subject: Subject, _: frozenset[str]) -> dict[str, Any]:
    return {name: _attachment(name, body or {}, subject) for name, body in value.items()}


def _attachment(network: str, body: Mapping[str, Any], subject: Subject) -> dict[str, Any] | None:
    kept: dict[str, Any] = {}
    for field, value in body.items():
        where = f"networks.{network}.{field}"
        if not is_set(value):
            continue
        if field in ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address"):
            subject.note(f"`{where}` was removed: addresses differ in each environment; use the service's name.")
        elif field == "aliases":
            kept[field] = [alias for alias in value if _alias_may_be(str(alias), where, subject)]
        elif field in ("priority", "gw_priority", "interface_name"):
            kept[field] = value
        else:
            subject.refuse(where, "this field is not known here")
    return kept or None


def replace_container_name(name: str, kept: dict[str, Any], subject: Subject, services: frozenset[str]) -> None:
    """Containers are named after the stack; the old name stays good as a host name between services."""
    subject.note("`container_name` was removed: containers are named after the environment.")
    networks = kept.get("networks") or ({} if "network_mode" in kept else {"default": None})
    if name in services or _is_taken(name, subject):
        return
    kept["networks"] = {
        network: {**(body or {}), "aliases": [*((body or {}).get("aliases") or ()), name]}
        for network, body in networks.items()
    }


def _alias_may_be(alias: str, where: str, subject: Subject) -> bool:
    """Traefik is joined to every environment's network: a name it resolves must not be claimed by one of them."""
    if _is_taken(alias, subject):
        subject.refuse(where, f"the name `{alias}` belongs to this host")
        return False
    return True


def _is_taken(name: str, subject: Subject) -> bool:
    lower, rules = name.lower().rstrip("."), subject.rules
    ours = re.match(rf"{re.escape(rules.instance)}[-_]", lower) or lower in (rules.instance, "traefik")
    return bool(ours) or lower == rules.domain or lower.endswith(f".{rules.domain}")


def check_extra_hosts(value: list[str], subject: Subject, _: frozenset[str]) -> list[str]:
    for entry in value:
        host, _separator, address = entry.partition("=" if "=" in entry else ":")
        if address.startswith("127.") or address in ("::1", "[::1]"):
            continue
        if address not in subject.rules.allow.extra_hosts:
            subject.refuse("extra_hosts", f"`{host}` leads out of the environment to {address}", allow="extra_hosts")
    return value


def check_dns(value: list[str] | str, subject: Subject, _: frozenset[str]) -> list[str]:
    servers = [value] if isinstance(value, str) else value
    kept = [server for server in servers if server in subject.rules.allow.dns]
    for server in servers:
        if server not in kept:
            subject.note(f"the name server {server} was removed: containers ask those of the host.")
    return kept


def check_links(value: list[str], subject: Subject, services: frozenset[str]) -> list[str]:
    for link in value:
        if link.partition(":")[0] not in services:
            subject.refuse("links", f"`{link}` leads out of the environment")
    return value
