"""Who is connected to a container, read from the kernel's table of its network namespace.

The engine does not tell, images without a shell cannot, and Traefik has no number for one server. The table is a file
of the host that everybody may read, unless other people's processes are hidden or the engine is on another host.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, cast

from docker.errors import NotFound

from agent.adapters.docker.client import Client

_ESTABLISHED, _ARRIVING, _LISTENING = "01", "03", "0A"  # include/net/tcp_states.h
_IPV4_IN_IPV6 = "0000000000000000FFFF0000"


def count(client: Client, container: str, *, besides: Collection[str]) -> int | None:
    """Connections that others opened to it, but for those from addresses of `besides`; None when it cannot be told."""
    with client.asking(f"look at {container[:12]}"):
        try:
            found = cast("dict[str, Any]", client.api.inspect_container(container))
        except NotFound:
            return 0
    process = found["State"].get("Pid") or 0
    if not process:
        return 0
    own = {network.get("IPAddress") for network in (found["NetworkSettings"]["Networks"] or {}).values()}
    try:
        lines = [line for name in ("tcp", "tcp6") for line in _table(process, name)]
    except OSError:
        return None
    return connections(lines, own=own - {"", None}, besides=besides)


def _table(process: int, name: str) -> list[str]:
    path = Path("/proc", str(process), "net", name)
    return path.read_text(encoding="ascii").splitlines()[1:]


def connections(lines: Iterable[str], *, own: Collection[str | None], besides: Collection[str]) -> int:
    """Of lines of `/proc/net/tcp` and `tcp6`: what comes to a port that is listened to, at an address of `own`.

    What the container opened itself comes from another port, and its health check from loopback.
    """
    rows = [line.split()[1:4] for line in lines]
    listening = {local.rpartition(":")[2] for local, _, state in rows if state == _LISTENING}
    return sum(
        1
        for local, remote, state in rows
        if state in (_ESTABLISHED, _ARRIVING)
        and local.rpartition(":")[2] in listening
        and _address(local) in own
        and _address(remote) not in besides
    )


def _address(field: str) -> str:
    """The IPv4 address of a field, which the kernel writes as a number of its own byte order; "" for IPv6."""
    digits = field.rpartition(":")[0].removeprefix(_IPV4_IN_IPV6)
    return socket.inet_ntoa(struct.pack("=I", int(digits, 16))) if len(digits) == 8 else ""
