"""From text to settings: everything that is wrong is found in one pass and told together, in the file's own words."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from agent.config.reading import Reader
from agent.config.rules import broken_rules
from agent.config.settings import Settings
from agent.errors import ConfigError, Problem

_LARGEST = 1024 * 1024  # bytes
_BOM = "\ufeff"


def load(path: Path, *, environ: Mapping[str, str] = os.environ, with_secrets: bool = True) -> Settings:
    """The settings in the file `path`, with the secrets they name. ConfigError with every problem there is.

    `environ` is asked for CREDENTIALS_DIRECTORY only, where systemd puts what LoadCredential= names. Without secrets
    their files stay closed and each is empty: for who only looks at the host, and is handed no credentials.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return parse(
        _text(path),
        path.absolute().parent,
        name=str(path),
        credentials_dir=Path(directory) if directory else None,
        with_secrets=with_secrets,
    )


def parse(
    text: str,
    base_dir: Path,
    *,
    name: str = "config.toml",
    credentials_dir: Path | None = None,
    with_secrets: bool = True,
) -> Settings:
    """As `load`, from text. Relative paths are taken from `base_dir`; `name` is the file's, for messages."""
    problems: list[Problem] = []
    if text.startswith(_BOM):
        problems.append(Problem(name, "starts with a byte order mark", "save it as UTF-8 without one"))
    table = _table(text.removeprefix(_BOM), name, problems)
    reader = Reader(base_dir, credentials_dir, with_secrets=with_secrets)
    settings = reader.section(Settings, table, "")
    problems += reader.problems
    problems += broken_rules(settings, [problem.path for problem in reader.problems])
    if problems:
        raise ConfigError(tuple(problems), hint="config.example.toml describes every setting.")
    return settings


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        hint = "config.example.toml is a beginning" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError((Problem(str(path), f"cannot be read: {error.strerror}", hint),)) from None
    if len(content) > _LARGEST:
        raise ConfigError((Problem(str(path), "is larger than 1 MiB"),))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError((Problem(str(path), f"is not UTF-8 text (line {line})", "save it as UTF-8"),)) from None


def _table(text: str, name: str, problems: list[Problem]) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        message = "is nested too deeply"
    except ValueError as error:  # a TOMLDecodeError, or a number of thousands of digits
        message = f"is not TOML: {error}"
    raise ConfigError((*problems, Problem(name, message)))
