"""What a `build:` section may ask: files of the repository, no host network, no credentials unless allowed."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from agent.planning.rules import Subject, is_set
from agent.planning.tree import Kind, Outside

_KEPT = frozenset(
    {
        "additional_contexts",
        "args",
        "cache_from",
        "context",
        "dockerfile",
        "dockerfile_inline",
        "no_cache",
        "platforms",
        "pull",
        "secrets",
        "shm_size",
        "ssh",
        "target",
    }
)
_SILENT = frozenset({"isolation", "provenance", "sbom"})
_DROPPED = {
    "tags": "images are tagged after the environment",
    "cache_to": "the build cache of this host is shared already",
    "extra_hosts": "builds resolve names as the host does",
    "ulimits": "builds run with the host's limits",
}
_NEVER = {
    "privileged": "it hands over the host while building",
    "entitlements": "it hands over the host while building",
}


def check_build(body: Mapping[str, Any], subject: Subject) -> dict[str, Any]:
    """A `build:` section that may run here; `context` is relative to the root of the repository."""
    kept: dict[str, Any] = {}
    for field, value in body.items():
        if not is_set(value) or field.startswith("x-") or field in _SILENT:
            continue
        if field == "labels":
            kept[field] = subject.labels(value)
        elif field in _KEPT:
            kept[field] = value
        elif field in _DROPPED:
            subject.note(f"`build.{field}` was removed: {_DROPPED[field]}.")
        elif field in _NEVER:
            subject.refuse(f"build.{field}", _NEVER[field])
        elif field == "network":
            if _network(str(value), subject):
                kept[field] = value
        else:
            subject.refuse(f"build.{field}", "this field is not known here")
    _sessions(kept, subject)
    return _contexts(kept, subject)


def _network(value: str, subject: Subject) -> bool:
    """Whether the value says anything beside the default."""
    if value == "host":
        subject.refuse("build.network", "the build would reach what listens on this host only")
    elif value not in ("default", "none"):
        subject.refuse("build.network", f"`{value}` is not a network that builds may use")
    return value == "none"


def _sessions(build: Mapping[str, Any], subject: Subject) -> None:
    allow = subject.rules.allow
    for entry in build.get("ssh") or ():
        name = str(entry).partition("=")[0]
        if name not in allow.build_ssh or "=" in str(entry):
            subject.refuse("build.ssh", f"`{entry}` hands over keys of this host", allow="build_ssh")
    for entry in build.get("secrets") or ():
        name = str(entry.get("source", ""))
        if name not in allow.build_secrets:
            subject.refuse(
                "build.secrets", f"`{name}` would be readable by whatever the build runs", allow="build_secrets"
            )


def _contexts(build: dict[str, Any], subject: Subject) -> dict[str, Any]:
    context = _directory(str(build.get("context", "")), "build.context", subject)
    build["context"] = context
    extra = {
        name: _additional(name, str(value), subject) for name, value in (build.get("additional_contexts") or {}).items()
    }
    if extra:
        build["additional_contexts"] = extra
    if "dockerfile_inline" not in build and context:
        build["dockerfile"] = _dockerfile(context, str(build.get("dockerfile") or "Dockerfile"), subject)
    return build


def _directory(path: str, field: str, subject: Subject) -> str:
    try:
        place = subject.rules.place(path)
    except Outside as reason:
        remote = "://" in path or path.startswith(("git@", "github.com/"))
        subject.refuse(field, f"`{path}` is fetched from elsewhere" if remote else str(reason))
        return ""
    if place.kind is not Kind.DIRECTORY:
        subject.refuse(field, f"`{place.path}` is not a folder of the repository")
    return place.path


def _additional(name: str, value: str, subject: Subject) -> str:
    field = f"build.additional_contexts.{name}"
    if value in subject.rules.allow.contexts:
        return value
    if "://" in value:
        subject.refuse(field, f"`{value}` is not in the repository", allow="contexts")
        return value
    return _directory(value, field, subject)


def _dockerfile(context: str, dockerfile: str, subject: Subject) -> str:
    """Relative to the context, with links followed."""
    base = subject.rules.root if context == "." else f"{subject.rules.root}/{context}"
    try:
        place = subject.rules.place(posixpath.normpath(posixpath.join(base, dockerfile)))
    except Outside as reason:
        subject.refuse("build.dockerfile", str(reason))
        return dockerfile
    if place.kind is not Kind.FILE:
        subject.refuse("build.dockerfile", f"`{place.path}` is not a file of the repository")
    return posixpath.relpath(place.path, context)
