"""Doctor: what of this host will bite a staging host, judged by facts that were gathered just now.

Every check is a pure function of the facts and the settings; its docstring begins with what it looks at and ends with
the line of the reference that it comes from, which is how docs/reference/doctor.md gets its table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from agent.config import Settings
from agent.model.facts import Facts
from agent.model.finding import Finding, Verdict
from agent.planning import doctor_aws, doctor_edge, doctor_engine, doctor_host

_TOLD = {Verdict.FAILURE: "failure", Verdict.WARNING: "warning", Verdict.UNKNOWN: "unknown", Verdict.OK: "ok"}


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is what people, programs and the documents call it."""

    name: str
    judge: Callable[[Facts, Settings], Finding]


CHECKS = (
    Check("engine", doctor_engine.engine),
    Check("compose", doctor_host.compose),
    Check("git", doctor_host.git),
    Check("live-restore", doctor_engine.live_restore),
    Check("engine-limits", doctor_engine.engine_limits),
    Check("address-pools", doctor_engine.address_pools),
    Check("address-overlap", doctor_engine.address_overlap),
    Check("bridge-ports", doctor_engine.bridge_ports),
    Check("log-driver", doctor_engine.log_driver),
    Check("storage-driver", doctor_engine.storage_driver),
    Check("build-cache", doctor_engine.build_cache),
    Check("registry-mirror", doctor_engine.registry_mirror),
    Check("docker-proxy", doctor_engine.docker_proxy),
    Check("engine-oom", doctor_engine.engine_oom),
    Check("engine-files", doctor_engine.engine_files),
    Check("engine-tasks", doctor_engine.engine_tasks),
    Check("inotify-instances", doctor_host.inotify_instances),
    Check("inotify-watches", doctor_host.inotify_watches),
    Check("conntrack", doctor_host.conntrack),
    Check("processes", doctor_host.processes),
    Check("disk-space", doctor_host.disk_space),
    Check("disk-inodes", doctor_host.disk_inodes),
    Check("memory", doctor_host.memory),
    Check("swap", doctor_host.swap),
    Check("clock", doctor_host.clock),
    Check("firewall", doctor_edge.firewall),
    Check("imds-tokens", doctor_aws.imds_tokens),
    Check("imds-hops", doctor_aws.imds_hops),
    Check("imds-firewall", doctor_aws.imds_firewall),
    Check("instance-role", doctor_aws.instance_role),
    Check("project-roles", doctor_aws.project_roles),
    Check("spot", doctor_aws.spot),
    Check("traefik", doctor_edge.traefik),
    Check("ports", doctor_edge.ports),
    Check("agent-port", doctor_edge.agent_port),
    Check("dns", doctor_edge.dns),
    Check("dns-records", doctor_edge.dns_records),
    Check("certificate", doctor_edge.certificate),
    Check("front-door", doctor_edge.front_door),
    Check("slack", doctor_edge.slack),
)


def examine(facts: Facts, settings: Settings) -> tuple[Finding, ...]:
    """One finding for each check, in the order in which an operator would repair things."""
    return tuple(replace(check.judge(facts, settings), check=check.name) for check in CHECKS)


def worst(findings: Iterable[Finding]) -> Verdict:
    """The verdict on the host: what could not be looked at counts for less than a warning."""
    found = {finding.verdict for finding in findings}
    return next(verdict for verdict in Verdict if verdict in found or verdict is Verdict.OK)


def summary(findings: Iterable[Finding]) -> str:
    """One line: `1 failure (engine), 2 warnings (git, compose), 20 ok`."""
    findings = tuple(findings)
    counts = Counter(finding.verdict for finding in findings)
    parts = []
    for verdict, word in _TOLD.items():
        if counts[verdict]:
            plural = "s" if counts[verdict] > 1 and verdict in (Verdict.FAILURE, Verdict.WARNING) else ""
            names = ", ".join(finding.check for finding in findings if finding.verdict is verdict)
            named = f" ({names})" if verdict in (Verdict.FAILURE, Verdict.WARNING) else ""
            parts.append(f"{counts[verdict]} {word}{plural}{named}")
    return ", ".join(parts)


def repairs(findings: Iterable[Finding]) -> dict[str, int]:
    """What `--fix` sets, in all: kernel settings and their values."""
    return {name: value for finding in findings for name, value in finding.raises.items()}
