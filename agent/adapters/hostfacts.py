"""This host's limits and programs, as they are just now, for `butai doctor`. Reads only.

What cannot be read is left out: another user than root sees less, and a kernel may lack what another one has.
"""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path

from agent.adapters.process import run, short_environment
from agent.errors import OutsideError
from agent.model.facts import EngineProcess, HostFacts

_ASKED_S = 10.0  # for a program that only tells something
_LISTENS = "0A"  # TCP_LISTEN in /proc/net/tcp
_BRIDGES = ("docker", "br-", "veth", "lo")  # interfaces whose networks are Docker's or nobody's


def gather(*, sysctls: Iterable[str], docker_host: str, root: Path = Path("/")) -> HostFacts:
    """Everything there is to read; `root` is another one in tests."""
    memory = _memory(root)
    return HostFacts(
        sysctls={name: value for name in sysctls if (value := _sysctl(root, name)) is not None},
        memory_bytes=memory.get("MemTotal"),
        memory_free_bytes=memory.get("MemAvailable"),
        swap_bytes=memory.get("SwapTotal"),
        networks=tuple(_networks(root)),
        listening=frozenset(_listening(root)),
        docker_proxies=_count(root, "docker-proxy"),
        engine_process=_engine_process(root),
        log_options=_log_options(root),
        is_clock_synchronised=_is_clock_synchronised(),
        packager="dnf" if (root / "usr/bin/dnf").exists() else "apt-get",
        docker_from=_docker_from(root),
        git=(_said("git", "--version") or "").removeprefix("git version ") or None,
        builder=_builder(docker_host),
        firewall=_firewall("iptables"),
        firewall_v6=_firewall("ip6tables") if (root / "proc/net/if_inet6").exists() else None,
    )


def is_ec2(root: Path = Path("/")) -> bool:
    """What the firmware says; nobody is asked, for elsewhere nobody would answer."""
    vendor, hypervisor = _text(root / "sys/class/dmi/id/sys_vendor"), _text(root / "sys/hypervisor/uuid")
    return vendor.startswith("Amazon EC2") or hypervisor.startswith("ec2")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _sysctl(root: Path, name: str) -> int | None:
    text = _text(root / "proc/sys" / name.replace(".", "/"))
    return int(text) if text.isdecimal() else None


def _memory(root: Path) -> Mapping[str, int]:
    """Bytes of /proc/meminfo, which counts in KiB."""
    found = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[0] if rest.split() else ""
        if number.isdecimal():
            found[name] = int(number) * 1024
    return found


def _networks(root: Path) -> Iterator[str]:
    """Where /proc/net/route leads, the default route left out; its numbers are in the order of this machine's bytes."""
    for line in _text(root / "proc/net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[0].startswith(_BRIDGES) or fields[7] == "00000000":
            continue
        address, mask = (socket.inet_ntoa(bytes.fromhex(word)[::-1]) for word in (fields[1], fields[7]))
        yield str(IPv4Network(f"{address}/{mask}", strict=False))


def _listening(root: Path) -> Iterator[int]:
    for name in ("tcp", "tcp6"):
        for line in _text(root / "proc/net" / name).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == _LISTENS:
                yield int(fields[1].rpartition(":")[2], 16)


def _count(root: Path, program: str) -> int:
    return sum(1 for path in (root / "proc").glob("[0-9]*/comm") if _text(path) == program)


def _engine_process(root: Path) -> EngineProcess | None:
    """dockerd by the number that it wrote down; None where there is none, as with an engine on another host."""
    number = _text(root / "run/docker.pid")
    score = _text(root / "proc" / number / "oom_score_adj") if number.isdecimal() else ""
    if not score:
        return None
    process = root / "proc" / number
    return EngineProcess(
        int(score), _open_files(_text(process / "limits")), _tasks_max(root, _text(process / "cgroup"))
    )


def _open_files(limits: str) -> int | None:
    """The soft limit, which is the one that counts."""
    for line in limits.splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdecimal() else None
    return None


def _tasks_max(root: Path, groups: str) -> str | None:
    """`pids.max` of its control group, in version 2 or 1; the root group has none."""
    for line in groups.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "pids"):
            found = _text(root / "sys/fs/cgroup" / controllers / group.lstrip("/") / "pids.max")
            if found:
                return found
    return None


def _log_options(root: Path) -> Mapping[str, str]:
    try:
        document = json.loads(_text(root / "etc/docker/daemon.json") or "{}")
        return {str(name): str(value) for name, value in document.get("log-opts", {}).items()}
    except (ValueError, AttributeError):  # dockerd itself would say so, and not start
        return {}


def _docker_from(root: Path) -> str:
    if not (root / "var/lib/dpkg/info/docker.io.list").exists():
        return "docker"
    lines = _text(root / "etc/os-release").splitlines()
    return "ubuntu" if any(line.replace('"', "") == "ID=ubuntu" for line in lines) else "debian"


def _is_clock_synchronised() -> bool | None:
    """What the kernel says, told by systemd: to ask it ourselves is forbidden to the service (ProtectClock=)."""
    return {"yes": True, "no": False}.get(_said("timedatectl", "show", "--property=NTPSynchronized", "--value") or "")


def _builder(docker_host: str) -> tuple[str, ...] | None:
    """Buildx writes down when it was used, for which a service has no home."""
    with tempfile.TemporaryDirectory(prefix="butai-") as folder:
        said = _said("docker", "buildx", "inspect", "default", DOCKER_HOST=docker_host, BUILDX_CONFIG=folder)
    return None if said is None else tuple(said.splitlines())


def _firewall(program: str) -> tuple[str, ...] | None:
    said = _said(program, "-S", keeps_capabilities=True)
    return None if said is None else tuple(said.splitlines())


def _said(*argv: str, keeps_capabilities: bool = False, **environment: str) -> str | None:
    """What a program says; None when it is not there, fails or hangs."""
    try:
        env = short_environment(**environment)
        done = run(argv, env=env, timeout_s=_ASKED_S, keeps_capabilities=keeps_capabilities)
    except OutsideError:
        return None
    return done.text.strip() if done.ok else None
