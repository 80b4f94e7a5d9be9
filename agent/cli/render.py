"""What the terminal shows: text made safe, tables, times, and the CLI's one renderer of errors.

Results go to standard output, everything else to standard error. Whatever came from outside (branch
names, commit subjects, log lines) passes `clean` first: a terminal obeys what it is sent.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

from agent.errors import AgentError, ConfigError, DeployError

# ECMA-48: control sequences (CSI), strings (OSC, DCS, ... up to BEL or ST), two-character escapes; then the C1 forms.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_COLOURS = {
    "ready": "green",
    "running": "green",
    "failed": "red",
    "crashed": "red",
    "exited": "red",
    "unhealthy": "red",
    "dead": "red",
}
_SECONDS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def clean(text: str) -> str:
    """One line without escape sequences; other characters that do not print are shown as their escape.

    That includes right-to-left overrides and zero-width joiners: two names that differ look different.
    """
    plain = _ESCAPES.sub("", text)
    if plain.isprintable():
        return plain
    return "".join(
        character if character.isprintable() or character == "\t" else character.encode("unicode_escape").decode()
        for character in plain
    )


def clean_lines(text: str) -> list[str]:
    """Each line of a text that may have several, cleaned."""
    return [clean(line) for line in text.splitlines()]


def clean_log(line: str) -> str:
    """A log line for a terminal. A carriage return starts over, as a terminal would show it."""
    return clean(line.rstrip("\r\n").rpartition("\r")[2])


def on_terminal(*, err: bool = False) -> bool:
    return (sys.stderr if err else sys.stdout).isatty()


def out(text: str = "") -> None:
    """One line of the result."""
    click.echo(text)


def tell(text: str) -> None:
    """One line of progress, for the person who waits."""
    click.echo(text, err=True)


def out_json(document: object, *, compact: bool = False) -> None:
    """For programs. ASCII only: nothing in it can steer a terminal."""
    click.echo(json.dumps(document, indent=None if compact else 2))


def error(problem: AgentError) -> None:
    """Say what is wrong and what to do next, on standard error."""
    if isinstance(problem, ConfigError):  # one line each, path first
        for line in problem.problems:
            tell(clean(str(line)))
    else:
        complaint("error", problem.message)
    if isinstance(problem, DeployError):
        failing_service(problem.service, problem.log_tail)
    hint(problem.hint)


def complaint(kind: str, message: str) -> None:
    """What is wrong, behind its kind in red; further lines below the first."""
    first, *more = clean_lines(message) or [""]
    for lead, line in ((click.style(f"{kind}: ", fg="red"), first), *(("  ", line) for line in more)):
        tell(lead + line)


def failing_service(service: str, log_tail: Iterable[str]) -> None:
    """The service to blame and its last words."""
    if service:
        tell(f"service: {clean(service)}")
    for line in log_tail:
        tell(f"  | {clean_log(line)}")


def hint(text: str) -> None:
    if text:
        tell(click.style("hint: ", fg="cyan") + clean(text))


def word(text: str) -> str:
    """A state or phase in its colour."""
    colour = _COLOURS.get(text.partition(":")[0])
    return click.style(text, fg=colour) if colour else text


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, indent: str = "") -> None:
    """Columns as wide as their cells; never cut, so that it can be piped. The last column may hold anything."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    out(indent + click.style(_line(head, widths), bold=True))
    for row in cells:
        out(indent + _line(row, widths, paint=True))


def _line(cells: Sequence[str], widths: Sequence[int], *, paint: bool = False) -> str:
    padded = [
        (word(cell) if paint else cell) + " " * (width - len(cell)) for cell, width in zip(cells, widths, strict=True)
    ]
    return "  ".join(padded).rstrip()


def seconds(duration: float | None) -> str:
    """`3.1 s`; empty when there is none."""
    return "" if duration is None else f"{duration:.1f} s"


def ago(moment: str | None) -> str:
    """How long ago an ISO 8601 time was, in one unit: `5 min ago`; empty when there is none."""
    if not moment:
        return ""
    age_s = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    for size, unit in _SECONDS:
        if age_s >= size:
            return f"{int(age_s / size)} {unit} ago"
    return "just now"


def short(revision: str | None) -> str:
    """The first ten digits, for people."""
    return (revision or "")[:10]
