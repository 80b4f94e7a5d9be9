"""Which service the bare URL points to, which port, and which others get a URL of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.config import Project
from agent.errors import DeployError
from agent.planning.policy import Wish

# Ports on which nobody speaks HTTP: mail, DNS, LDAP, databases, queues, debuggers.
_NOT_HTTP = frozenset(
    {21, 22, 23, 25, 53, 110, 143, 389, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 3306, 4222, 4369, 5005}
    | {5432, 5671, 5672, 5678, 6379, 8883, 9003, 9042, 9092, 9229, 9300, 11211, 26257, 27017, 33060, 61616}
)
_TLS = frozenset({443, 8443})


def ports_of(service: Mapping[str, Any]) -> tuple[int, ...]:
    """TCP container ports: those of `ports:`, then of `expose:`; in each plain HTTP first, then TLS."""
    published = [int(port["target"]) for port in service.get("ports") or () if port.get("protocol", "tcp") == "tcp"]
    exposed = [port for entry in service.get("expose") or () for port in _range(str(entry))]
    return tuple(dict.fromkeys(sorted(published, key=_rank) + sorted(exposed, key=_rank)))


def is_public(service: Mapping[str, Any]) -> bool:
    """Whether it publishes a port that a browser may speak to."""
    return any(
        port.get("protocol", "tcp") == "tcp" and _rank(int(port["target"])) < 2 for port in service.get("ports") or ()
    )


def choose_entry(
    services: Mapping[str, Mapping[str, Any]], wish: Wish, project: Project, *, branch: str
) -> tuple[str, int]:
    """The entry service and its port: the compose file's word, else the setting, else the only one it can be.

    Raises DeployError that lists the candidates.
    """
    name = wish.entry or _configured(services, project) or _only(services, branch)
    ports = ports_of(services[name])
    port = wish.port or project.entry_port or (ports[0] if ports else 0)
    if not port:
        raise DeployError(
            f"The entry service `{name}` has no port.",
            hint=f"Add `ports:` or `expose:` to it, or `x-butai: {{entry: {name}, port: 8000}}` to the compose file.",
            code="no-entry-port",
            service=name,
        )
    return name, port


def _configured(services: Mapping[str, Any], project: Project) -> str:
    name = project.entry_service
    if name and name not in services:
        raise DeployError(
            f"The settings name `{name}` as the entry service, and this compose file has no such service.",
            hint=f"It has {', '.join(sorted(services))}. Name one with `x-butai: {{entry: ...}}` in the compose file.",
            code="no-entry-service",
        )
    return name


def _only(services: Mapping[str, Mapping[str, Any]], branch: str) -> str:
    public = sorted(name for name, service in services.items() if is_public(service))
    candidates = public or sorted(name for name, service in services.items() if ports_of(service))
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise DeployError(
            f"Branch `{branch}` has no service with a port.",
            hint="Add `ports:` to one service, or `x-butai: {entry: web, port: 8000}` to the compose file.",
            code="no-entry-service",
        )
    raise DeployError(
        f"Branch `{branch}` has {len(candidates)} services with ports, and nothing says which one the URL leads to: "
        f"{', '.join(candidates)}.",
        hint=f"Add `x-butai: {{entry: {candidates[0]}}}` to the compose file, or set `entry_service` for the project.",
        code="no-entry-service",
    )


def _rank(port: int) -> int:
    if port in _NOT_HTTP:
        return 2
    return 1 if port in _TLS else 0


def _range(text: str) -> range:
    """`3000`, `4000-4002` and `3000/tcp`; nothing for UDP and for what is no port."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    if protocol not in ("", "tcp") or not first.isdigit() or not (last or first).isdigit():
        return range(0)
    return range(int(first), min(int(last or first), int(first) + 100) + 1)
