"""What one service may ask of this host: each field is kept, checked, dropped with a word, or refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from agent.planning.policy_build import check_build
from agent.planning.policy_mounts import check_mounts
from agent.planning.policy_reach import (
    check_dns,
    check_extra_hosts,
    check_links,
    check_network_mode,
    check_networks,
    replace_container_name,
)
from agent.planning.policy_watch import check_develop
from agent.planning.rules import Subject, is_set

CAPABILITIES = frozenset(
    {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SYS_CHROOT"}
)
SYSCTLS = frozenset({"net.core.somaxconn", "net.ipv4.ip_unprivileged_port_start"})

# Kept as they are. The overlay clamps some of them and gives defaults to others.
_KEPT = frozenset(
    {
        "cap_drop",
        "command",
        "cpus",
        "cpu_shares",
        "dns_opt",
        "dns_search",
        "domainname",
        "entrypoint",
        "expose",
        "healthcheck",
        "hostname",
        "init",
        "mem_limit",
        "mem_reservation",
        "oom_score_adj",
        "pids_limit",
        "platform",
        "ports",
        "pull_policy",
        "read_only",
        "restart",
        "scale",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "stop_signal",
        "tmpfs",
        "tty",
        "ulimits",
        "user",
        "working_dir",
    }
)
# Means nothing here: for the terminal of `up`, for Windows, for another swap policy, or already resolved by Compose.
_SILENT = frozenset(
    {
        "attach",
        "container_name",
        "env_file",
        "extends",
        "isolation",
        "label_file",
        "mem_swappiness",
        "memswap_limit",
        "profiles",
        "pull_refresh_after",
    }
)
_DROPPED = {
    "mac_address": "two environments would clash",
    "cpuset": "the quota on `cpus` holds",
    "cpu_period": "the quota on `cpus` holds",
    "cpu_quota": "the quota on `cpus` holds",
    "cpu_count": "the quota on `cpus` holds",
    "cpu_percent": "the quota on `cpus` holds",
    "oom_kill_disable": "a container that is out of memory must end",
}
_NEVER = {
    "privileged": "it hands over the host",
    "use_api_socket": "it hands over the engine, and with it the host",
    "provider": "it starts a program of this host",
    "credential_spec": "it hands over credentials of the host",
    "runtime": "it chooses how containers are kept apart",
    "cgroup_parent": "it leaves the limits of its environment",
    "volumes_from": "mounts are shared by naming the same volume",
    "external_links": "it reaches containers of others",
    "cpu_rt_period": "it can stop every other process of the host",
    "cpu_rt_runtime": "it can stop every other process of the host",
    "storage_opt": "it sets options of the host's storage",
    "models": "this host runs no models",
    "post_start": "hooks do not run here; use an entrypoint or a one-shot service",
    "pre_stop": "hooks do not run here; use `stop_signal`",
}
_NAMESPACES = {"pid": (), "uts": (), "cgroup": ("private",), "userns_mode": (), "ipc": ("none", "private", "shareable")}
_LISTED = {  # field -> the operator's list, and why nobody else may
    "devices": ("devices", "it hands over a device of the host"),
    "gpus": ("devices", "it hands over a device of the host"),
    "device_cgroup_rules": ("devices", "it hands over devices of the host"),
    "group_add": ("groups", "a group of the host may own its files"),
}
_IMAGE_ID = re.compile(r"sha256(:.*)?", re.IGNORECASE)
_DOCKER_HUB = re.compile(r"((index|registry-1)\.)?docker\.io/", re.IGNORECASE)

_Check = Callable[[Any, Subject, frozenset[str]], Any]


def check_service(body: Mapping[str, Any], subject: Subject, *, services: frozenset[str]) -> dict[str, Any]:
    """A service that may run here. `services` are the names of all services of the model."""
    kept: dict[str, Any] = {}
    if re.match(rf"{re.escape(subject.rules.instance)}[-_]", subject.name):
        subject.refuse("name", f"names that begin with `{subject.rules.instance}-` belong to environments")
    for field, value in body.items():
        if field == "init" and value is False:
            kept[field] = False  # the image has an init of its own that must be the first process
        if not is_set(value) or field.startswith("x-") or field in _SILENT:
            continue
        if field in _KEPT:
            kept[field] = value
        elif field in _CHECKED:
            checked = _CHECKED[field](value, subject, services)
            if is_set(checked):
                kept[field] = checked
        elif field in _DROPPED:
            subject.note(f"`{field}` was removed: {_DROPPED[field].format(name=subject.name)}.")
        elif field in _NEVER:
            subject.refuse(field, _NEVER[field])
        elif field in _NAMESPACES:
            _namespace(field, str(value), subject)
        elif field in _LISTED:
            kept[field] = _listed(field, value, subject)
        else:
            subject.refuse(field, "this field is not known here")
    if is_set(body.get("container_name")):
        replace_container_name(str(body["container_name"]), kept, subject, services)
    if kept.get("hostname") in services - {subject.name}:
        subject.note(f"`hostname` was removed: another service is called `{kept.pop('hostname')}`.")
    return kept


def _namespace(field: str, value: str, subject: Subject) -> None:
    if value not in _NAMESPACES[field]:
        subject.refuse(field, f"`{value}` looks into the host or into another container")


def _listed(field: str, value: Any, subject: Subject) -> Any:
    allow, reason = _LISTED[field]
    allowed = getattr(subject.rules.allow, allow)
    for entry in value if isinstance(value, list) else [value]:
        name = str(entry.get("source") or entry.get("driver") or "gpu") if isinstance(entry, Mapping) else str(entry)
        if name not in allowed:
            subject.refuse(field, f"`{name}`: {reason}", allow=allow)
    return value


def _capabilities(value: list[str], subject: Subject, _: frozenset[str]) -> list[str]:
    allowed = CAPABILITIES | {name.upper().removeprefix("CAP_") for name in subject.rules.allow.capabilities}
    for name in value:
        if name.upper().removeprefix("CAP_") not in allowed:
            subject.refuse("cap_add", f"`{name}` is a key to the host", allow="capabilities")
    return value


def _security_opt(value: list[str], subject: Subject, _: frozenset[str]) -> list[str]:
    kept = []
    for option in value:
        if re.fullmatch(r"no-new-privileges([:=]true)?", option):
            continue  # the overlay sets it for everybody
        if option not in subject.rules.allow.security_opt:
            subject.refuse("security_opt", f"`{option}` weakens what keeps containers apart", allow="security_opt")
        kept.append(option)
    return kept


def _sysctls(value: Mapping[str, Any], subject: Subject, _: frozenset[str]) -> Mapping[str, Any]:
    for name in value:
        if name not in SYSCTLS and name not in subject.rules.allow.sysctls:
            subject.refuse("sysctls", f"`{name}` is a setting of the kernel", allow="sysctls")
    return value


def _image(value: str, subject: Subject, _: frozenset[str]) -> str:
    """The image by a name that can only be a name: a short hash would be read as the id of anybody's image."""
    name = _DOCKER_HUB.sub("", value, count=1)
    first = name.partition("/")[0]
    if _IMAGE_ID.fullmatch(name) or first.lower() == subject.rules.instance.lower():
        subject.refuse("image", f"`{value}` belongs to an environment of this host")
    has_registry = "/" in name and ("." in first or ":" in first or first == "localhost")
    registry = first if has_registry else "docker.io"
    allowed = subject.rules.allow.registries
    if allowed and registry not in allowed:
        subject.refuse("image", f"images of `{registry}` do not run here", allow="registries")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _environment(value: Mapping[str, Any], _subject: Subject, _services: frozenset[str]) -> dict[str, str]:
    """Literals and what the repository's `.env` or the operator gives; a bare name without a value is not set."""
    return {name: str(text) for name, text in value.items() if text is not None}


