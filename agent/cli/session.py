"""What one run of the CLI knows: where the agent listens, and the client to it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agent.cli.client import Client, Json
from agent.cli.gate import Gate

DEFAULT_CONFIG = Path("/etc/butai/config.toml")
DEFAULT_SOCKET = Path("/run/butai/agent.sock")
DEFAULT_STATE_DIR = Path("/var/lib/butai")


@dataclass(frozen=True)
class Session:
    """The options in front of the command. Nothing is opened before it is needed."""

    config: Path
    socket_option: Path | None
    gate: Gate | None = None  # what confines this run: it was asked for with a key that may run only some commands

    @property
    def socket(self) -> Path:
        """The option or BUTAI_SOCKET, else what the settings say, else the default."""
        return self.socket_option or _path(_text(self.config, "server", "socket")) or DEFAULT_SOCKET

    @property
    def domain(self) -> str:
        """Of the settings; empty where they cannot be read."""
        return _text(self.config, "domain")

    @cached_property
    def client(self) -> Client:
        return Client(self.socket, on_behalf_of=self.gate.caller if self.gate else "")

    def find(self, reference: str, project: str | None) -> Json:
        """The environment of a branch or slug. RequestError with near names when there is none."""
        params = {"reference": reference}
        if project:
            params["project"] = project
        return self.client.get("/find", params)


def _text(config: Path, *keys: str) -> str:
    """Only this one text: the settings may name secrets that this user cannot read, and that is fine."""
    try:
        found: object = tomllib.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def state_dir_of(config: Path) -> Path:
    """Where the agent keeps everything, without the secrets that all of the settings would take."""
    found = _path(_text(config, "state_dir")) or DEFAULT_STATE_DIR
    return config.absolute().parent / found  # relative paths start at the file's folder
