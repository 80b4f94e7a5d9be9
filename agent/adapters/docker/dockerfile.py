"""Just enough of a Dockerfile's grammar: where a step is written, and what it reads from the build context.

BuildKit takes the Dockerfile of an uploaded archive from that archive, so `COPY . .` sees it. Where it must not (it
is inline, or ignored), the archive is built in two parts: the Dockerfile, and the context as a stage of its own that
every instruction reads instead. Whatever this module is not sure of, it refuses, and Compose builds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

CONTEXT_STAGE = "butai-context"
CONTEXT_ARCHIVE = "context.tar"
INSERTED_LINES = 2  # by `detached`, before the first FROM

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<-?([\"']?)([a-zA-Z_][\w.]*)\1(?=\s|$)")
_FLAG = re.compile(r"--[a-z]+(?:=\S*)?\s+")
_MOUNT = re.compile(r"--mount=(\S+)")
_NUMBERED = re.compile(r"\bfrom=\d")
_COUNTED = ("RUN", "COPY", "ADD", "WORKDIR")  # what BuildKit numbers as "[2/5]"
_STEP = re.compile(r"\[(?:(?P<stage>\S+) +)?(?P<at>\d+)/\d+\] (?P<keyword>[A-Z]+)")


class TooHard(Exception):
    """This module cannot tell what the Dockerfile means."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `first` is its line, from 0; `flags` and `rest` have no continuations."""

    keyword: str
    flags: tuple[str, ...]
    rest: str
    first: int

    def flag(self, name: str) -> str | None:
        return next((flag.partition("=")[2] for flag in self.flags if flag.partition("=")[0] == f"--{name}"), None)


def scan(text: str) -> tuple[Instruction, ...]:
    """The instructions in order; never fails, since BuildKit reports syntax errors better."""
    return tuple(_instructions(text.split("\n")))


def line_of(text: str, step: str) -> int | None:
    """The line, from 1, of the step that BuildKit calls for example "[builder 3/5] RUN npm ci"."""
    named = _STEP.match(step)
    if named is None:
        return None
    counted, current, stages = 0, "", list[str]()
    wanted = named["stage"] or ""
    for instruction in scan(text):
        if instruction.keyword == "FROM":
            base = instruction.rest.partition(" ")[0]
            counted = 0 if base in stages or base == "scratch" else 1
            current = _stage_name(instruction) or f"stage-{len(stages)}"
            stages.append(current)
        elif stages and instruction.keyword in _COUNTED and (not wanted or current == wanted):
            counted += 1
            if counted == int(named["at"]) and instruction.keyword == named["keyword"]:
                return instruction.first + 1
    return None


def reads_context(instructions: tuple[Instruction, ...], path: str) -> bool:
    """Whether some instruction may copy `path` of the context; in doubt, yes."""
    return any(_may_read(source, path) for instruction in instructions for source in _sources(instruction))


def detached(text: str) -> str:
    """The same Dockerfile, reading a stage that holds the context. TooHard when that cannot be done safely."""
    lines = text.split("\n")
    instructions = scan(text)
    first = next((instruction.first for instruction in instructions if instruction.keyword == "FROM"), None)
    if first is None or CONTEXT_STAGE in text:
        raise TooHard
    for instruction in instructions:
        lines[instruction.first] = _redirected(instruction, lines[instruction.first])
    lines[first:first] = [f"FROM scratch AS {CONTEXT_STAGE}", f"ADD {CONTEXT_ARCHIVE} /"]
    return "\n".join(lines)


def _redirected(instruction: Instruction, row: str) -> str:
    """The first line of an instruction, reading the stage instead of the context."""
    mounts = _context_mounts(instruction) if instruction.keyword == "RUN" else []
    if any(row.count(mount) != 1 for mount in mounts):
        raise TooHard  # the mount stands on a later line
    if instruction.keyword == "ONBUILD" or _NUMBERED.search(" ".join(instruction.flags)):
        raise TooHard  # the one runs in another build, the other counts stages
    for mount in mounts:
        row = row.replace(mount, f"{mount},from={CONTEXT_STAGE}")
    if instruction.keyword in ("COPY", "ADD") and any(True for _ in _sources(instruction)):
        if instruction.keyword == "ADD":
            raise TooHard  # it unpacks archives and has no --from
        row = re.sub(r"(?i)^(\s*copy)\b", rf"\1 --from={CONTEXT_STAGE}", row)
    return row


def _stage_name(instruction: Instruction) -> str:
    named = re.fullmatch(r"(?i)\S+\s+as\s+(\S+)", instruction.rest)
    return named[1].lower() if named else ""


def _instructions(lines: list[str]) -> Iterator[Instruction]:
    escape, at = _directives(lines)
    while at < len(lines):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        first, parts = at, list[str]()
        while at < len(lines):
            row = lines[at].rstrip()
            at += 1
            if parts and (not row.strip() or row.lstrip().startswith("#")):
                continue  # comments and blanks may stand between continued lines
            continued = row.endswith(escape)
            parts.append(row.removesuffix(escape) if continued else row)
            if not continued:
                break
        keyword, *rest = "".join(parts).split(None, 1)
        flags, arguments = _flags(rest[0].strip() if rest else "")
        if keyword.upper() in ("RUN", "COPY", "ADD"):
            for heredoc in _HEREDOC.finditer(arguments):
                while at < len(lines) and lines[at].lstrip("\t").rstrip("\r") != heredoc[2]:
                    at += 1
                at += 1
        yield Instruction(keyword.upper(), flags, arguments, first)


def _directives(lines: list[str]) -> tuple[str, int]:
    escape = "\\"
    for at, row in enumerate(lines):
        match = _DIRECTIVE.fullmatch(row.strip())
        if match is None:
            return escape, at
        if match[1].lower() == "escape":
            escape = match[2]
    return escape, len(lines)


def _flags(rest: str) -> tuple[tuple[str, ...], str]:
    flags = []
    while match := _FLAG.match(rest):
        flags.append(match[0].strip())
        rest = rest[match.end() :]
    return tuple(flags), rest


def _sources(instruction: Instruction) -> Iterator[str]:
    """Paths of the context that an instruction reads."""
    if instruction.keyword == "ONBUILD":
        nested = scan(instruction.rest)
        yield from (source for inner in nested for source in _sources(inner))
    elif instruction.keyword == "RUN":
        for mount in _context_mounts(instruction):
            yield dict(field.partition("=")[::2] for field in mount.split(",")).get("source", ".")
    elif instruction.keyword in ("COPY", "ADD") and instruction.flag("from") is None:
        listed = instruction.rest.startswith("[")
        words = re.findall(r'"((?:[^"\\]|\\.)*)"', instruction.rest) if listed else instruction.rest.split()
        for word in words[:-1]:
            if not word.startswith("<<") and not re.match(r"(?:https?|git)://|git@", word):
                yield word


def _context_mounts(instruction: Instruction) -> list[str]:
    """The --mount values of a RUN that bind something of the context."""
    found = []
    for flag in instruction.flags:
        mount = _MOUNT.match(flag)
        if mount is None:
            continue
        fields = dict(field.partition("=")[::2] for field in mount[1].split(","))
        if fields.get("type", "bind") == "bind" and "from" not in fields:
            found.append(mount[1])
    return found


def _may_read(source: str, path: str) -> bool:
    if any(char in source for char in "*?[$\\\"'"):
        return True
    cleaned = "/".join(part for part in source.split("/") if part not in ("", "."))
    return not cleaned or ".." in cleaned or path == cleaned or path.startswith(cleaned + "/")
