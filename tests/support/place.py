"""Where an agent for tests can live on this host: a port, a pool of addresses, a folder; and its settings as TOML."""

from __future__ import annotations

import ipaddress
import json
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def free_pool(client: docker.DockerClient) -> str:
    """A /17 of 10.0.0.0/8 (255 blocks) that overlaps neither a network of the engine nor a route of this host."""
    taken = [*_docker_subnets(client), *_routes()]
    candidates = list(ipaddress.IPv4Network("10.0.0.0/8").subnets(new_prefix=17))
    random.shuffle(candidates)
    return str(next(pool for pool in candidates if not any(pool.overlaps(other) for other in taken)))


def toml(settings: Mapping[str, Any], path: Sequence[str] = ()) -> str:
    """Settings as TOML: texts, numbers, flags, lists of texts and tables are all there is."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    lines = [f"[{'.'.join(path)}]"] if path and plain else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    tables = [toml(value, (*path, key)) for key, value in settings.items() if isinstance(value, Mapping)]
    return "\n".join(part for part in (*lines, *tables) if part) + ("\n" if not path else "")


def merge(settings: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put `changes` into `settings`, table by table; None takes a key away."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(settings.get(key), dict):
            merge(settings[key], value)
        elif value is None:
            settings.pop(key, None)
        else:
            settings[key] = value


def _docker_subnets(client: docker.DockerClient) -> Iterator[ipaddress.IPv4Network]:
    for network in client.api.networks():
        for config in (network.get("IPAM") or {}).get("Config") or ():
            subnet = ipaddress.ip_network(config.get("Subnet", "0.0.0.0/32"), strict=False)
            if isinstance(subnet, ipaddress.IPv4Network):
                yield subnet


def _routes() -> Iterator[ipaddress.IPv4Network]:
    """What /proc/net/route says, without the default route."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(words[index]), "little") for index in (1, 7))
        if mask:
            yield ipaddress.IPv4Network((address, mask.bit_count()), strict=False)


def others_may_read(*paths: Path) -> bool:
    """Whether everybody may pass every folder on the way to these files, links followed."""
    ways = [way for path in paths for way in (path.absolute(), path.resolve())]
    folders = {parent for way in ways for parent in way.parents}
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in folders)
