"""The host's firewall, by the programs that Docker uses for it: they know whether the kernel's own or the older tables.

Who is neither root nor has CAP_NET_ADMIN may not even look.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.adapters.process import Completed, run, short_environment
from agent.errors import OutsideError

_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_DEADLINE_S = 20.0
_WAIT_S = "5"  # for somebody else who changes rules just now
_HAS_V6 = Path("/proc/net/if_inet6")  # not there with `ipv6.disable=1`, where ip6tables fails


def families() -> tuple[int, ...]:
    """4, and 6 where the kernel has it."""
    return (4, 6) if _HAS_V6.exists() else (4,)


def rules(family: int, table: str = "filter") -> tuple[str, ...]:
    """A table as `iptables -S` prints it. OutsideError when it cannot be read."""
    return tuple(_said([_PROGRAMS[family], "-w", _WAIT_S, "-t", table, "-S"]).text.splitlines())


def restore(family: int, lines: Sequence[str]) -> None:
    """Take these lines of `iptables-restore` up, all at once or none; OutsideError when they are not taken."""
    text = "".join(f"{line}\n" for line in lines)
    _said([f"{_PROGRAMS[family]}-restore", "-w", _WAIT_S, "--noflush"], text)


def _said(argv: list[str], text: str = "") -> Completed:
    done = run(argv, env=short_environment(), timeout_s=_DEADLINE_S, input=text.encode(), keeps_capabilities=True)
    if not done.ok:
        raise OutsideError(
            f"{argv[0]} says: {done.complaint.splitlines()[0] if done.complaint else done.last_line}",
            hint="The unit gives the agent CAP_NET_ADMIN (AmbientCapabilities=); `firewall.manage = false` leaves"
            " the firewall to you.",
            code="firewall-closed",
        )
    return done
