"""The agent's own network and container (Traefik's), made as a specification says and replaced only when it changes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from agent.adapters.docker import decode, pull
from agent.adapters.docker.client import API_VERSION, Client, explanation
from agent.errors import OutsideError, StateError
from agent.model.edge import ContainerSpec, NetworkSpec
from agent.model.labels import CONFIG

_GATEWAY_PRIORITY = (1, 48)  # the first API version with GwPriority
_STOP_S = 10


def ensure_network(client: Client, spec: NetworkSpec) -> None:
    """Create the network unless it is there. StateError when it is there with another subnet and cannot be replaced."""
    with client.asking(f"make the network {spec.name}"):
        present = [network for network in client.api.networks(names=[spec.name]) if network["Name"] == spec.name]
        if present and decode.subnets(present[0]) == (spec.subnet,):
            return
        if present:
            _remove_network(client, spec)
        try:
            client.api.create_network(
                spec.name,
                driver="bridge",
                ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=spec.subnet, gateway=spec.gateway)]),
                labels=dict(spec.labels),
            )
        except APIError as error:
            if "overlaps" not in explanation(error):
                raise
            raise OutsideError(
                f"The addresses {spec.subnet} of the network {spec.name} are in use by another network.",
                hint="Choose another `docker.address_pool`, or remove the network that uses them.",
                code="addresses-taken",
            ) from error


def ensure_container(client: Client, spec: ContainerSpec) -> None:
    """Leave a running container alone that carries the same configuration hash; start or replace any other."""
    with client.asking(f"run {spec.name}"):
        # An inspect, for once: for a moment after a stop the list still says "running".
        try:
            present = cast("Any", client.api).inspect_container(spec.name)
        except NotFound:
            present = None
        if present is not None:
            same = present["Config"]["Labels"].get(CONFIG) == spec.labels.get(CONFIG)
            if same and spec.network in decode.joined(present):
                if present["State"]["Paused"]:
                    client.api.unpause(present["Id"])
                client.api.start(present["Id"])  # running already is fine
                return
            with contextlib.suppress(NotFound):
                client.api.stop(present["Id"], timeout=_STOP_S)
                client.api.remove_container(present["Id"], v=True, force=True)
        client.api.start(pull.create(client, _body(spec), name=spec.name, version=_version(client)))


def _remove_network(client: Client, spec: NetworkSpec) -> None:
    try:
        client.api.remove_network(spec.name)
    except APIError as error:
        raise StateError(
            f"The network {spec.name} has other addresses than {spec.subnet} and is in use: {explanation(error)}",
            hint=f"Stop what uses it, or remove it with `docker network rm {spec.name}`.",
        ) from error


def _version(client: Client) -> str:
    """The newest of the API versions that we know something of and the engine speaks."""
    speaks = tuple(int(part) for part in str(client.api.version()["ApiVersion"]).split("."))
    return ".".join(map(str, _GATEWAY_PRIORITY)) if speaks >= _GATEWAY_PRIORITY else API_VERSION


def _body(spec: ContainerSpec) -> Mapping[str, Any]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        published = {"HostIp": port.address, "HostPort": str(port.port)}
        bindings.setdefault(f"{port.container_port}/tcp", []).append(published)
    endpoint = {"IPAMConfig": {"IPv4Address": spec.address}, "GwPriority": spec.network_priority}
    return {
        "Image": spec.image,
        "Cmd": list(spec.command),
        "User": spec.user,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Labels": dict(spec.labels),
        "ExposedPorts": {port: {} for port in bindings},
        "HostConfig": {
            "NetworkMode": spec.network,
            "PortBindings": bindings,
            "Mounts": [
                {"Type": "bind", "Source": str(mount.source), "Target": mount.target, "ReadOnly": mount.read_only}
                for mount in spec.mounts
            ],
            "ReadonlyRootfs": spec.read_only,
            "RestartPolicy": {"Name": spec.restart},
            "Memory": spec.memory_bytes,
            "MemorySwap": spec.memory_bytes,
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_BIND_SERVICE"],
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "local", "Config": {"max-size": "10m", "max-file": "3"}},
        },
        "NetworkingConfig": {"EndpointsConfig": {spec.network: endpoint}},
    }
