"""What is sent for one build: which Dockerfile, which entries of the context, in which form.

Whole, as it came but for what `.dockerignore` leaves out; or detached (see `detach`), which is required where the
Dockerfile must not be part of the context and otherwise makes every build after the first one cheap.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from agent.adapters.docker.archive import DIRECTORY, LINK, Archive, Entry, end, nested
from agent.adapters.docker.bases import LARGEST, Bases, changes
from agent.adapters.docker.detach import CONTEXT_ARCHIVE, DELTA_ARCHIVE, Detached, StaleBase, TooHard, Tree, detach
from agent.adapters.docker.dockerfile import line_of, reads_context, scan
from agent.adapters.docker.ignore import Ignore, kept
from agent.errors import DeployError, SessionNeeded
from agent.model.labels import PROJECT, SERVICE
from agent.model.release import BuildSpec

_NAME = "Dockerfile"


class Upload:
    """The archive for BuildKit. SessionNeeded where Compose alone can send it, DeployError without a Dockerfile."""

    def __init__(
        self, spec: BuildSpec, context: Archive, *, tag: str, scratch_dir: Path | None, check: Callable[[], None]
    ) -> None:
        self.name = spec.dockerfile or _NAME
        self.text = _dockerfile(spec, self.name, context)
        self._context = context
        self._kept = kept(_checked(context, check), _ignore(self.name, context))
        self._size = context.length(self._is_kept)
        self._bases = _bases(spec, tag, scratch_dir) if scratch_dir and self._size <= LARGEST else None
        self._base: Archive | None = None
        self._delta: frozenset[str] = frozenset()
        self._detached = self._detach(spec, required=bool(spec.inline) or self._hides_what_is_read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._base is not None:
            self._base.__exit__()

    @property
    def dockerfile(self) -> str:
        """Its name in the archive."""
        return _NAME if self._detached else self.name

    def line_of(self, step: str) -> int | None:
        """Where the author finds a step, from 1."""
        if self._detached is None:
            return line_of(self.text, step)
        line = line_of(self._detached.text, step)
        return line and self._detached.origins[line - 1] + 1

    def body(self) -> Iterator[bytes]:
        if self._detached is None:
            yield from self._context.chunks(lambda entry: self._is_kept(entry) or entry.name == self.name)
            return
        written = self._detached.text.encode()
        yield from nested(_NAME, len(written), [written])
        if self._base is None:
            yield from nested(CONTEXT_ARCHIVE, self._size, self._context.chunks(self._is_kept))
        else:
            size = self._base.length(_everything)
            yield from nested(CONTEXT_ARCHIVE, size, self._base.chunks(_everything))
        if self._delta:
            above = Tree.of(self._delta).paths

            def changed(entry: Entry) -> bool:
                return entry.name in self._delta or (entry.kind == DIRECTORY and entry.name in above)

            yield from nested(DELTA_ARCHIVE, self._context.length(changed), self._context.chunks(changed))
        yield end()

    def _is_kept(self, entry: Entry) -> bool:
        return entry.name in self._kept

    def _hides_what_is_read(self) -> bool:
        """Whether an ignored Dockerfile, which must travel all the same, would end up in the image."""
        return self.name not in self._kept and reads_context(scan(self.text), self.name)

    def _detach(self, spec: BuildSpec, *, required: bool) -> Detached | None:
        """The rewritten Dockerfile; None to send everything as it is."""
        try:
            if spec.target.isdecimal() or not self._kept:
                raise TooHard  # the one counts stages, and an archive of nothing is not taken for an archive
            return self._on_base() or self._anew(required=required)
        except TooHard as error:
            if required:
                raise SessionNeeded("The Dockerfile must not be part of the context that it copies.") from error
            return None

    def _on_base(self) -> Detached | None:
        base = self._bases.find() if self._bases else None
        delta = changes(base, self._context, self._kept) if base else None
        if base is None or delta is None:
            return None
        try:
            detached = detach(self.text, context=_tree(base.entries), delta=Tree.of(delta))
        except StaleBase:
            base.__exit__()
            return None
        self._base, self._delta = base, delta
        return detached

    def _anew(self, *, required: bool) -> Detached | None:
        detached = detach(self.text, context=Tree(), delta=Tree())
        if self._bases is not None:
            self._base = self._bases.keep(self._context.chunks(self._is_kept))
        return detached if required or self._bases is not None else None


def _bases(spec: BuildSpec, tag: str, scratch_dir: Path) -> Bases:
    shared = (spec.labels.get(PROJECT, tag), spec.labels.get(SERVICE, ""), spec.context, spec.dockerfile)
    return Bases(scratch_dir / "contexts", own=tag.rpartition(":")[0], shared="\n".join(shared))


def _tree(entries: tuple[Entry, ...]) -> Tree:
    links = [entry.name for entry in entries if entry.kind == LINK]
    return Tree.of((entry.name for entry in entries), links)


def _checked(context: Archive, check: Callable[[], None]) -> Iterator[str]:
    """Every name; a hostile ignore file makes each take long, so there is a way out before each."""
    for entry in context.entries:
        check()
        yield entry.name


def _everything(entry: Entry) -> bool:
    return True


def _dockerfile(spec: BuildSpec, name: str, context: Archive) -> str:
    text = spec.inline or context.text(posixpath.normpath(name))
    if text is None and name.startswith(".."):
        raise SessionNeeded("The Dockerfile lies outside the build context.")
    if text is None:
        raise DeployError(
            f"There is no `{name}` in the build context.",
            hint="Correct `build.context` or `build.dockerfile`, or commit the file.",
            code="no-dockerfile",
        )
    return text


def _ignore(name: str, context: Archive) -> Ignore:
    for file in (f"{name}.dockerignore", ".dockerignore"):
        text = context.text(file)
        if text is not None:
            return Ignore(text, file=file)
    return Ignore("")
