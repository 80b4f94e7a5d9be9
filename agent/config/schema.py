"""How a setting is described: beside its type, in `Annotated`, stand its comment, its checks and an example.

The reader, config.example.toml and the tests all work from these descriptions, so none can drift.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from agent.config.secret import Secret


@dataclass(frozen=True, slots=True)
class Example:
    """A value for config.example.toml, for a setting that has no default worth showing."""

    value: Any


@dataclass(frozen=True, slots=True)
class EachKey:
    """A check of the keys of a table."""

    check: Callable[[Any], None]


class Mark:
    """A property of a setting; compared by identity."""


NEEDS_RESTART = Mark()  # read once at start: a reload keeps the old value and says so
FROM_TABLE = Mark()  # the name of the table itself, not a key in it
GUESSED_AT = Mark()  # a secret that nothing but its length keeps from being guessed: a long one is asked for
NEVER_EMPTY = Mark()  # an empty list is refused: it could mean nobody or everybody


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a settings class, taken apart."""

    name: str
    type: Any  # without Annotated and without None
    optional: bool
    doc: str
    checks: tuple[Callable[[Any], None], ...] = ()
    key_checks: tuple[Callable[[Any], None], ...] = ()
    marks: frozenset[Mark] = frozenset()
    example: Any = None
    required: bool = False
    default: Any = None

    @property
    def key(self) -> str:
        """Its name in the file: a secret is named by the file that holds it."""
        return f"{self.name}_file" if self.type is Secret else self.name

    @property
    def is_section(self) -> bool:
        return isinstance(self.type, type) and dataclasses.is_dataclass(self.type)

    @property
    def table_of(self) -> type | None:
        """The class of each value where this is a table of named tables."""
        if get_origin(self.type) is not Mapping:
            return None
        kind = get_args(self.type)[1]
        return kind if dataclasses.is_dataclass(kind) else None

    @property
    def is_text(self) -> bool:
        return self.type in (str, Path, Secret)


def settings_of(kind: type) -> tuple[Setting, ...]:
    """The settings of a class, in their order."""
    return _settings_of(kind)


@functools.cache  # evaluating the annotations takes longer than everything else
def _settings_of(kind: type[Any]) -> tuple[Setting, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_setting(entry, hints[entry.name]) for entry in dataclasses.fields(kind))


def _setting(entry: Field[Any], hint: Any) -> Setting:
    extras: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        extras = tuple(rest)
    alternatives = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    [inner] = [kind for kind in alternatives if kind is not NoneType]
    return Setting(
        name=entry.name,
        type=inner,
        optional=NoneType in alternatives,
        doc=" ".join(extra for extra in extras if isinstance(extra, str)),
        checks=tuple(extra for extra in extras if callable(extra)),
        key_checks=tuple(extra.check for extra in extras if isinstance(extra, EachKey)),
        marks=frozenset(extra for extra in extras if isinstance(extra, Mark)),
        example=next((extra.value for extra in extras if isinstance(extra, Example)), None),
        required=entry.default is MISSING and entry.default_factory is MISSING,
        default=_default(entry),
    )


def _default(entry: Field[Any]) -> Any:
    if entry.default is not MISSING:
        return entry.default
    return entry.default_factory() if entry.default_factory is not MISSING else None
