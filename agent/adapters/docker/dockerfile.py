"""Just enough of a Dockerfile's grammar: where a step is written, and what it reads from the build context.

Syntax errors are BuildKit's to report; here everything is read as well as it can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S.*)")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<-?([\"']?)([a-zA-Z_][\w.]*)\1(?=\s|$)")
_FLAG = re.compile(r"--[a-z]+(?:=\S*)?\s+")
_MOUNT = re.compile(r"--mount=(\S+)")
_COUNTED = ("RUN", "COPY", "ADD", "WORKDIR")  # what BuildKit numbers as "[2/5]"
_STEP = re.compile(r"\[(?:(?P<stage>\S+) +)?(?P<at>\d+)/\d+\] (?P<keyword>[A-Z]+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `first` and `last` are its lines, from 0; `flags` and `rest` have no continuations."""

    keyword: str
    flags: tuple[str, ...]
    rest: str
    first: int
    last: int

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
    return any(_may_read(source, path) for instruction in instructions for source in sources_of(instruction))


def words(instruction: Instruction) -> list[str]:
    """The arguments of a COPY or ADD, in either form; the last is the destination."""
    if instruction.rest.startswith("["):
        return re.findall(r'"((?:[^"\\]|\\.)*)"', instruction.rest)
    return instruction.rest.split()


def sources_of(instruction: Instruction) -> Iterator[str]:
    """Paths of the context that an instruction reads."""
    if instruction.keyword == "ONBUILD":
        nested = scan(instruction.rest)
        yield from (source for inner in nested for source in sources_of(inner))
    elif instruction.keyword == "RUN":
        for mount in context_mounts(instruction):
            yield dict(field.partition("=")[::2] for field in mount.split(",")).get("source", ".")
    elif instruction.keyword in ("COPY", "ADD") and instruction.flag("from") is None:
        for word in words(instruction)[:-1]:
            if not word.startswith("<<") and not re.match(r"(?:https?|git)://|git@", word):
                yield word


def context_mounts(instruction: Instruction) -> list[str]:
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
        keyword, *rest = "".join(parts).split(None, 1) or [""]
        flags, arguments = _flags(rest[0].strip() if rest else "")
        if keyword.upper() in ("RUN", "COPY", "ADD"):
            for heredoc in _HEREDOC.finditer(arguments):
                while at < len(lines) and lines[at].lstrip("\t").rstrip("\r") != heredoc[2]:
                    at += 1
                at += 1
        yield Instruction(keyword.upper(), flags, arguments, first, at - 1)


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


def _may_read(source: str, path: str) -> bool:
    if any(char in source for char in "*?[$\\\"'"):
        return True
    cleaned = "/".join(part for part in source.split("/") if part not in ("", "."))
    return not cleaned or ".." in cleaned or path == cleaned or path.startswith(cleaned + "/")
