"""Where a file of the build context ends in an image, as far as a Dockerfile says so for certain.

It answers one question, for projects that mount their source over the folder that the image was built in: does
anything of the image but hidden copies depend on this file? Whatever is not plain ends in "in doubt", which means
that the image is built: a step that runs after the file was copied, a stage that others copy from, a variable or a
quotation mark in a name, a flag that is not known, an instruction that is not known.

Two things cannot be seen here and are taken not to be there: ONBUILD triggers of a base image whose name does not
say so, and symbolic links of the context that a wildcard matches.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.model.change import SYMLINK
from agent.planning.mounts import over

_SILENT = frozenset(
    {"ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "SHELL", "STOPSIGNAL", "USER"}
)
_KNOWN_FLAGS = frozenset({"--chown", "--chmod", "--link", "--from"})
_ELSEWHERE = re.compile(r"(?:https?|git|ssh)://|git@|<<")
_UNCERTAIN = re.compile(r"[$\"'\\\[\]]")


class Instruction(Protocol):
    """One instruction of a Dockerfile, its continued lines joined, its heredocs left out."""

    @property
    def keyword(self) -> str: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def rest(self) -> str: ...


class _Doubt(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str  # in small letters; "" when it has none
    base: str
    steps: tuple[Instruction, ...]


def landing(
    dockerfile: Sequence[Instruction], path: str, *, target: str = "", mode: Callable[[str], str]
) -> frozenset[str] | None:
    """Where `path` of the context can be found in the image, if nothing else of the image depends on it.

    Empty when nothing reads it; None in doubt. `mode` gives the git mode of a path of the context, "" when it is
    not there: a source that is a link leads to other paths.
    """
    try:
        return _Walk(_stages(dockerfile), path, mode).landing(target)
    except _Doubt:
        return None


def _stages(dockerfile: Sequence[Instruction]) -> list[_Stage]:
    found: list[tuple[str, str, list[Instruction]]] = []
    for instruction in dockerfile:
        if instruction.keyword == "FROM":
            words = instruction.rest.split()
            if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
                raise _Doubt
            found.append((words[2].lower() if len(words) == 3 else "", words[0], []))
        elif found:
            found[-1][2].append(instruction)
        elif instruction.keyword != "ARG":
            raise _Doubt
    return [_Stage(name, base, tuple(steps)) for name, base, steps in found]


class _Walk:
    """One path through the stages that make the image."""

    def __init__(self, stages: list[_Stage], path: str, mode: Callable[[str], str]) -> None:
        self._stages = stages
        self._path = path
        self._mode = mode
        self._landed: set[str] = set()
        self._volumes: list[str] = []
        self._workdir = ""  # "" while it is not known: the base image may set it

    def landing(self, target: str) -> frozenset[str]:
        chain = self._chain(self._target(target))
        for at in self._copied_from(chain):
            if any(self._may_read(step) for step in self._stages[at].steps):
                raise _Doubt
        for at in reversed(chain):
            stage = self._stages[at]
            if at == chain[-1] and stage.base.lower() == "scratch":
                self._workdir = "/"
            for step in stage.steps:
                self._step(step, is_last=at == chain[0])
        if any(over(place, self._volumes) for place in self._landed):
            raise _Doubt  # a new container gets a volume that is filled from the image
        return frozenset(self._landed)

    def _target(self, target: str) -> int:
        if not self._stages:
            raise _Doubt
        if not target:
            return len(self._stages) - 1
        for at, stage in enumerate(self._stages):
            if stage.name == target.lower() or str(at) == target:
                return at
        raise _Doubt

    def _chain(self, at: int) -> list[int]:
        """The stage and those it is based on."""
        chain = [at]
        while (parent := self._parent(chain[-1])) is not None:
            chain.append(parent)
        return chain

    def _parent(self, at: int) -> int | None:
        base = self._stages[at].base
        if "$" in base and not re.search(r"[:/@]", re.sub(r"\$\{[^}]*\}", "", base)):
            raise _Doubt  # it may name a stage
        if "onbuild" in base.lower():
            raise _Doubt
        named = [earlier for earlier in range(at) if self._stages[earlier].name == base.lower()]
        return named[-1] if named else None

    def _copied_from(self, chain: list[int]) -> set[int]:
        """The stages whose files others take, and all that those are made of."""
        found: set[int] = set()
        todo = list(chain)
        done: set[int] = set()
        while todo:
            at = todo.pop()
            if at in done:
                continue
            done.add(at)
            for step in self._stages[at].steps:
                for name in _sources_elsewhere(step):
                    taken = self._chain(self._target(name)) if self._is_stage(name) else []
                    found |= set(taken)
                    todo += taken
        return found

    def _is_stage(self, name: str) -> bool:
        if "$" in name:
            raise _Doubt
        return any(stage.name == name.lower() or str(at) == name for at, stage in enumerate(self._stages))

    def _may_read(self, step: Instruction) -> bool:
        if step.keyword == "ONBUILD":
            raise _Doubt
        if step.keyword == "RUN":
            return any(self._below(source) is not None for source in _context_mounts(step))
        if step.keyword not in ("COPY", "ADD") or _is_from(step):
            return False
        return any(self._below(source) is not None for source in _arguments(step)[:-1])

    def _step(self, step: Instruction, *, is_last: bool) -> None:
        if step.keyword == "RUN":
            if self._landed or self._may_read(step):
                raise _Doubt
        elif step.keyword in ("COPY", "ADD"):
            self._copy(step)
        elif step.keyword == "WORKDIR":
            self._workdir = self._absolute(step.rest.strip(), missing="")
        elif step.keyword == "VOLUME":
            self._volumes += [self._absolute(place, missing="/") for place in _listed(step.rest)]
        elif step.keyword == "ONBUILD":
            if not is_last:
                raise _Doubt
        elif step.keyword not in _SILENT:
            raise _Doubt

    def _copy(self, step: Instruction) -> None:
        if _is_from(step):
            return
        *sources, destination = _arguments(step)
        for source in sources:
            below = self._below(source)
            if below is None:
                continue
            if any(flag.partition("=")[0] not in _KNOWN_FLAGS for flag in step.flags):
                raise _Doubt
            if step.keyword == "ADD" and not below:
                raise _Doubt  # an archive is unpacked, whatever it is called
            place = self._absolute(destination, missing="")
            if not place:
                raise _Doubt
            whole = _is_folder(destination) or len(sources) > 1
            self._landed |= set(self._places(place, below, whole=whole, wild=_is_wild(source)))

    def _places(self, place: str, below: str, *, whole: bool, wild: bool) -> Iterator[str]:
        """Every place that it may be: a destination without a final slash may be a folder or not."""
        if not below or wild:
            yield posixpath.join(place, posixpath.basename(self._path))
        if not below and not whole:
            yield place
        if below:
            yield posixpath.join(place, below)

    def _below(self, source: str) -> str | None:
        """The path relative to a source that holds it, "" for the source itself; None when it is elsewhere."""
        if _ELSEWHERE.match(source):
            return None
        if _UNCERTAIN.search(source):
            raise _Doubt
        cleaned = posixpath.normpath(f"/{source}").strip("/")
        wanted, given = cleaned.split("/") if cleaned else [], self._path.split("/")
        if not _is_wild(source) and any(
            self._mode("/".join(wanted[: end + 1])) == SYMLINK for end in range(len(wanted))
        ):
            raise _Doubt
        if not all(_fits(pattern, part) for pattern, part in zip(wanted, given, strict=False)):
            return None
        if len(wanted) > len(given):
            raise _Doubt  # what the source goes through has changed
        return "/".join(given[len(wanted) :])

    def _absolute(self, place: str, *, missing: str) -> str:
        """A place of the image; `missing` when it depends on what is not known."""
        if _UNCERTAIN.search(place):
            return missing
        if not place.startswith("/") and not self._workdir:
            return missing
        return posixpath.normpath(posixpath.join(self._workdir or "/", place)).replace("//", "/")


def _sources_elsewhere(step: Instruction) -> Iterator[str]:
    """What `--from` and `--mount=from=` name."""
    for flag in step.flags:
        name, _, value = flag.partition("=")
        if name == "--from":
            yield value
        elif name == "--mount":
            given = _fields(value)
            if given.get("from"):
                yield given["from"]


def _context_mounts(step: Instruction) -> Iterator[str]:
    for flag in step.flags:
        name, _, value = flag.partition("=")
        given = _fields(value) if name == "--mount" else {}
        if name == "--mount" and given.get("type", "bind") == "bind" and not given.get("from"):
            yield given.get("source") or given.get("src") or "."


def _fields(mount: str) -> dict[str, str]:
    if '"' in mount:
        raise _Doubt
    return {name.lower(): value for name, _, value in (field.partition("=") for field in mount.split(","))}


def _is_from(step: Instruction) -> bool:
    return any(flag.partition("=")[0] == "--from" for flag in step.flags)


def _arguments(step: Instruction) -> list[str]:
    words = _listed(step.rest)
    if len(words) < 2:
        raise _Doubt
    return words


def _listed(rest: str) -> list[str]:
    """The words of an instruction, in either form."""
    if not rest.startswith("["):
        return rest.split()
    try:
        return [str(word) for word in json.loads(rest)]
    except ValueError:
        raise _Doubt from None


def _is_folder(destination: str) -> bool:
    return destination.endswith("/") or posixpath.basename(destination) in (".", "..")


def _is_wild(source: str) -> bool:
    return "*" in source or "?" in source


def _fits(pattern: str, part: str) -> bool:
    expression = "".join({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)) for char in pattern)
    return re.fullmatch(expression, part, re.DOTALL) is not None
