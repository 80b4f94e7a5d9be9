"""What the engine says of itself, for `butai doctor`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from agent.adapters.docker import decode
from agent.adapters.docker.client import Client
from agent.model.facts import EdgeContainer, EngineFacts, EngineNetwork
from agent.model.labels import INSTANCE

_LIMITS = {
    "memory": "MemoryLimit",
    "processors": "CpuCfsQuota",
    "processes": "PidsLimit",
    "swap": "SwapLimit",
}


def read(client: Client, *, instance: str, edge: str) -> EngineFacts:
    """Three lists and the engine's own words; `edge` names Traefik's container. Measures nothing that takes time."""
    with client.asking("tell of itself"):
        info = client.api.info()
        networks = cast("list[dict[str, Any]]", client.api.networks())
        containers = cast("list[dict[str, Any]]", client.api.containers())
        traefik = cast("list[dict[str, Any]]", client.api.containers(all=True, filters={"name": [f"^/?{edge}$"]}))
    return told(info, networks, containers, traefik, instance=instance)


def told(
    info: Mapping[str, Any],
    networks: Iterable[Mapping[str, Any]],
    containers: Iterable[Mapping[str, Any]],
    traefik: Sequence[Mapping[str, Any]],
    *,
    instance: str,
) -> EngineFacts:
    """The engine's answers in our words; what a version does not tell is empty."""
    busy = Counter(name for entry in containers for name in decode.joined(entry))
    backing = {str(key): str(value) for key, value in info.get("DriverStatus") or ()}
    return EngineFacts(
        version=str(info.get("ServerVersion", "")),
        places=decode.places(info),
        storage_driver=str(info.get("Driver", "")),
        backing=backing.get("Backing Filesystem", ""),
        log_driver=str(info.get("LoggingDriver", "")),
        is_live_restoring=bool(info.get("LiveRestoreEnabled")),
        lacks=tuple(what for what, key in _LIMITS.items() if not info.get(key)),
        pools=tuple((str(one["Base"]), int(one["Size"])) for one in info.get("DefaultAddressPools") or ()),
        mirrors=tuple((info.get("RegistryConfig") or {}).get("Mirrors") or ()),
        networks=tuple(_network(entry, instance, busy) for entry in networks),
        edge=_edge(traefik[0]) if traefik else None,
    )


def _network(entry: Mapping[str, Any], instance: str, busy: Counter[str]) -> EngineNetwork:
    is_ours = (entry.get("Labels") or {}).get(INSTANCE) == instance
    return EngineNetwork(entry["Name"], decode.subnets(entry), is_ours, busy[entry["Name"]])


def _edge(entry: Mapping[str, Any]) -> EdgeContainer:
    command = tuple(str(entry.get("Command", "")).split())
    return EdgeContainer(entry.get("State") == "running", str(entry.get("Image", "")), command)
