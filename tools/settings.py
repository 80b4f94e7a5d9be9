"""Writes config.example.toml and docs/reference/settings.md from the code: every key, its default, its comment.

A unit test holds the files to the code; `python -m tools.settings` brings them up to date.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.config import Settings
from agent.config.schema import FROM_TABLE, NEEDS_RESTART, Setting, settings_of

ROOT = Path(__file__).parents[1]
FILE = ROOT / "config.example.toml"
PAGE = ROOT / "docs" / "reference" / "settings.md"

_HEAD = """\
# Settings of Butai. Copy this file to /etc/butai/config.toml and change what should be different.
#
# A line that starts with # and a key shows the default, or an example where its comment says so.
# `butai check-config` tells everything that is wrong with a file. A running agent takes up a changed
# file by itself, and changed files of secrets; one with mistakes leaves the old settings in force.
#
# Secrets have files of their own, which other users must not be able to read. "credential:NAME" is
# what LoadCredential=NAME:... hands over in the unit of systemd. Relative paths start at this file's folder.
"""
_PAGE_HEAD = """\
# Settings

<!-- Written by `python -m tools.settings`: change the code, not this file. -->

One file, `/etc/butai/config.toml`, in [TOML](https://toml.io). [config.example.toml](../../config.example.toml) holds
every key with its default and is the quickest way to begin; this page is for looking things up.

* `butai check-config` tells everything that is wrong with a file, one line each, and ends with status 78 then.
* A running agent takes up a changed file by itself; `systemctl reload butai` (SIGHUP) does the same. A file with
  mistakes leaves the old settings in force and says so in the log and in `butai events`. Settings marked **at start**
  keep their value until the next start.
* Secrets have files of their own: not empty, one line, not readable by other users. `credential:NAME` is what systemd's
  `LoadCredential=NAME:...` hands over.
* Relative paths start at the folder of the settings file.
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


def page() -> str:
    """The reference page."""
    return "\n".join([_PAGE_HEAD, *_page_table(Settings, "", "The whole file", "")])


def _page_table(kind: type, path: str, title: str, doc: str) -> Iterator[str]:
    settings = [setting for setting in settings_of(kind) if FROM_TABLE not in setting.marks]
    rows = [_row(setting) for setting in settings if not setting.is_section and setting.table_of is None]
    if rows:
        yield from (f"## {title}", "", *([doc, ""] if doc else []), "| Key | Default | |", "|---|---|---|", *rows, "")
    for setting in settings:
        inner = setting.table_of or (setting.type if setting.is_section else None)
        if inner is not None:
            place = ".".join(part for part in (path, setting.key, "NAME" if setting.table_of else "") if part)
            yield from _page_table(inner, place, f"`[{place}]`", setting.doc)


def _row(setting: Setting) -> str:
    default = "**required**" if setting.required else "" if setting.default is None else f"`{toml(setting.default)}`"
    text = " ".join([setting.doc, *(["**At start.**"] if NEEDS_RESTART in setting.marks else [])])
    cells = (f"`{setting.key}`", default, text.replace("|", "\\|").replace("<", "&lt;"))
    return f"| {' | '.join(cells)} |"


def toml(value: Any) -> str:
    """One value, as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return json.dumps(str(value), ensure_ascii=False)


if __name__ == "__main__":
    FILE.write_text(example(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
