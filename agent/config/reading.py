"""Reads a table of TOML into a settings class: collects problems and goes on, so that none hides another."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast, get_origin

from agent.config.checks import UnfitError, printable
from agent.config.schema import FROM_TABLE, GUESSED_AT, NEVER_EMPTY, Setting, settings_of
from agent.config.secret import CREDENTIAL, SHORTEST, UNGUESSABLE, Secret, read_secret
from agent.errors import Problem

Section = TypeVar("Section")

_NAMES = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list",
    Mapping: "a table",
}


class Reader:
    """Reads one file. A default or None stands in for what is unusable: the result is good without problems only."""

    def __init__(self, base_dir: Path, credentials_dir: Path | None, *, with_secrets: bool = True) -> None:
        self._base_dir = base_dir
        self._credentials_dir = credentials_dir
        self._with_secrets = with_secrets
        self.problems: list[Problem] = []

    def section(self, kind: type[Section], table: Mapping[str, object], path: str, *, name: str = "") -> Section:
        """An object of the settings class `kind` made of `table`, which stands at `path` in the file."""
        values: dict[str, Any] = {}
        known = {setting.key: setting for setting in settings_of(kind) if FROM_TABLE not in setting.marks}
        for key in table:
            if key not in known:
                self._unknown(_join(path, key), key, known)
        for setting in settings_of(kind):
            if FROM_TABLE in setting.marks:
                values[setting.name] = name
            elif setting.key in table:
                read = self._setting(setting, table[setting.key], _join(path, setting.key))
                values[setting.name] = setting.default if read is None else read
            elif setting.required:
                self._add(_join(path, setting.key), "is missing", _example_hint(setting))
                values[setting.name] = None
        return kind(**values)

    def _setting(self, setting: Setting, value: object, path: str) -> Any:
        """The value as the class has it; None when it is unusable, which is then a problem."""
        if setting.is_section:
            table = self._typed(Mapping, value, path)
            return None if table is None else self.section(setting.type, table, path)
        if setting.table_of is not None:
            return self._tables(setting, value, path)
        if setting.is_text:
            return self._text(setting, value, path)
        if setting.type in (bool, int, float):
            number = self._typed(setting.type, value, path)
            return number if number is not None and self._checked(setting, number, path) else None
        return self._strings(setting, value, path)

    def _tables(self, setting: Setting, value: object, path: str) -> Mapping[str, Any] | None:
        table = self._typed(Mapping, value, path)
        read: dict[str, Any] = {}
        for key, inner in (table or {}).items():
            place = _join(path, key)
            self._key_checked(setting, key, place)
            inner_table = self._typed(Mapping, inner, place)
            if inner_table is not None:
                read[key] = self.section(cast("type", setting.table_of), inner_table, place, name=key)
        return MappingProxyType(read)

    def _text(self, setting: Setting, value: object, path: str) -> str | Path | Secret | None:
        text = self._typed(str, value, path)
        if text is None or not self._checked(setting, text, path):
            return None
        if setting.type is str:
            return cast("str", text)
        if setting.type is Secret and not self._with_secrets:
            return Secret("", Path(text))
        file = self._path(text, path)
        if file is None or setting.type is Path:
            return file
        try:
            return read_secret(file, shortest=UNGUESSABLE if GUESSED_AT in setting.marks else SHORTEST)
        except UnfitError as error:
            self._add(path, error.message, error.hint)
            return None

    def _path(self, text: str, path: str) -> Path | None:
        if text.startswith(CREDENTIAL):
            if self._credentials_dir is None:
                hint = (
                    "systemd does it for a unit with LoadCredential=;"
                    " elsewhere put CREDENTIALS_DIRECTORY=/etc/butai/secrets before the command"
                )
                self._add(path, "names a credential, but none were handed over", hint)
                return None
            return self._credentials_dir / Path(text.removeprefix(CREDENTIAL)).name
        if not text or text.startswith("~"):
            self._add(path, "must be a path", 'write it in full: "~" means another folder for each user')
            return None
        return self._base_dir / text

    def _strings(self, setting: Setting, value: object, path: str) -> Any:
        if get_origin(setting.type) is tuple:
            items = self._typed(tuple, value, path)
            if items is None:
                return None
            if not items and NEVER_EMPTY in setting.marks:
                self._add(path, "is empty, which could mean nobody or everybody", "leave the key out for everybody")
            places = [(f"{path}[{number}]", item) for number, item in enumerate(items, 1)]
            read = [self._item(setting, item, place) for place, item in places]
            for number, (place, item) in enumerate(places):
                if item in items[:number]:
                    self._add(place, "is there twice")
            return tuple(text for text in read if text is not None)
        table = self._typed(Mapping, value, path)
        if table is None:
            return None
        for key in table:
            self._key_checked(setting, key, _join(path, key))
        pairs = {key: self._item(setting, item, _join(path, key)) for key, item in table.items()}
        return MappingProxyType({key: text for key, text in pairs.items() if text is not None})

    def _item(self, setting: Setting, value: object, path: str) -> str | None:
        text = self._typed(str, value, path)
        return text if text is not None and self._checked(setting, text, path) else None

    def _checked(self, setting: Setting, value: Any, path: str) -> bool:
        checks = (printable, *setting.checks) if isinstance(value, str) else setting.checks
        return self._passes(checks, value, path)

    def _key_checked(self, setting: Setting, key: str, path: str) -> bool:
        return self._passes(setting.key_checks, key, path)

    def _passes(self, checks: tuple[Any, ...], value: Any, path: str) -> bool:
        for check in checks:
            try:
                check(value)
            except UnfitError as error:
                self._add(path, error.message, error.hint)
                return False
        return True

    def _typed(self, kind: Any, value: object, path: str) -> Any:
        if kind is Mapping and isinstance(value, dict):
            return value
        if kind is tuple and isinstance(value, list):
            return tuple(value)
        # bool is an int to Python and not to people
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is kind:
            return value
        self._add(path, f"must be {_NAMES[kind]}, not {_shown(value)}", _quotes_hint(kind, value))
        return None

    def _unknown(self, path: str, key: str, known: Mapping[str, Setting]) -> None:
        near = difflib.get_close_matches(key, known, n=1)
        if near:
            hint = f"did you mean `{near[0]}`?"
        elif f"{key}_file" in known:
            hint = f"secrets have files of their own: `{key}_file`"
        else:
            hint = f"there are {', '.join(known)}" if len(known) <= 14 else ""
        self._add(path, "there is no such setting", hint)

    def _add(self, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(path, message, hint))


def _join(path: str, key: str) -> str:
    bare = key if key.isascii() and key.replace("-", "").replace("_", "").isalnum() else json.dumps(key)
    return f"{path}.{bare}" if path else bare


def _shown(value: object) -> str:
    """A value of the wrong type. Text is not shown: it may be a secret in the wrong place."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value) if len(str(value)) <= 20 else "a long number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or time"


def _quotes_hint(kind: Any, value: object) -> str:
    if isinstance(value, str) and kind in (bool, int, float):
        return "without quotes"
    if kind is str and isinstance(value, (bool, int, float)):
        return "in quotes"
    return 'in brackets: ["…"]' if kind is tuple and isinstance(value, str) else ""


def _example_hint(setting: Setting) -> str:
    return f"for example {setting.key} = {json.dumps(setting.example)}" if isinstance(setting.example, str) else ""