def _grants(value: list[Mapping[str, Any]], subject: Subject, _: frozenset[str]) -> list[dict[str, Any]]:
    for entry in value:
        for field in set(entry) - {"source", "target", "uid", "gid", "mode"}:
            subject.refuse(f"configs.{field}", "this field is not known here")
    return [dict(entry) for entry in value]


def _deploy(value: Mapping[str, Any], subject: Subject, _: frozenset[str]) -> dict[str, Any]:
    """What Compose itself heeds of `deploy`; the rest is Swarm's, and Compose ignores it too."""
    reservations = (value.get("resources") or {}).get("reservations") or {}
    if is_set(reservations.get("devices")):
        _listed("devices", reservations["devices"], subject)
    return {
        field: value[field] for field in ("replicas", "resources", "restart_policy", "update_config") if field in value
    }


def _logging(value: Mapping[str, Any], subject: Subject, _: frozenset[str]) -> None:
    driver = str(value.get("driver") or "local")
    if driver not in ("local", "json-file"):
        subject.note(f"logging to `{driver}` was replaced: logs stay on this host, bounded, for `butai logs`.")


_CHECKED: Mapping[str, _Check] = {
    "build": lambda value, subject, _: check_build(value, subject),
    "cap_add": _capabilities,
    "configs": _grants,
    "depends_on": lambda value, subject, _: value,
    "deploy": _deploy,
    "develop": lambda value, subject, _: check_develop(value, subject),
    "dns": check_dns,
    "environment": _environment,
    "extra_hosts": check_extra_hosts,
    "image": _image,
    "labels": lambda value, subject, _: subject.labels(value),
    "links": check_links,
    "logging": _logging,
    "network_mode": check_network_mode,
    "networks": check_networks,
    "secrets": _grants,
    "security_opt": _security_opt,
    "sysctls": _sysctls,
    "volumes": lambda value, subject, _: check_mounts(value, subject),
}
