"""Releases on disk: what was read and checked once is what is created, also after a restart.

One folder for each environment, owned by the agent alone: a release holds the values of env files.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from agent.model.names import Revision, Slug
from agent.model.release import (
    BindMount,
    BuildSpec,
    Condition,
    Dependency,
    ExecHook,
    Release,
    Reload,
    ServiceSpec,
    WatchAction,
    WatchRule,
)

_FORMAT = 3  # raised when the same revision would be prepared differently: old files are then read again
_KEPT = 10  # of one environment; a release that is gone is read again when it is needed


class Releases:
    """Saves and finds releases by revision, settings and salt. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = Lock()
        self._recent: dict[Path, Release] = {}

    def directory(self, slug: Slug) -> Path:
        """Where everything of one environment lies, made when it is missing."""
        path = self._directory / slug
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def save(self, release: Release, *, fingerprint: str, salt: int) -> None:
        """Write it whole or not at all, readable by the agent alone."""
        self.directory(release.slug)
        path = self._path(release.slug, release.revision, fingerprint, salt)
        write_private(path, json.dumps({"format": _FORMAT, "release": dataclasses.asdict(release)}, sort_keys=True))
        with self._lock:
            self._recent = {known: kept for known, kept in self._recent.items() if known.parent != path.parent}
            self._recent[path] = release
        self._prune(path.parent)

    def load(self, slug: Slug, revision: Revision, *, fingerprint: str, salt: int) -> Release | None:
        """The release as it was saved; None when there is none, or a different agent wrote it."""
        path = self._path(slug, revision, fingerprint, salt)
        with self._lock:
            known = self._recent.get(path)
        if known is not None:
            return known
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            release = _release(content["release"]) if content["format"] == _FORMAT else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent, or cut off by a full disk: reading the revision again mends it
        if release is not None:
            with self._lock:
                self._recent[path] = release
        return release

    def known_places(self, slug: Slug) -> dict[str, int]:
        """Which network has which place in the environment's block of addresses."""
        try:
            content = json.loads((self._directory / slug / "addresses.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(name): int(place) for name, place in content.items()}

    def remember_places(self, slug: Slug, places: Mapping[str, int]) -> None:
        write_private(self.directory(slug) / "addresses.json", json.dumps(places, sort_keys=True))

    def has_files(self, slug: Slug) -> bool:
        return (self._directory / slug).exists()

    def forget(self, slug: Slug) -> None:
        """Remove everything that is kept of one environment; gone already is fine."""
        with self._lock:
            self._recent = {path: kept for path, kept in self._recent.items() if path.parent.name != slug}
        shutil.rmtree(self._directory / slug, ignore_errors=True)

    def _path(self, slug: Slug, revision: Revision, fingerprint: str, salt: int) -> Path:
        return self._directory / slug / f"{revision[:12]}-{fingerprint[:8]}-{salt}.json"

    def _prune(self, directory: Path) -> None:
        found = sorted(directory.glob("????????????-????????-*.json"), key=lambda path: path.stat().st_mtime)
        for path in found[:-_KEPT]:
            path.unlink(missing_ok=True)


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file in one step."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def _release(data: Mapping[str, Any]) -> Release:
    fields = {
        **data,
        "slug": Slug(data["slug"]),
        "revision": Revision(data["revision"]),
        "services": tuple(_service(service) for service in data["services"]),
    }
    for name in ("networks", "volumes", "notices", "inputs"):
        fields[name] = tuple(data[name])
    return Release(**fields)


def _service(data: Mapping[str, Any]) -> ServiceSpec:
    fields = {
        **data,
        "build": BuildSpec(**data["build"]) if data["build"] is not None else None,
        "depends_on": tuple(
            Dependency(
                needed["service"],
                Condition(needed["condition"]),
                required=needed["required"],
                restart=needed["restart"],
            )
            for needed in data["depends_on"]
        ),
        "watch": tuple(_rule(rule) for rule in data["watch"]),
        "binds": tuple(BindMount(**bind) for bind in data["binds"]),
        "reload": Reload(data["reload"]),
    }
    for name in ("ports", "bind_sources", "other_mounts"):
        fields[name] = tuple(data[name])
    return ServiceSpec(**fields)


def _rule(data: Mapping[str, Any]) -> WatchRule:
    hook = data["exec"]
    return WatchRule(
        path=data["path"],
        action=WatchAction(data["action"]),
        target=data["target"],
        ignore=tuple(data["ignore"]),
        include=tuple(data["include"]),
        exec=ExecHook(**{**hook, "command": tuple(hook["command"])}) if hook is not None else None,
    )
