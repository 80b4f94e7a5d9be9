"""What one container may use: the compose file's own limits, cut to the operator's, and those where it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.config import Limits
from agent.planning.units import size

_OPEN_FILES = 65536
_ULIMITS = frozenset(
    {"core", "data", "fsize", "locks", "memlock", "msgqueue", "nofile", "nproc", "rss", "sigpending", "stack"}
)

Note = Callable[[str], None]


def apply_quota(service: Mapping[str, Any], limits: Limits, note: Note) -> dict[str, Any]:
    """The fields that bound a service; each one that was cut is noted."""
    wanted = (service.get("deploy") or {}).get("resources") or {}
    most = wanted.get("limits") or {}
    memory = _at_most(
        size(service.get("mem_limit") or most.get("memory")), size(limits.memory), "memory", note, shown=limits.memory
    )
    bounds: dict[str, Any] = {
        "mem_limit": str(memory),
        "memswap_limit": str(memory),  # no swap: a container that grows must not slow the others down
        "cpus": _at_most(_number(service.get("cpus") or most.get("cpus")), limits.cpus, "cpus", note),
        "pids_limit": int(_at_most(_number(service.get("pids_limit") or most.get("pids")), limits.pids, "pids", note)),
        "shm_size": str(
            _at_most(
                size(service.get("shm_size")), size(limits.shm), "shm_size", note, shown=limits.shm, absent=64 * 1024**2
            )
        ),
        "ulimits": _ulimits(service.get("ulimits") or {}, note),
    }
    reserved = size(service.get("mem_reservation") or (wanted.get("reservations") or {}).get("memory"))
    if 0 < reserved <= memory:
        bounds["mem_reservation"] = str(reserved)
    shares = int(_number(service.get("cpu_shares")))
    if shares:
        bounds["cpu_shares"] = min(max(shares, 2), 1024)
    return bounds


def replicas(service: Mapping[str, Any], limits: Limits, note: Note) -> int:
    """How many containers of a service run; Compose has two places for it."""
    asked = service.get("scale")
    if asked is None:
        asked = (service.get("deploy") or {}).get("replicas")
    if asked is None:
        return 1
    if int(asked) > limits.replicas:
        note(f"{int(asked)} replicas were cut to {limits.replicas}, the limit of this host.")
    return max(0, min(int(asked), limits.replicas))


def _at_most(asked: float, most: float, name: str, note: Note, *, shown: str = "", absent: float | None = None) -> Any:
    """`asked` cut to `most`; when nothing is asked, `absent` or else `most`. Unlimited counts as nothing asked."""
    if asked <= 0:
        return most if absent is None else min(absent, most)
    if asked > most:
        note(f"`{name}` was cut to {shown or f'{most:g}'}, the limit of this host.")
        return most
    return asked


def _number(value: object) -> float:
    try:
        return float(str(value or 0))
    except ValueError:
        return 0.0


def _ulimits(asked: Mapping[str, Any], note: Note) -> dict[str, Any]:
    """What was asked, cut. Nothing asked: the engine's own; an engine that has less itself could not start ours."""
    kept: dict[str, Any] = {}
    for name, value in asked.items():
        if name not in _ULIMITS:
            note(f"`ulimits.{name}` was removed: it takes from other containers.")
        elif name == "nofile":
            pair = value if isinstance(value, Mapping) else {"soft": value, "hard": value}
            kept[name] = {side: _files(pair.get(side)) for side in ("soft", "hard")}
        else:
            kept[name] = value
    return kept


def _files(value: object) -> int:
    count = int(_number(value))
    return count if 0 < count <= _OPEN_FILES else _OPEN_FILES
