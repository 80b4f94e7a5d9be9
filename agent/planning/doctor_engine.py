"""Checks of Docker Engine: its version, what a restart of it does, and what it runs out of."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from agent.config import Settings
from agent.model.facts import EngineFacts, Facts
from agent.model.finding import Finding, failure, not_applicable, ok, unknown, warning
from agent.planning.packages import upgrade_engine
from agent.planning.versions import version_of

_FILE = "/etc/docker/daemon.json"
_POOLS = (("172.17.0.0/16", 16), *((f"172.{n}.0.0/16", 16) for n in range(18, 32)), ("192.168.0.0/16", 20))
_SPARE = 5  # networks
_BRIDGE_PORTS = 1_023
_COPYING = ("vfs", "devicemapper", "aufs")
_RESTART = "then `systemctl restart docker` (containers go on only where live-restore was on before)"


def engine(facts: Facts, settings: Settings) -> Finding:
    """Docker Engine answers, and its version has the mends that a host of strangers' containers needs.

    Source: host-limits, preflight: dockerd reachable & version; iptables/firewalld flush.
    """
    if facts.engine is None:
        return failure(facts.engine_problem or "Docker Engine does not answer.", "systemctl start docker")
    version, found = facts.engine.version, version_of(facts.engine.version) or ()
    repair = upgrade_engine(facts)
    if found < (25,):
        return failure(f"Docker Engine {version} is older than 25: the agent cannot use it.", repair)
    if found < (28, 5, 2) or (29,) <= found < (29, 3, 1):
        newest = "29.3.1" if found >= (29,) else "28.5.2"
        return warning(
            f"Docker Engine {version} is older than {newest}, which mended how it isolates containers.", repair
        )
    return ok(f"Docker Engine {version}.")


def live_restore(facts: Facts, settings: Settings) -> Finding:
    """Containers go on while the engine is restarted or upgraded.

    Source: host-limits, daemon.json change needs restart.
    """
    if facts.engine is None:
        return _silent()
    if facts.engine.is_live_restoring:
        return ok("Containers go on while the engine is restarted.")
    return warning(
        "A restart of the engine stops every environment.",
        f'"live-restore": true in {_FILE}, then `systemctl reload docker`',
    )


def engine_limits(facts: Facts, settings: Settings) -> Finding:
    """The engine can hold containers to the limits that the agent gives them.

    Source: host-limits, OOM; nofile / pids / threads.
    """
    if facts.engine is None:
        return _silent()
    repair = "cgroup_enable=memory swapaccount=1 on the kernel's command line, then reboot"
    lacks = [what for what in facts.engine.lacks if what != "swap"]
    if lacks:
        return failure(f"The kernel does not limit {' and '.join(lacks)} of containers: one can take them all.", repair)
    if facts.engine.lacks:
        return warning("The kernel does not limit the swap space of containers.", repair)
    return ok("Memory, processors and processes of a container can be limited.")


def address_pools(facts: Facts, settings: Settings) -> Finding:
    """Networks that the engine can still make: the agent's have addresses of their own, all others use its pools.

    Source: host-limits, subnets.
    """
    if facts.engine is None:
        return _silent()
    pools = facts.engine.pools or _POOLS
    total = sum(2 ** max(0, size - IPv4Network(base).prefixlen) for base, size in pools)
    used = sum(1 for subnet in _subnets(facts.engine) if any(subnet.overlaps(IPv4Network(base)) for base, _ in pools))
    left = total - used - _SPARE
    says = f"{max(0, total - used)} of {total} networks can still be made from the engine's address pools."
    repair = (
        f'"default-address-pools": [{{"base": "10.201.0.0/16", "size": 26}}] in {_FILE}, {_RESTART};'
        " `docker network prune` removes what nobody uses"
    )
    if left <= 0:
        return failure(says, repair)
    return warning(says, repair) if left < _SPARE * 2 else ok(says)


def address_overlap(facts: Facts, settings: Settings) -> Finding:
    """`docker.address_pool` overlaps neither the VPC nor a network of somebody else's.

    Source: host-limits, subnets: check it does not overlap the VPC.
    """
    pool = IPv4Network(settings.docker.address_pool)
    repair = "another `docker.address_pool` in the settings, then restart the agent"
    for place in (*facts.host.networks, *facts.instance.vpc):
        if IPv4Network(place).overlaps(pool):
            return failure(f"docker.address_pool {pool} overlaps {place}, which this host talks to.", repair)
    if facts.engine is None:
        return _silent()
    for network in facts.engine.networks:
        if not network.is_ours and any(IPv4Network(subnet).overlaps(pool) for subnet in network.subnets):
            return warning(
                f"docker.address_pool {pool} overlaps the network {network.name}, which is not ours.", repair
            )
    return ok(f"docker.address_pool {pool} is the agent's alone.")


def bridge_ports(facts: Facts, settings: Settings) -> Finding:
    """Containers on one network: a bridge of the kernel has 1,023 ports.

    Source: host-limits, bridge ports.
    """
    if facts.engine is None:
        return _silent()
    fullest = max(facts.engine.networks, key=lambda one: one.containers, default=None)
    if fullest is None or not fullest.containers:
        return ok("No network has a container.")
    says = f"{fullest.containers} of {_BRIDGE_PORTS} ports are taken on the fullest network, {fullest.name}."
    repair = f"docker network inspect {fullest.name}: spread its containers over several networks"
    if fullest.containers >= 1_000:
        return failure(says, repair)
    return warning(says, repair) if fullest.containers >= 800 else ok(says)


def log_driver(facts: Facts, settings: Settings) -> Finding:
    """How logs of containers are kept that the agent did not start: json-file has no limit of its own.

    Source: host-limits, json-file logs.
    """
    if facts.engine is None:
        return _silent()
    driver = facts.engine.log_driver
    if driver == "json-file" and "max-size" not in facts.host.log_options:
        return warning(
            "Logs of containers that others start grow without a limit (json-file); those of environments do not.",
            f'"log-driver": "local" in {_FILE}, {_RESTART}',
        )
    return ok(f"Logs are kept by {driver}.")


def storage_driver(facts: Facts, settings: Settings) -> Finding:
    """How layers are stored: a driver that copies them makes every start slow and fills the disk.

    Source: host-limits, overlay2 inodes; container writable layer.
    """
    if facts.engine is None:
        return _silent()
    driver, backing = facts.engine.storage_driver, facts.engine.backing
    if driver in _COPYING:
        return failure(
            f"The storage driver {driver} copies whole layers.",
            f'"storage-driver": "overlay2" in {_FILE}, {_RESTART}; images are pulled and built again',
        )
    on = f" on {backing}" if backing else ""
    quota = "" if backing == "xfs" else "; it has no quota for what containers write"
    return ok(f"Layers are stored by {driver}{on}{quota}.")


def build_cache(facts: Facts, settings: Settings) -> Finding:
    """The build cache has an upper bound: `defaultKeepStorage`, which most advice names, is a floor and no bound.

    Source: host-limits, images + build cache.
    """
    if facts.host.builder is None:
        return unknown("What bounds the build cache is told by `docker buildx inspect`, which does not answer here.")
    if any(line.strip().startswith("Max Used Space:") for line in facts.host.builder):
        return ok("The build cache has an upper bound.")
    return warning(
        "The builder tells no upper bound of its cache.",
        '"builder": {"gc": {"enabled": true, "defaultReservedSpace": "5GB", "defaultMaxUsedSpace": "20GB",'
        f' "defaultMinFreeSpace": "15GB"}}}} in {_FILE}, {_RESTART}; where the engine knows no such keys'
        " `docker builder prune --force --keep-storage 20GB` from a timer",
    )


def registry_mirror(facts: Facts, settings: Settings) -> Finding:
    """A mirror of Docker Hub, which answers anonymous hosts with 429 after some pulls.

    Source: host-limits, Docker Hub pull limits.
    """
    if facts.engine is None:
        return _silent()
    if facts.engine.mirrors:
        return ok(f"Docker Hub is pulled from through {facts.engine.mirrors[0]}.")
    return warning(
        "Docker Hub counts the pulls of this host, and refuses after some.",
        f'"registry-mirrors": ["https://mirror.gcr.io"] in {_FILE}, then `systemctl reload docker`',
    )


def docker_proxy(facts: Facts, settings: Settings) -> Finding:
    """Programs that the engine starts for published ports, one for each port and address family.

    Source: host-limits, docker-proxy.
    """
    count = facts.host.docker_proxies
    if count <= 100:
        return ok(f"{count} programs serve published ports.")
    return warning(
        f"{count} programs serve published ports; environments publish none.",
        f'"userland-proxy": false in {_FILE}, {_RESTART}',
    )


def engine_oom(facts: Facts, settings: Settings) -> Finding:
    """The kernel ends a container before it ends the engine.

    Source: host-limits, OOM.
    """
    process = facts.host.engine_process
    if process is None or process.oom_score_adj is None:
        return unknown("dockerd's own process could not be looked at.")
    if process.oom_score_adj > -500:
        return warning(
            "Without memory the kernel may end dockerd before a container.",
            "systemctl edit docker: [Service] OOMScoreAdjust=-500; until then as root"
            " `choom -n -500 -p $(cat /run/docker.pid)`",
        )
    return ok("Without memory the kernel ends a container before dockerd.")


def engine_files(facts: Facts, settings: Settings) -> Finding:
    """Files that the engine may have open: some for each container, and one for each of its logs.

    Source: host-limits, nofile / pids / threads.
    """
    process = facts.host.engine_process
    if process is None or process.open_files is None:
        return unknown("dockerd's own process could not be looked at.")
    if process.open_files < 65_536:
        return warning(
            f"dockerd may have only {process.open_files} files open.",
            "systemctl edit docker: [Service] LimitNOFILE=1048576; until then as root"
            " `prlimit --nofile=1048576 --pid $(cat /run/docker.pid)`",
        )
    return ok(f"dockerd may have {process.open_files} files open.")


def engine_tasks(facts: Facts, settings: Settings) -> Finding:
    """systemd puts no limit on the engine's processes and threads.

    Source: host-limits, nofile / pids / threads.
    """
    process = facts.host.engine_process
    if process is None or process.tasks_max is None:
        return not_applicable("dockerd is no service of systemd here, or cannot be looked at.")
    if process.tasks_max != "max":
        return warning(
            f"systemd allows dockerd {process.tasks_max} processes and threads.",
            "systemctl set-property docker.service TasksMax=infinity",
        )
    return ok("systemd does not limit dockerd's processes and threads.")


def _silent() -> Finding:
    return unknown("Docker Engine does not answer.", "systemctl start docker")


def _subnets(found: EngineFacts) -> Iterator[IPv4Network]:
    return (IPv4Network(subnet) for network in found.networks for subnet in network.subnets)
