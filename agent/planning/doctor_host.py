"""Checks of the kernel's limits, disks, memory, clock, and of the programs that the agent starts."""

from __future__ import annotations

from agent.config import Settings
from agent.model.facts import Facts
from agent.model.finding import Finding, Verdict, failure, not_applicable, ok, unknown, warning
from agent.planning.care import least_free
from agent.planning.packages import install, install_compose, upgrade, upgrade_compose
from agent.planning.versions import version_of

INSTANCES, WATCHES = "fs.inotify.max_user_instances", "fs.inotify.max_user_watches"
CONNTRACK, TRACKED = "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_count"
PID_MAX = "kernel.pid_max"
SYSCTLS = (INSTANCES, WATCHES, CONNTRACK, TRACKED, PID_MAX)

_GIB = 1024**3
_FULL = 0.8  # of the connection table

_LESS_CACHE = "docker builder prune --force --filter until=72h"


def compose(facts: Facts, settings: Settings) -> Finding:
    """The version of the Compose plugin.

    Source: host-limits, preflight: compose.
    """
    found = version_of(facts.host.compose)
    repair = upgrade_compose(facts)
    if not facts.host.compose or found is None:
        return failure("The Compose plugin is missing or does not tell its version.", install_compose(facts))
    if found < (2, 24):
        return failure(f"Compose {facts.host.compose} is older than 2.24: the agent cannot use it.", repair)
    if found < (2, 40, 2):
        return warning(
            f"Compose {facts.host.compose} is older than 2.40.2, which mended CVE-2025-62725 (remote `include`);"
            " the agent refuses those by itself.",
            repair,
        )
    if found < (5, 2):
        return warning(f"Compose {facts.host.compose} is older than 5.2.0, which is recommended.", repair)
    return ok(f"Compose {facts.host.compose}.")


def git(facts: Facts, settings: Settings) -> Finding:
    """The version of git, which reads what strangers push.

    Source: host-limits, preflight: git.
    """
    found = version_of(facts.host.git)
    if not facts.host.git or found is None:
        return failure("git is missing or does not tell its version.", install(facts, "git"))
    if found < (2, 50, 1):
        return warning(
            f"git {facts.host.git} is older than 2.50.1: it is safe only where its packagers have mended it.",
            upgrade(facts, "git"),
        )
    return ok(f"git {facts.host.git}.")


def inotify_instances(facts: Facts, settings: Settings) -> Finding:
    """How many programs may watch files: without a watch Traefik sees no route, and every URL is a 404.

    Source: host-limits, inotify.
    """
    return _at_least(facts, INSTANCES, 8_192, failing_below=512, what="programs may watch files")


def inotify_watches(facts: Facts, settings: Settings) -> Finding:
    """How many files one user's programs may watch: development servers in containers share this number.

    Source: host-limits, inotify.
    """
    return _at_least(facts, WATCHES, 1_048_576, failing_below=65_536, what="files may be watched")


def conntrack(facts: Facts, settings: Settings) -> Finding:
    """The table of open connections, and how full it is: when it is full, new ones time out, SSH included.

    Source: host-limits, conntrack.
    """
    limit, used = facts.host.sysctls.get(CONNTRACK), facts.host.sysctls.get(TRACKED)
    if limit is None:
        return not_applicable("The kernel tracks no connections.")
    if used is not None and used >= limit * _FULL:
        target = max(262_144, 2 * limit)
        return Finding(
            Verdict.FAILURE,
            f"{used} of {limit} connections are tracked: when the table is full, new ones time out.",
            f"sysctl -w {CONNTRACK}={target}",
            raises={CONNTRACK: target},
        )
    return _at_least(facts, CONNTRACK, 262_144, failing_below=0, what="connections may be open")


def processes(facts: Facts, settings: Settings) -> Finding:
    """How many processes and threads the host can number: each container may have `limits.pids` of them.

    Source: host-limits, nofile / pids / threads.
    """
    return _at_least(facts, PID_MAX, 4_194_304, failing_below=0, what="processes and threads may exist")


