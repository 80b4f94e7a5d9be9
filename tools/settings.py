"""Writes config.example.toml from the code: every key, its default, its comment. `python -m tools.settings`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.config import Settings
from agent.config.schema import FROM_TABLE, NEEDS_RESTART, Setting, settings_of

FILE = Path(__file__).parents[1] / "config.example.toml"

_HEAD = """\
# Settings of Butai. Copy this file to /etc/butai/config.toml and change what should be different.
#
# A line that starts with # and a key shows the default, or an example where its comment says so.
# `butai check-config` tells everything that is wrong with a file. A running agent takes up a changed
# file by itself, secrets included; a file with mistakes leaves the old settings in force.
#
# Secrets have files of their own, which other users must not be able to read. "credential:NAME" is
# what LoadCredential=NAME:... hands over in the unit of systemd. Relative paths start at this file's folder.
"""
_WIDTH = 100


def example() -> str:
    """The whole file."""
    return "\n".join([_HEAD, *_table(Settings, "", live=True)])


def _table(kind: type, path: str, *, live: bool) -> Iterator[str]:
    """The lines of one table and of those in it, which TOML wants behind its own keys."""
    settings = [setting for setting in settings_of(kind) if FROM_TABLE not in setting.marks]
    for setting in settings:
        if not setting.is_section and setting.table_of is None:
            yield from _key(setting, live=live)
    for setting in settings:
        place = f"{path}.{setting.key}" if path else setting.key
        if setting.table_of is not None:
            yield from _section(setting, setting.table_of, f"{place}.{setting.example}", live=True)
        elif setting.is_section:
            yield from _section(setting, setting.type, place, live=live and not setting.optional)


def _section(setting: Setting, kind: type, place: str, *, live: bool) -> Iterator[str]:
    if any(not inner.is_section for inner in settings_of(kind)):
        yield from _comment(setting.doc)
        yield f"{'' if live else '#'}[{place}]"
    yield from _table(kind, place, live=live)


def _key(setting: Setting, *, live: bool) -> Iterator[str]:
    shows_default = setting.example is None
    doc = setting.doc
    if NEEDS_RESTART in setting.marks:
        doc += " Read once, at start."
    if not shows_default and not setting.required:
        doc += " For example:"
    yield from _comment(doc)
    value = setting.default if shows_default else setting.example
    yield f"{'' if live and setting.required else '#'}{setting.key} = {toml(value)}"
    yield ""


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False))


def toml(value: Any) -> str:
    """One value, as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {toml(item)}' for key, item in value.items())} }}"
    return json.dumps(str(value), ensure_ascii=False)


if __name__ == "__main__":
    FILE.write_text(example(), encoding="utf-8")
