"""Asks git for what the decision about a push needs, and remembers what the next push will need again."""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from agent.errors import DeployError
from agent.model.change import FOLDER, Action, Cause, Decision, Verdict
from agent.model.environment import Environment
from agent.model.names import Revision, Slug
from agent.model.release import BuildSpec, Release
from agent.planning import changes
from agent.planning.recipe import Instruction
from agent.runtime.ports import Git

_LARGEST = 64 * 1024  # of a Dockerfile or ignore file
_MANY = 5_000  # a push of more files is a rebuild, whatever they are


class Ignore(Protocol):
    """One ignore file, with Docker's own semantics."""

    def excludes(self, path: str) -> bool: ...


class Recipes(Protocol):
    """How Docker reads the files that images are made by."""

    def ignore(self, text: str) -> Ignore: ...

    def scan(self, text: str) -> Sequence[Instruction]: ...


@dataclass(frozen=True, slots=True)
class Question:
    """The way of one environment from one revision to another, and every path that differs."""

    project: str
    slug: Slug
    base: Revision
    target: Revision
    changed: frozenset[str]


class Decider:
    """One decision for each pair of revisions of an environment; asking again costs nothing."""

    def __init__(self, *, git: Git, recipes: Recipes) -> None:
        self._git = git
        self._recipes = recipes
        self._lock = Lock()
        self._known: dict[Slug, tuple[tuple[Revision, Revision, bool], Decision]] = {}
        self._texts: dict[tuple[Slug, str], tuple[Revision, str | None]] = {}

    def decide(self, environment: Environment, previous: Release, target: Revision, after: Release | None) -> Decision:
        """The verdicts for the way from `previous` to `target`; in doubt everything is made anew.

        `after` is the release of the target if its compose model was read again.
        """
        key = (previous.revision, target, after is not None)
        with self._lock:
            known = self._known.get(environment.slug)
        if known is not None and known[0] == key:
            return known[1]
        decision = self._decide(environment, previous, target, after)
        with self._lock:
            self._known[environment.slug] = (key, decision)
        return decision

    def _decide(self, environment: Environment, previous: Release, target: Revision, after: Release | None) -> Decision:
        found = self._git.changes(environment.project, previous.revision, target)
        if len(found) > _MANY:
            return _all_anew(after or previous, f"{len(found)} files changed")
        question = Question(
            environment.project,
            environment.slug,
            previous.revision,
            target,
            frozenset(change.path for change in found),
        )
        facts = _Facts(self, question, after or previous).facts()
        try:
            if after is not None:
                return changes.reread(found, previous, after, facts)
            return changes.decide(found, previous, facts)
        except DeployError as error:  # an ignore file that Docker refuses too: the build says so best
            return _all_anew(after or previous, error.message)

    def text(self, question: Question, path: str) -> str | None:
        """A small file of the target; read again only when it changed, or when the way here is not known."""
        key = (question.slug, path)
        with self._lock:
            known = self._texts.get(key)
        if known is None or path in question.changed or known[0] not in (question.base, question.target):
            data = self._git.read(question.project, question.target, path, limit=_LARGEST)
            text = None if data is None else data.decode("utf-8", "replace")
        else:
            text = known[1]
        with self._lock:
            self._texts[key] = (question.target, text)
        return text

    def ignore(self, text: str) -> Ignore:
        return self._recipes.ignore(text)

    def scan(self, text: str) -> Sequence[Instruction]:
        return self._recipes.scan(text)

    def mode(self, project: str, revision: Revision, path: str) -> str:
        modes = self._git.files(project, revision)
        if path in modes:
            return modes[path]
        return FOLDER if path == "." or any(name.startswith(f"{path}/") for name in modes) else ""

    def stood(self, question: Question, folder: str) -> bool:
        """Whether something in a folder is as it was."""
        names = self._git.files(question.project, question.target)
        return any(name.startswith(f"{folder}/") and name not in question.changed for name in names)

    def link(self, project: str, revision: Revision, path: str) -> str:
        return self._git.link(project, revision, path)


def _all_anew(release: Release, why: str) -> Decision:
    return Decision(
        tuple(
            Verdict(spec.name, Action.REBUILD if spec.build else Action.RECREATE, recreate=True, causes=(Cause(why),))
            for spec in release.services
        )
    )


class _Facts:
    """The facts of one revision, each looked up when it is asked for first."""

    def __init__(self, decider: Decider, question: Question, release: Release) -> None:
        self._decider = decider
        self._question = question
        self._builds: dict[str, BuildSpec] = {spec.name: spec.build for spec in release.services if spec.build}
        self._ignores: dict[str, Ignore] = {}

    def facts(self) -> changes.Facts:
        return changes.Facts(
            ignored=self._ignored,
            dockerfile=self._dockerfile,
            matches=lambda patterns, path: self._decider.ignore("\n".join(patterns)).excludes(path),
            mode=functools.cache(lambda path: self._decider.mode(self._question.project, self._question.target, path)),
            readlink=lambda path: self._decider.link(self._question.project, self._question.target, path),
            stood=lambda folder: self._decider.stood(self._question, folder),
        )

    def _ignored(self, service: str, path: str) -> bool:
        if service not in self._ignores:
            build = self._builds[service]
            dockerfile = posixpath.normpath(posixpath.join(build.context, build.dockerfile))
            text = self._text(f"{dockerfile}.dockerignore")
            if text is None:
                text = self._text(posixpath.normpath(posixpath.join(build.context, ".dockerignore")))
            self._ignores[service] = self._decider.ignore(text or "")
        return self._ignores[service].excludes(path)

    def _dockerfile(self, service: str) -> Sequence[Instruction] | None:
        build = self._builds[service]
        text = build.inline or self._text(posixpath.normpath(posixpath.join(build.context, build.dockerfile)))
        return None if text is None else self._decider.scan(text)

    def _text(self, path: str) -> str | None:
        return self._decider.text(self._question, path)
