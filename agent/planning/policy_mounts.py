"""What a service may mount: its checkout, volumes of its environment, memory; never another part of the host."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from agent.planning.rules import Subject, is_set
from agent.planning.tree import Kind, Outside

MAX_FILE = 64 * 1024  # bytes of a config or secret

_PRIVATE = ("", "private", "rprivate")
_FIELDS = {
    "bind": frozenset({"type", "source", "target", "read_only", "bind", "consistency"}),
    "volume": frozenset({"type", "source", "target", "read_only", "volume", "consistency"}),
    "tmpfs": frozenset({"type", "target", "tmpfs", "read_only", "consistency"}),
}
_OPTIONS = {
    "bind": frozenset({"propagation", "create_host_path", "selinux"}),
    "volume": frozenset({"nocopy", "subpath"}),
    "tmpfs": frozenset({"size", "mode"}),
}


def check_mounts(mounts: list[Mapping[str, Any]], subject: Subject) -> list[dict[str, Any]]:
    """The `volumes:` of a service. A bind source in the checkout becomes relative to the root of the repository."""
    return [kept for mount in mounts if (kept := _mount(mount, subject)) is not None]


def _mount(mount: Mapping[str, Any], subject: Subject) -> dict[str, Any] | None:
    kind, field = str(mount.get("type", "volume")), f"volumes[{mount.get('target', '')}]"
    if kind not in _FIELDS:
        subject.refuse(field, f"mounts of type `{kind}` do not run here")
        return None
    options = mount.get(kind) or {}
    for key in [*(set(mount) - _FIELDS[kind]), *(set(options) - _OPTIONS[kind])]:
        subject.refuse(f"{field}.{key}", "this field is not known here")
    kept = {key: value for key, value in mount.items() if key in _FIELDS[kind] and key != "consistency"}
    if kind == "bind":
        return _bind(kept, options, field, subject)
    return kept


def _bind(mount: dict[str, Any], options: Mapping[str, Any], field: str, subject: Subject) -> dict[str, Any] | None:
    source = str(mount.get("source", ""))
    if str(options.get("propagation", "")) not in _PRIVATE:
        subject.refuse(f"{field}.propagation", "mounts made in a container would appear on the host")
    mount["bind"] = {"create_host_path": False}  # the agent makes missing folders itself: Docker would, as root
    try:
        place = subject.rules.place(source)
    except Outside as reason:
        return _outside(mount, source, field, subject, str(reason))
    if place.path == ".git" or place.path.startswith(".git/"):
        subject.refuse(field, "`.git` leads out of the checkout")
        return None
    mount["source"] = place.path
    mount["kind"] = place.kind.value
    return mount


def _outside(mount: dict[str, Any], source: str, field: str, subject: Subject, reason: str) -> dict[str, Any] | None:
    clean = posixpath.normpath(source)
    allowed = subject.rules.allow.bind_mounts
    if clean not in allowed and f"{clean}:ro" not in allowed and f"{clean}:rw" not in allowed:
        subject.refuse(field, f"{reason}; only folders of the repository are mounted", allow="bind_mounts")
        return None
    if f"{clean}:rw" not in allowed:
        mount["read_only"] = True
    return {**mount, "source": clean}


def check_file(body: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """A top-level config or secret: `file` relative to the root of the repository, or `content` that we write."""
    if body.get("external"):
        subject.refuse("external", "it needs Swarm; use `file:` or a variable that the operator sets")
        return {}
    for field in body:
        if field not in ("name", "file", "content", "environment", "external", "labels") and not field.startswith("x-"):
            subject.refuse(field, "this field is not known here")
    variable = body.get("environment")
    if is_set(variable):
        value = subject.rules.variables.get(str(variable))
        if value is None:
            subject.refuse("environment", f"`{variable}` is not a variable of the operator's", allow="variables")
            return {}
        return {"content": value}
    if "content" in body:
        return {"content": str(body["content"]).replace("$$", "$")}
    return _file(str(body.get("file", "")), subject)


def _file(path: str, subject: Subject) -> dict[str, Any]:
    try:
        place = subject.rules.place(path)
    except Outside as reason:
        subject.refuse("file", str(reason))
        return {}
    if place.kind is not Kind.FILE:
        subject.refuse("file", f"`{place.path}` is not a file of the repository")
        return {}
    return {"file": place.path}
