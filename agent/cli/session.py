"""What one run of the CLI knows: where the agent listens, and the client to it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agent.cli.client import Client, Json

DEFAULT_CONFIG = Path("/etc/butai/config.toml")
DEFAULT_SOCKET = Path("/run/butai/agent.sock")


@dataclass(frozen=True)
class Session:
    """The options in front of the command. Nothing is opened before it is needed."""

    config: Path
    socket_option: Path | None

    @property
    def socket(self) -> Path:
        """The option or BUTAI_SOCKET, else what the settings say, else the default."""
        return self.socket_option or _socket_of(self.config) or DEFAULT_SOCKET

    @cached_property
    def client(self) -> Client:
        return Client(self.socket)

    def find(self, reference: str, project: str | None) -> Json:
        """The environment of a branch or slug. RequestError with near names when there is none."""
        params = {"reference": reference}
        if project:
            params["project"] = project
        return self.client.get("/find", params)


def _socket_of(config: Path) -> Path | None:
    """Only this one key: the settings may name secrets that this user cannot read, and that is fine."""
    try:
        socket = tomllib.loads(config.read_text("utf-8")).get("server", {}).get("socket")
    except (OSError, ValueError, AttributeError):
        return None
    return Path(socket) if isinstance(socket, str) and socket else None
