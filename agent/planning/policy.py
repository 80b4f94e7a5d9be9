"""What a compose file may ask of this host: an allow-list on the resolved model.

Anyone who may push may run code in a container; this keeps that code away from the host, the agent, other
environments and credentials. What can be made safe is made safe and noted; what cannot is refused, all of it in one
report; a field that is not known here is refused by name, never ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.model.release import Reload
from agent.planning.findings import Findings
from agent.planning.policy_mounts import check_file
from agent.planning.policy_resources import check_network, check_volume
from agent.planning.policy_services import check_service
from agent.planning.rules import Rules, Subject

_TOP_LEVEL = frozenset({"name", "version", "services", "networks", "volumes", "configs", "secrets"})
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the compose file says to Butai itself, under `x-butai`."""

    entry: str = ""
    port: int = 0
    reload: Mapping[str, Reload] = dataclasses.field(default_factory=dict)  # by service; what is not here was not said


@dataclass(frozen=True, slots=True)
class Checked:
    """A model that may run here. Paths into the repository are relative to its root, marked as Compose had them."""

    services: Mapping[str, Mapping[str, Any]]
    networks: Mapping[str, Mapping[str, Any]]
    volumes: Mapping[str, Mapping[str, Any]]
    configs: Mapping[str, Mapping[str, Any]]
    secrets: Mapping[str, Mapping[str, Any]]
    wish: Wish


def check(model: Mapping[str, Any], *, rules: Rules, findings: Findings) -> Checked:
    """Judge a resolved model; what remains of it may run here.

    Refusals go to `findings`: the caller raises them, together with those of the raw scan.
    """
    for field in model:
        if field not in _TOP_LEVEL and not field.startswith("x-"):
            findings.refuse("", field, "this field is not known here")

    def each(section: str, judge: Callable[[Mapping[str, Any], Subject], dict[str, Any]]) -> dict[str, dict[str, Any]]:
        kind = section.removesuffix("s")
        return {
            name: judge(body or {}, Subject(f"{kind} {name}", rules, findings))
            for name, body in (model.get(section) or {}).items()
        }

    names = frozenset(model.get("services") or ())
    services = each("services", lambda body, subject: check_service(body, subject, services=names))
    if not services:
        findings.refuse("", "services", "no service is left to run; are all of them behind a profile?")
    return Checked(
        services=services,
        networks=each("networks", check_network),
        volumes=each("volumes", check_volume),
        configs=each("configs", check_file),
        secrets=each("secrets", check_file),
        wish=_wish(model.get("x-butai"), names, findings),
    )


def _wish(value: Any, services: frozenset[str], findings: Findings) -> Wish:
    if value is None:
        return Wish()
    if not isinstance(value, Mapping):
        findings.refuse("", "x-butai", "it must be a mapping such as `{entry: web, port: 8000}`")
        return Wish()
    for field in value:
        if field not in ("entry", "port", "reload"):
            findings.refuse("", f"x-butai.{field}", "only `entry`, `port` and `reload` are known there")
    entry, port = value.get("entry", ""), value.get("port", 0)
    if entry and entry not in services:
        findings.refuse("", "x-butai.entry", f"there is no service `{entry}`; there are {', '.join(sorted(services))}")
        entry = ""
    if isinstance(port, str) and port.isascii() and port.isdigit():
        port = int(port)
    if "port" in value and (not isinstance(port, int) or port not in _PORTS):
        findings.refuse("", "x-butai.port", f"`{port}` is not a port")
        port = 0
    return Wish(str(entry), int(port), _reload(value.get("reload"), services, findings))


def _reload(value: Any, services: frozenset[str], findings: Findings) -> dict[str, Reload]:
    """One word for all services, or a mapping from services to words."""
    wishes = value if isinstance(value, Mapping) else dict.fromkeys(services, value)
    found = {}
    for service, word in wishes.items():
        if service not in services:
            findings.refuse("", f"x-butai.reload.{service}", "there is no such service")
        elif word in tuple(Reload):
            found[service] = Reload(word)
        elif word is not None:
            findings.refuse("", "x-butai.reload", f"`{word}` is not known; say `none` or `restart`")
            break
    return found
