"""What a compose file would make Compose open, found before Compose sees it.

Remote includes are fetched even by commands that only read (CVE-2025-62725) and an `env_file` may name any
file of the host, so every path that Compose would open is listed here first; only the listed files of the
repository are handed to it. Works on plain data: parsing has its own bounds.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.planning.dotenv import Unset, substitute
from agent.planning.findings import Refusal

DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")  # Compose's own order
DEFAULT_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
MAX_SERVICES = 100

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://.*|git@.*|oci:.*|github\.com/.*|.*\.git(#.*)?", re.IGNORECASE)
_NEVER = {
    "provider": "it starts a program of this host",
    "use_api_socket": "it hands over the engine, and with it the host",
    "models": "this host runs no models",
}


class Use(StrEnum):
    """What Compose does with a file."""

    COMPOSE = "compose"  # reads it as a compose file: it is scanned in turn
    VALUES = "values"  # reads variables or labels from it


@dataclass(frozen=True, slots=True)
class Mention:
    """A file that a compose file makes Compose open. `base` is the folder that its own paths start from."""

    path: str  # relative to the root of the repository, normalised, not yet followed
    use: Use
    base: str = ""
    subject: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    mentions: tuple[Mention, ...]
    refusals: tuple[Refusal, ...]


def default_files(files: Mapping[str, str]) -> tuple[str, ...]:
    """The compose file and its override that Compose would pick at the root of these files; () when there is none."""
    main = next((name for name in DEFAULT_FILES if name in files), None)
    if main is None:
        return ()
    override = next((name for name in DEFAULT_OVERRIDES if name in files), None)
    return (main, override) if override else (main,)


def scan(document: Any, *, file: str, base: str, variables: Mapping[str, str]) -> Scan:
    """List what `document` (the content of `file`) makes Compose open, and refuse what must not get that far."""
    scanner = _Scanner(file, base, variables)
    if not isinstance(document, dict):
        scanner.refuse("", "services", "the file holds no services")
        return scanner.result()
    scanner.includes(document.get("include"))
    services = document.get("services")
    if not isinstance(services, dict):
        services = {}
    if len(services) > MAX_SERVICES:
        scanner.refuse("", "services", f"{len(services)} services are more than {MAX_SERVICES}")
        return scanner.result()
    if document.get("models") is not None:
        scanner.refuse("", "models", _NEVER["models"])
    for name, service in services.items():
        if isinstance(service, dict):
            scanner.service(name, service)
    return scanner.result()


def locate(documents: Mapping[str, Any], subject: str, field: str) -> str:
    """The last of the scanned files that sets `field` of `subject` ("service web"); the first when none does.

    The last wins in Compose too.
    """
    kind, _, name = subject.partition(" ")
    key = field.partition(".")[0].partition("[")[0]
    named = ""
    for file, document in documents.items():
        section = document.get(f"{kind}s") if isinstance(document, dict) else None
        entry = section.get(name) if isinstance(section, dict) else None
        if isinstance(entry, dict) and key in entry:
            named = file
    return named or next(iter(documents), "")


class _Scanner:
    def __init__(self, file: str, base: str, variables: Mapping[str, str]) -> None:
        self._file = file
        self._base = base
        self._variables = variables
        self._mentions: list[Mention] = []
        self._refusals: list[Refusal] = []

    def result(self) -> Scan:
        return Scan(tuple(self._mentions), tuple(self._refusals))

    def refuse(self, subject: str, field: str, reason: str) -> None:
        self._refusals.append(Refusal(self._file, subject, field, reason))

    def includes(self, value: Any) -> None:
        for entry in _items(value):
            options = entry if isinstance(entry, dict) else {"path": entry}
            folder = options.get("project_directory")
            where = self._path("", "include.project_directory", folder) if folder is not None else None
            paths = [self._path("", "include", path) for path in _items(options.get("path"))]
            for path in paths:
                if path is not None:
                    base = where or posixpath.dirname(paths[0] or path)
                    self._mentions.append(Mention(path, Use.COMPOSE, base=base, field="include"))
            if not paths or paths[0] is None:
                continue
            for value_file in _items(options.get("env_file")):
                self._mention("", "include.env_file", value_file, Use.VALUES)
            default = posixpath.join(where or posixpath.dirname(paths[0]), ".env")
            self._mentions.append(Mention(posixpath.normpath(default), Use.VALUES, field="include"))

    def service(self, name: str, service: Mapping[str, Any]) -> None:
        subject = f"service {name}"
        for field, reason in _NEVER.items():
            if service.get(field) not in (None, "false"):
                self.refuse(subject, field, reason)
        extends = service.get("extends")
        if isinstance(extends, dict) and extends.get("file") is not None:
            path = self._path(subject, "extends.file", extends["file"])
            if path is not None:
                base = posixpath.dirname(path)
                self._mentions.append(Mention(path, Use.COMPOSE, base=base, subject=subject, field="extends.file"))
        for field in ("env_file", "label_file"):
            for entry in _items(service.get(field)):
                self._mention(subject, field, entry, Use.VALUES)

    def _mention(self, subject: str, field: str, entry: Any, use: Use) -> None:
        options = entry if isinstance(entry, dict) else {"path": entry}
        path = self._path(subject, field, options.get("path"))
        if path is not None:
            self._mentions.append(Mention(path, use, subject=subject, field=field))

    def _path(self, subject: str, field: str, value: Any) -> str | None:
        """A path of the file as one from the root of the repository; None, and a refusal, when it leaves that."""
        if not isinstance(value, str) or not value or "\0" in value:
            self.refuse(subject, field, "it is not a path")
            return None
        try:
            text = substitute(value, self._variables)
        except Unset as error:
            self.refuse(subject, field, str(error))
            return None
        if _REMOTE.fullmatch(text):
            self.refuse(subject, field, f"`{text}` is fetched from elsewhere; only files of the repository are read")
            return None
        path = posixpath.normpath(posixpath.join(self._base, text))
        if text.startswith("~") or path.startswith(("/", "../")) or path == "..":
            self.refuse(subject, field, f"`{text}` is outside the repository")
            return None
        return path


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value