def disk_space(facts: Facts, settings: Settings) -> Finding:
    """Free space below the state directory and Docker's own folder: less than `[care]` asks for is a failure.

    Source: host-limits, images + build cache.
    """
    if not facts.disks:
        return unknown("No disk could be measured.")
    least = {one.path: max(5 * _GIB, least_free(one.size_bytes, settings.care)) for one in facts.disks}
    disk = min(facts.disks, key=lambda one: one.free_bytes - least[one.path])
    says = f"{disk.free_bytes / _GIB:.1f} of {disk.size_bytes / _GIB:.1f} GiB are free at {disk.path}."
    if disk.free_bytes < least[disk.path]:
        return failure(says, _LESS_CACHE)
    return warning(says, _LESS_CACHE) if disk.free_bytes < 15 * _GIB else ok(says)


def disk_inodes(facts: Facts, settings: Settings) -> Finding:
    """Free inodes: node_modules use them up while `df` still shows free gigabytes.

    Source: host-limits, overlay2 inodes.
    """
    counted = [disk for disk in facts.disks if disk.inodes]
    if not facts.disks:
        return unknown("No disk could be measured.")
    if not counted:
        return ok("The file systems make inodes as they need them.")
    disk = min(counted, key=lambda one: one.free_inodes / one.inodes)
    left = disk.free_inodes / disk.inodes
    says = f"{left:.0%} of the inodes are free at {disk.path}."
    if left < 0.05:
        return failure(says, _LESS_CACHE)
    return warning(says, _LESS_CACHE) if left < 0.2 else ok(says)


def memory(facts: Facts, settings: Settings) -> Finding:
    """Memory that can still be had: below 2 GB the kernel may soon end the engine or the agent.

    Source: host-limits, OOM.
    """
    total, free = facts.host.memory_bytes, facts.host.memory_free_bytes
    if total is None or free is None:
        return unknown("The memory could not be measured.")
    says = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB of memory can be had."
    repair = "butai sleep BRANCH for what nobody uses now, or a larger instance"
    if free < _GIB / 2:
        return failure(says, repair)
    return warning(says, repair) if free < 2 * _GIB else ok(says)


def swap(facts: Facts, settings: Settings) -> Finding:
    """A swap file: it turns the kernel's killing of processes into slowness.

    Source: host-limits, OOM.
    """
    if facts.host.swap_bytes is None:
        return unknown("The swap space could not be measured.")
    if not facts.host.swap_bytes:
        return warning(
            "There is no swap space: a moment without memory ends processes.",
            "fallocate -l 4G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile"
            " && echo '/swapfile none swap sw 0 0' >> /etc/fstab",
        )
    return ok(f"{facts.host.swap_bytes / _GIB:.1f} GiB of swap space.")


def clock(facts: Facts, settings: Settings) -> Finding:
    """The clock follows a server: signatures of Slack and AWS end by it, and so do certificates.

    Source: host-limits, preflight: clock sync.
    """
    if facts.host.is_clock_synchronised is None:
        return unknown("Whether the clock is synchronised is told by `timedatectl`, which does not answer here.")
    if not facts.host.is_clock_synchronised:
        return warning("The clock follows no server.", "timedatectl set-ntp true")
    return ok("The clock is synchronised.")


def _at_least(facts: Facts, name: str, wanted: int, *, failing_below: int, what: str) -> Finding:
    found = facts.host.sysctls.get(name)
    if found is None:
        return unknown(f"{name} could not be read.")
    if found >= wanted:
        return ok(f"{found} {what} ({name}).")
    return Finding(
        Verdict.FAILURE if found < failing_below else Verdict.WARNING,
        f"Only {found} {what} ({name}); {wanted} is wanted.",
        f"sysctl -w {name}={wanted}",
        raises={name: wanted},
    )
