"""Secrets: read from a file of their own, never from config.toml, and never shown by accident."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent.config.checks import UnfitError

CREDENTIAL = "credential:"  # `credential:NAME` is what systemd's LoadCredential= calls NAME
SHORTEST = 8  # characters; a shorter one can be guessed, and hiding it in logs would hide half of every line
UNGUESSABLE = 32  # characters; 128 bits in hexadecimal, for what anybody may try as often as they like

_LARGEST = 64 * 1024  # bytes


class Secret:
    """A value that prints as stars. `reveal` is the only way to it, so every use can be found."""

    __slots__ = ("_value", "path")

    def __init__(self, value: str, path: Path) -> None:
        self._value = value
        self.path = path

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.path) == (other._value, other.path)

    def __hash__(self) -> int:
        return hash((self._value, self.path))


def read_secret(path: Path, *, shortest: int = SHORTEST) -> Secret:
    """The file's content without the white space around it. Raises UnfitError: what is wrong and how to repair it."""
    content = read_private(path, others=stat.S_IROTH | stat.S_IWOTH).strip()
    try:
        value = content.decode()
    except UnicodeDecodeError:
        raise UnfitError(f"the file {path} is not text", "It must hold the secret in UTF-8 and nothing else.") from None
    if not value:
        raise UnfitError(f"the file {path} is empty", "Put the secret into it.")
    if not value.isprintable():
        raise UnfitError(f"the file {path} holds more than one line", "It must hold the secret and nothing else.")
    if len(value) < shortest:
        hint = "Make a longer one." if shortest == SHORTEST else "Make one with `openssl rand -hex 32`."
        raise UnfitError(f"the secret in {path} is shorter than {shortest} characters", hint)
    return Secret(value, path)


def read_private(path: Path, *, others: int) -> bytes:
    """The bytes of a regular file on which none of the mode bits `others` is set. Raises UnfitError."""
    try:
        # Not blocking: a pipe in place of the file would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise UnfitError(f"the file {path} does not exist", "Create it, or correct the path.") from None
    except OSError as error:
        raise UnfitError(f"the file {path} cannot be read: {error.strerror}", "Check its owner and mode.") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise UnfitError(f"{path} is {kind}", "Name the file that holds it.")
        if status.st_mode & others:
            raise UnfitError(f"the file {path} can be read by other users", f"Run `chmod 600 {path}`.")
        if status.st_size > _LARGEST:
            raise UnfitError(f"the file {path} is larger than 64 KiB", "Name the file that holds it.")
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
