"""The settings in force while the agent runs: a changed file is taken up whole, a bad one not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TypeVar

from agent.config.loading import load
from agent.config.schema import NEEDS_RESTART, settings_of
from agent.config.settings import Settings

Section = TypeVar("Section")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did: the paths that changed, and those that wait for a restart."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


class Live:
    """Ask it for the settings each time; between two asks they may have changed. Safe in any thread."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        self._lock = threading.Lock()

    def __call__(self) -> Settings:
        return self._settings

    def files(self) -> tuple[Path, ...]:
        """The files to watch: the settings and every secret they name."""
        return (self._path, *(secret.path for secret in self._settings.secrets()))

    def reload(self) -> Reloaded:
        """Read the file again. ConfigError with its problems: then everything stays as it was.

        A setting that is read once at start keeps its old value until then, so that no two parts of
        the agent ever disagree about it.
        """
        with self._lock:
            old, new = self._settings, load(self._path)
            waiting = [path for path, needs_restart in _differences(old, new, "") if needs_restart]
            kept = _keep_fixed(old, new)
            changed = [path for path, _ in _differences(old, kept, "")]
            self._settings = kept
        return Reloaded(changed=tuple(changed), needs_restart=tuple(waiting))


def _keep_fixed(old: Section, new: Section) -> Section:
    """`new` with the values of `old` where a change needs a restart."""
    kept = {}
    for setting in settings_of(new.__class__):
        before, after = getattr(old, setting.name), getattr(new, setting.name)
        if NEEDS_RESTART in setting.marks:
            kept[setting.name] = before
        elif is_dataclass(after) and type(before) is type(after):
            kept[setting.name] = _keep_fixed(before, after)
    return replace(new, **kept)  # type: ignore[type-var]


def _differences(old: object, new: object, path: str) -> Iterator[tuple[str, bool]]:
    """(path, needs a restart) of every setting that differs."""
    for setting in settings_of(new.__class__):
        before, after = getattr(old, setting.name), getattr(new, setting.name)
        place = f"{path}.{setting.key}" if path else setting.key
        if before == after:
            continue
        if is_dataclass(after) and type(before) is type(after):
            yield from _differences(before, after, place)
        else:
            yield place, NEEDS_RESTART in setting.marks
