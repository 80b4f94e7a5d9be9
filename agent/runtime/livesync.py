"""Brings running containers up to date in place: files, then a restart or a command where a rule asks for one.

What was done is remembered per container: when the container goes, its files are gone too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Lock

from agent.errors import AgentError, DeployError, NeedsRebuild
from agent.model.change import FileSync, Verdict
from agent.model.environment import Environment
from agent.model.names import Revision, Slug
from agent.model.observed import Container
from agent.model.release import Release, ServiceSpec
from agent.model.sync import FileContent
from agent.planning.watchrules import COPYING
from agent.runtime.attempts import Attempts
from agent.runtime.cancel import CancelToken
from agent.runtime.ports import Clock, Engine, Git
from agent.store import Store

_TAIL_LINES = 25
_DELTA_TIMEOUT_S = 30.0  # it takes a tenth of one
_MOST_BYTES = 32 << 20  # of one sync; above it a build is cheaper


class Livesync:
    """A copy that a crash or a failing command cut short leaves a container that is replaced, not copied to again.

    The next push may take back what was copied, and its differences from what serves would not say so.
    """

    def __init__(self, *, git: Git, engine: Engine, store: Store, attempts: Attempts, clock: Clock) -> None:
        self._git = git
        self._engine = engine
        self._store = store
        self._attempts = attempts
        self._clock = clock
        self._lock = Lock()
        self._unfit: dict[Slug, tuple[Revision, set[str]]] = {}

    def apply(
        self,
        environment: Environment,
        spec: ServiceSpec,
        verdict: Verdict,
        containers: Sequence[str],
        *,
        revision: Revision,
    ) -> str:
        """Do what `verdict` says to each container and mark it; in words, what was done.

        Where a container cannot take the files, it is not marked and the next plan builds an image instead.
        DeployError when a command that a rule asks for fails.
        """
        try:
            files = self._contents(environment.project, verdict.files)
            if files or verdict.execs:
                self._store.synced.begin(environment.slug, containers, now=self._clock.now())
            for container in containers:
                self._bring_up(environment, spec, verdict, container, files)
        except NeedsRebuild:
            self._remember_unfit(environment.slug, spec.name, revision)
            return ""
        self._store.synced.mark(environment.slug, containers, revision, now=self._clock.now())
        return "" if not (verdict.files or verdict.restart or verdict.execs) else verdict.summary

    def delta(
        self,
        environment: Environment,
        verdict: Verdict,
        base: str,
        tag: str,
        *,
        revision: Revision,
        cancel: CancelToken,
    ) -> None:
        """Put the files over the image `base`, as `tag`. Where that cannot be, the next plan builds one instead."""
        try:
            files = self._contents(environment.project, verdict.files)
            self._engine.delta(base, files, tag=tag, cancel=cancel, timeout_s=_DELTA_TIMEOUT_S)
        except NeedsRebuild:
            self._remember_unfit(environment.slug, verdict.service, revision)

    def warm(self, release: Release, containers: Iterable[Container]) -> None:
        """Get containers ready to take files, so that the next `apply` need not wait for that."""
        watched = {spec.name for spec in release.services if any(rule.action in COPYING for rule in spec.watch)}
        for container in containers:
            if container.running and container.service in watched:
                with suppress(AgentError):  # it says so again when there are files
                    self._engine.sync(container.id, ())

    def unfit(self, slug: Slug, revision: Revision) -> frozenset[str]:
        """Services whose containers could not take the files of `revision`."""
        with self._lock:
            known, services = self._unfit.get(slug, (None, set()))
            return frozenset(services) if known == revision else frozenset()

    def _bring_up(
        self,
        environment: Environment,
        spec: ServiceSpec,
        verdict: Verdict,
        container: str,
        files: Sequence[FileContent],
    ) -> None:
        if files:
            self._engine.sync(container, files)
        if verdict.restart:
            self._attempts.started(environment.slug, container)
            self._engine.restart(container, grace_s=spec.stop_grace_s)
        for hook in verdict.execs:
            status, output = self._engine.execute(container, hook)
            if status:
                raise DeployError(
                    f"`{' '.join(hook.command)}` ended with status {status} in service `{spec.name}`.",
                    hint="`develop.watch` asks for it after files were copied; its last lines say why it failed.",
                    code="exec-failed",
                    service=spec.name,
                    log_tail=tuple(output[-_TAIL_LINES:]),
                )

    def _contents(self, project: str, files: Iterable[FileSync]) -> tuple[FileContent, ...]:
        wanted = tuple(files)
        blobs = self._git.blobs(project, [file.blob for file in wanted if file.blob], limit=_MOST_BYTES)
        return tuple(
            FileContent(file.target, file.mode, blobs[file.blob]) if file.blob else FileContent(file.target, "")
            for file in wanted
        )

    def _remember_unfit(self, slug: Slug, service: str, revision: Revision) -> None:
        with self._lock:
            known, services = self._unfit.get(slug, (None, set()))
            self._unfit[slug] = (revision, {*services, service} if known == revision else {service})
