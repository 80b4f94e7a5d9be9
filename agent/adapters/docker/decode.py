"""From the engine's own dictionaries to our nouns. Pure, and forgiving of what newer engines add.

A list entry carries everything we need, so that nothing here ever asks for an inspect: exit codes and health
are read from the status sentence, whose form is fixed in moby (`container/state.go`, State.String).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.model.labels import SERVICE
from agent.model.observed import Container, ContainerState, Health

COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_NUMBER = "com.docker.compose.container-number"

_SNAPSHOTTER, _CONTAINERD = "io.containerd.snapshotter.v1", "/var/lib/containerd"
_EXIT = re.compile(r"(?:Exited|Restarting) \((-?\d+)\)")
_HEALTH = {"(healthy)": Health.HEALTHY, "(unhealthy)": Health.UNHEALTHY, "(health: starting)": Health.STARTING}


def container(entry: Mapping[str, Any]) -> Container:
    """One entry of `GET /containers/json`."""
    labels: Mapping[str, str] = entry.get("Labels") or {}
    status = str(entry.get("Status", ""))
    exited = _EXIT.match(status)
    number = labels.get(COMPOSE_NUMBER, "")
    return Container(
        id=entry["Id"],
        name=_name(entry.get("Names") or []),
        service=labels.get(COMPOSE_SERVICE) or labels.get(SERVICE, ""),
        number=int(number) if number.isdecimal() else 1,
        state=ContainerState(entry["State"]),
        health=next((health for words, health in _HEALTH.items() if status.endswith(words)), Health.NONE),
        exit_code=int(exited[1]) if exited else None,
        image_id=entry.get("ImageID", ""),
        created_at=int(entry.get("Created", 0)),
        labels=dict(labels),
        addresses={name: where["IPAddress"] for name, where in joined(entry).items() if where.get("IPAddress")},
        networks={name: str(where.get("NetworkID", "")) for name, where in joined(entry).items()},
        status=status,
    )


def joined(entry: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The networks of a list entry, whether or not the container has an address there now."""
    return (entry.get("NetworkSettings") or {}).get("Networks") or {}


def subnets(network: Mapping[str, Any]) -> tuple[str, ...]:
    """The IPv4 subnets of an entry of `GET /networks`."""
    pools = (network.get("IPAM") or {}).get("Config") or []
    return tuple(pool["Subnet"] for pool in pools if pool.get("Subnet") and ":" not in pool["Subnet"])


def places(info: Mapping[str, Any]) -> Mapping[str, str]:
    """Where the engine keeps what, from `GET /info`: "engine" is its own folder, "images" containerd's, if it has them.

    https://docs.docker.com/engine/storage/containerd/ ; nobody tells of another `root` in containerd's settings.
    """
    root, status = (
        str(info.get("DockerRootDir", "")),
        {str(key): value for key, value in info.get("DriverStatus") or ()},
    )
    found = {"engine": root} if root else {}
    return found | {"images": _CONTAINERD} if status.get("driver-type") == _SNAPSHOTTER else found


def stats(sample: Mapping[str, Any]) -> Mapping[str, float]:
    """One `one-shot` sample; memory as `docker stats` counts it, without the page cache that can be dropped."""
    memory = sample.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))  # cgroup v1, v2
    usage = memory.get("usage", 0)
    return {
        "memory_bytes": float(usage - cache if cache < usage else usage),
        "memory_limit_bytes": float(memory.get("limit", 0)),
        "cpu_seconds": ((sample.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0) / 1e9,
        "pids": float((sample.get("pids_stats") or {}).get("current", 0)),
    }


def _name(names: list[str]) -> str:
    """The container's own name: links of the old kind add names with a second slash."""
    own = [name.removeprefix("/") for name in names]
    return min(own, key=lambda name: name.count("/"), default="")
