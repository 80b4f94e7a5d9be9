"""A Dockerfile that reads its build context from stages of its own instead of from what it came with.

Two things need it. BuildKit takes the Dockerfile of an uploaded archive from that archive, so `COPY . .` would copy
a Dockerfile that is ignored or inline. And it unpacks and copies the whole of an uploaded context for one changed
file. So the archive holds the Dockerfile and, as archives in it, a context that was built before (`ADD` of the same
bytes and every `COPY` of it are cached) and what has changed since, copied over it: the tree is the same.
Whatever is not certain to mean the same, is refused.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.adapters.docker.dockerfile import Instruction, context_mounts, scan, sources_of, words

CONTEXT_STAGE, CONTEXT_ARCHIVE = "butai-context", "context.tar"
DELTA_STAGE, DELTA_ARCHIVE = "butai-delta", "delta.tar"

_NUMBERED = re.compile(r"\bfrom=\d")
_MOST = 30  # further layers; an image may have 125 of them
_KNOWN_FLAGS = frozenset(("chown", "chmod", "link"))


class TooHard(Exception):
    """This Dockerfile cannot be detached from its context."""


class StaleBase(Exception):
    """It can, but not with these changes on top of that context."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Paths of a context, the folders above them included, and which are symbolic links."""

    paths: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], links: Iterable[str] = ()) -> Tree:
        paths: set[str] = set()
        for name in names:
            path = name
            while path and path not in paths:
                paths.add(path)
                path = posixpath.dirname(path)
        return cls(frozenset(paths), frozenset(links))

    def has(self, source: str) -> bool:
        return source in self.paths if source else bool(self.paths)


@dataclass(slots=True)
class Detached:
    """The new text, and which line of the author's each of its lines was, from 0."""

    lines: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def add(self, line: str, origin: int) -> None:
        self.lines.append(line)
        self.origins.append(origin)


def detach(text: str, *, context: Tree, delta: Tree) -> Detached:
    """Read `context`, then `delta` over it. Raises TooHard, or StaleBase when only the delta is in the way."""
    rows = text.split("\n")
    instructions = scan(text)
    first = next((instruction.first for instruction in instructions if instruction.keyword == "FROM"), None)
    if first is None or CONTEXT_STAGE in text or DELTA_STAGE in text:
        raise TooHard
    behind = {}
    for instruction in instructions:
        _redirect(instruction, rows, delta)
        if instruction.keyword == "COPY" and delta.paths and instruction.flag("from") is None:
            behind[instruction.last] = _over(instruction, context, delta)
    if sum(map(bool, behind.values())) > _MOST:
        raise StaleBase
    detached = Detached()
    for at, row in enumerate(rows):
        if at == first:
            detached.add(f"FROM scratch AS {CONTEXT_STAGE}", at)
            detached.add(f"ADD {CONTEXT_ARCHIVE} /", at)
            if delta.paths:
                detached.add(f"FROM scratch AS {DELTA_STAGE}", at)
                detached.add(f"ADD {DELTA_ARCHIVE} /", at)
        detached.add(row, at)
        if behind.get(at):
            detached.add(behind[at], at)
    return detached


def readable(line: str) -> str:
    """A line of the build's trace in the author's own words."""
    return line.replace(f" --from={CONTEXT_STAGE}", "").replace(f" --from={DELTA_STAGE}", "")


def _redirect(instruction: Instruction, rows: list[str], delta: Tree) -> None:
    """Let one instruction read the stage; changes its rows."""
    if instruction.keyword == "ONBUILD" or _NUMBERED.search(" ".join(instruction.flags)):
        raise TooHard  # the one runs in another build, the other counts stages
    if instruction.keyword == "RUN":
        for mount in context_mounts(instruction):
            where = [at for at in range(instruction.first, instruction.last + 1) if mount in rows[at]]
            if len(where) != 1 or rows[where[0]].count(mount) != 1:
                raise TooHard
            rows[where[0]] = rows[where[0]].replace(mount, f"{mount},from={CONTEXT_STAGE}")
    sources = list(sources_of(instruction))
    if instruction.keyword == "RUN" and any(_special(source) or delta.has(_clean(source)) for source in sources):
        raise StaleBase  # a mount shows one stage, not two
    if instruction.keyword == "ADD" and sources:
        raise TooHard  # it unpacks archives and has no --from
    if instruction.keyword == "COPY" and sources:
        rows[instruction.first] = re.sub(
            r"(?i)^(\s*copy)\b", rf"\1 --from={CONTEXT_STAGE}", rows[instruction.first], count=1
        )


def _over(instruction: Instruction, context: Tree, delta: Tree) -> str:
    """The COPY that puts the changes over what the instruction copied; "" when it copied none of them."""
    *sources, destination = words(instruction) or [""]
    if not any(True for _ in sources_of(instruction)):
        return ""
    if any(source.startswith("<<") or _special(source) or _above(_clean(source)) & context.links for source in sources):
        raise StaleBase
    if not all(context.has(_clean(source)) for source in sources):
        raise StaleBase  # it is new, or missing; in both cases the first COPY would fail
    changed = [source for source in sources if delta.has(_clean(source))]
    if not changed:
        return ""
    if not {flag.partition("=")[0].removeprefix("--") for flag in instruction.flags} <= _KNOWN_FLAGS:
        raise StaleBase
    arguments = " ".join([*changed, destination])
    if instruction.rest.startswith("["):
        arguments = json.dumps([*changed, destination])
    return " ".join(["COPY", f"--from={DELTA_STAGE}", *instruction.flags, arguments])


def _special(source: str) -> bool:
    return any(char in source for char in "*?[]$\\\"'")


def _clean(source: str) -> str:
    """A source as a path of the context; "" for all of it."""
    return posixpath.normpath("/" + source).lstrip("/")


def _above(path: str) -> set[str]:
    above = set()
    while path:
        above.add(path)
        path = posixpath.dirname(path)
    return above
