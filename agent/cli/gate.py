"""What a key that may run only some commands asks for, judged: decides, and does nothing.

No shell ever reads the line. Its first word is `butai` and its second one of the commands that the key may run, so
that no option of ours (`--config`, `--socket`) can stand before it; what follows is only that command's.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass

from agent.errors import RequestError

# What a key may be given. None of these takes a path of the host that `Session.gate` does not guard, or starts a
# program of the host that the caller names. `serve`, `check-config`, `dns` and their like are the operator's.
COMMANDS = (
    "deploy", "list", "show", "logs", "exec", "cp", "tunnel", "plan", "edit", "edits", "redeploy", "sleep", "wake",
    "pin", "unpin", "destroy", "events",
)  # fmt: skip
# Of the environment: what a terminal needs. The rest is the client's to choose where sshd accepts it (AcceptEnv).
KEPT = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "LC_CTYPE"})

_CALLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_LONGEST = 32 * 1024


@dataclass(frozen=True, slots=True)
class Gate:
    """Whose key it is, which commands it may run, and on which ports of the host its tunnels may listen."""

    caller: str
    commands: frozenset[str]
    ports: frozenset[int] = frozenset()


def gate_of(caller: str, allowed: Collection[str], ports: Collection[int]) -> Gate:
    """RequestError for a name or a command that cannot be: the operator's mistake, told to whoever logs in."""
    if not _CALLER.fullmatch(caller):
        raise RequestError(
            f"`{caller}` cannot be a caller.",
            hint="Letters, digits and `.`, `_`, `@`, `-`; 64 at most.",
            code="bad-caller",
        )
    names = frozenset(name.strip() for entry in allowed for name in entry.split(","))
    unknown = sorted(names - set(COMMANDS))
    if unknown:
        raise RequestError(
            f"`--allow` cannot name {', '.join(f'`{name}`' for name in unknown)}.",
            hint=f"It may name {', '.join(COMMANDS)}.",
            code="usage",
        )
    return Gate(caller, names, frozenset(ports))


def admitted(line: str, gate: Gate) -> tuple[str, list[str]]:
    """The command to run and its arguments. RequestError says why not, and what this key may do."""
    if not line.strip():
        raise _refusal("This key opens no shell", gate)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refusal("What was asked for is no UTF-8", gate) from error
    if len(line) > _LONGEST:
        raise _refusal(f"What was asked for is longer than {_LONGEST} characters", gate)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise _refusal(f"What was asked for cannot be read ({error})", gate) from error
    program, command, *arguments = [*words, "", ""][: max(2, len(words))]
    if program != "butai":
        raise _refusal(f"This key runs `butai` and nothing else, not `{program[:80]}`", gate)
    if command not in gate.commands:
        raise _refusal(f"This key may not run `butai {command[:80]}`" if command else "No command was named", gate)
    return command, arguments


def _refusal(why: str, gate: Gate) -> RequestError:
    allowed = ", ".join(f"`butai {name}`" for name in COMMANDS if name in gate.commands)
    return RequestError(f"{why}.", hint=f"It may run {allowed}.", code="not-allowed")
