"""A shell in a running container, kept open by one exec: to start one costs 60 ms, to ask it something costs one.

It runs functions of ours and nothing else. Paths reach it between single quotes, where no byte has a meaning to any
POSIX shell. It is root without the container's missing capabilities, never `Privileged`: whatever the container
calls `sh` would be that too.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import cast
from urllib.parse import quote

from agent.adapters.docker.client import Client, EngineRefused, refusal
from agent.adapters.docker.logs import frames
from agent.errors import OutsideError

STAGE_PREFIX = "/.butai-sync-"  # folders below it hold what is not in its place yet; root alone may look in

_STANDARD_OUTPUT = 1
_CHUNK = 64 * 1024
_MOST_SAID = 4 * 1024 * 1024
_MOST_ARGUMENTS = 48 * 1024  # bytes of one command, far below what any kernel takes
_CANNOT_RUN = (126, 127)  # what an exec ends with when there is no such program

# `write` needs no program: `printf` is the shell's own in every one that matters, and may be any length.
# `look` tells of each path by one digit whether it is there, then what stands where it is.
_FUNCTIONS = f"""\
exec 2>&1
butai_look() {{
	for p do if [ -e "$p" ] || [ -L "$p" ]; then printf 1; else printf 0; fi; done; echo
	stat -c '%d %f %u %g %Y' -- "$@" </dev/null 2>/dev/null || :
}}
butai_stage() {{ umask 022; mkdir -m 700 -- "$@" </dev/null; }}
butai_write() {{ printf %s "$2" >"$1"; }}
butai_own() {{ chown -- "$@" </dev/null; }}
butai_mode() {{ chmod -- "$@" </dev/null; }}
butai_place() {{ d=$1; shift; mv -f -- "$@" "$d" </dev/null; }}
butai_drop() {{ rm -f -- "$@" </dev/null; }}
butai_leave() {{ rmdir -- "$@" </dev/null; }}
butai_prune() {{ rmdir -- "$@" </dev/null >/dev/null 2>&1 || :; }}
butai_forget() {{ rm -rf -- "$@" </dev/null; }}
butai_forget {STAGE_PREFIX}*
command -v mv >/dev/null && command -v rmdir >/dev/null && stat -c %d / >/dev/null
"""


class NoShell(Exception):
    """This container has no shell, or none with mv, rm, rmdir and stat."""


class ShellGone(Exception):
    """The container, the engine or the shell ended, or did not answer in time."""


class Shell:
    """One shell. Not for two threads at once. Raises NoShell, ShellGone and OutsideError when it is opened."""

    def __init__(self, client: Client, container: str) -> None:
        self._client = client
        self._timeout_s = client.timeout_s
        self._marker = secrets.token_hex(8).encode()
        self._exec_id = self._create(container)
        try:
            self._socket = client.converse(f"/exec/{self._exec_id}/start", {"Detach": False, "Tty": False})
        except EngineRefused as error:
            raise refusal(f"run a shell in {container}", error.message) from error
        self._frames = frames(self._received())
        self._until = 0.0
        try:
            status, _ = self.ask([_FUNCTIONS.encode()])
        except ShellGone:
            self.close()
            if self._exit_code() in _CANNOT_RUN:
                raise NoShell from None
            raise
        if status:
            self.close()
            raise NoShell

    def ask(self, commands: Iterable[bytes], *, afterwards: bytes = b"") -> tuple[int, bytes]:
        """Run commands until one fails; its status, 0 for none, and all that was said. ShellGone.

        `afterwards` runs in any case, and nobody waits for it.
        """
        script = b" &&\n".join(commands)
        marker = b"printf '\\n%%s %%s\\n' %s $?\n" % self._marker
        self._until = time.monotonic() + self._timeout_s
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(script + b"\n" + marker + afterwards + b"\n")
            return self._answer()
        except (OSError, ValueError) as error:
            raise ShellGone from error

    def tell(self, command: bytes) -> None:
        """Run a command some time; a shell that is gone runs none."""
        with contextlib.suppress(OSError):
            self._socket.sendall(command + b"\n")

    def close(self) -> None:
        """Let it end: it reads the end of its input."""
        self._socket.close()

    def _create(self, container: str) -> str:
        config = {
            "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "User": "0:0",
            "Cmd": ["sh"], "Env": ["LC_ALL=C"], "WorkingDir": "/",
        }  # fmt: skip
        with self._client.asking(f"run a shell in {container}"):
            return self._client.make(f"/containers/{quote(container, safe='')}/exec", config)

    def _answer(self) -> tuple[int, bytes]:
        end = b"\n" + self._marker + b" "
        said = bytearray()
        for stream, payload in self._frames:
            if stream == _STANDARD_OUTPUT:
                said += payload
            text, found, status = said.partition(end)
            if found and status.endswith(b"\n"):
                return int(status), bytes(text)
            if len(said) > _MOST_SAID:
                raise ValueError("it talks too much")
        raise ShellGone

    def _received(self) -> Iterator[bytes]:
        while chunk := self._socket.recv(_CHUNK):
            yield chunk
            self._socket.settimeout(max(0.001, self._until - time.monotonic()))

    def _exit_code(self) -> int | None:
        with self._client.asking("look at a shell"):
            return cast("int | None", self._client.api.exec_inspect(self._exec_id)["ExitCode"])


def command(name: str, *paths: str, first: str = "") -> Iterator[bytes]:
    """Calls of one function with as many paths as fit, each after `first`."""
    leading = [b"butai_" + name.encode(), *([quoted(first)] if first else [])]
    arguments: list[bytes] = []
    size = 0
    for path in paths:
        word = quoted(path)
        if arguments and size + len(word) > _MOST_ARGUMENTS:
            yield b" ".join(leading + arguments)
            arguments, size = [], 0
        arguments.append(word)
        size += len(word) + 1
    if arguments:
        yield b" ".join(leading + arguments)


def quoted(text: str | bytes) -> bytes:
    """A path or a content as one word: between single quotes nothing is special but the quote itself (POSIX, 2.2.2)."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return b"'" + data.replace(b"'", b"'\\''") + b"'"


def lost(container: str) -> OutsideError:
    """What a shell that went away in the middle means for people."""
    return OutsideError(
        f"Container {container[:12]} went away or hung while files were put into it.",
        hint="It is tried again by itself.",
        code="sync-interrupted",
    )
