"""What of changed settings can be taken up while the agent runs, and what waits for its next start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import TypeVar

from agent.config.schema import NEEDS_RESTART, settings_of
from agent.config.settings import Settings

Section = TypeVar("Section")


def needs_restart(old: Settings, new: Settings) -> tuple[str, ...]:
    """The paths that differ but are read once at start."""
    return tuple(_fixed_differences(old, new, ""))


def keep(old: Settings, new: Settings) -> Settings:
    """`new`, with the values of `old` where a change needs a restart: no two parts of the agent ever disagree."""
    return _keep(old, new)


def files(path: Path, settings: Settings) -> tuple[Path, ...]:
    """The files whose change means that the settings must be read again: their own, and every secret's."""
    return (path, *(secret.path for secret in settings.secrets()))


def _keep(old: Section, new: Section) -> Section:
    kept = {}
    for setting in settings_of(new.__class__):
        before, after = getattr(old, setting.name), getattr(new, setting.name)
        if NEEDS_RESTART in setting.marks:
            kept[setting.name] = before
        elif is_dataclass(after) and type(before) is type(after):
            kept[setting.name] = _keep(before, after)
    return replace(new, **kept)  # type: ignore[type-var]


def _fixed_differences(old: object, new: object, path: str) -> Iterator[str]:
    for setting in settings_of(new.__class__):
        before, after = getattr(old, setting.name), getattr(new, setting.name)
        place = f"{path}.{setting.key}" if path else setting.key
        if NEEDS_RESTART in setting.marks and before != after:
            yield place
        elif is_dataclass(after) and type(before) is type(after):
            yield from _fixed_differences(before, after, place)
