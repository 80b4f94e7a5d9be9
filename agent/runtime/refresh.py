"""Reads one branch from its remote and turns what is new into a wish: revision, deployment, superseded ones.

Used by a plan's step FETCH, and beside a running worker, so that a newer push ends an older build at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from agent.errors import DeployError, OutsideError
from agent.model.deployment import Commit, Deployment, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.planning.branches import nearest
from agent.runtime.notifier import Notifier
from agent.runtime.ports import Clock, Git
from agent.store import Store

log = structlog.get_logger(__name__)


class Refresher:
    """`refresh` is safe beside a worker: the store decides, inside one transaction, what is newer."""

    def __init__(
        self, *, git: Git, store: Store, clock: Clock, notifier: Notifier, poke: Callable[[str], None]
    ) -> None:
        self._git = git
        self._store = store
        self._clock = clock
        self._notifier = notifier
        self._poke = poke

    def refresh(self, slug: Slug) -> bool:
        """Fetch the branch; whether its revision changed. DeployError when it never existed, OutsideError to retry."""
        environment = self._store.environments.get(slug)
        if environment is None or environment.wanted is not Wanted.RUNNING:
            return False
        asked_at = self._clock.now()
        revision = self._git.fetch(environment.project, environment.branch)
        if revision is None:
            return self._gone(environment)
        commit = self._git.commit(environment.project, revision)
        edit = self._edit(environment)
        with self._store.transaction(durable=False):  # what a power cut undoes is fetched again
            newest = self._store.environments.get(slug)
            if newest is None or newest.wanted is not Wanted.RUNNING:  # sleeps or goes meanwhile: nothing is begun
                return False
            moved = newest.revision != revision
            self._store.environments.update(
                slug, revision=revision, fetched=max(newest.fetched, environment.request), missing=0
            )
            is_lost = environment.edited is not None and edit is None and newest.edited == environment.edited
            if moved or is_lost:
                # a push overwrites edits; the checkout tells where they are kept
                self._store.environments.update(slug, edited=None, edited_by="", edited_files=0)
            elif edit is not None and newest.edited == edit.revision:
                commit = edit
            current = self._store.deployments.current(slug)
            superseded = self._adopt(newest, current, commit, asked_at, moved=moved)
        if superseded is not None:
            self._notifier.deployment_changed(newest, superseded)
        return moved

    def _edit(self, environment: Environment) -> Commit | None:
        """What people made of the worktree; None when nothing, or when it went away with a mirror that was lost."""
        if environment.edited is None:
            return None
        try:
            return self._git.commit(environment.project, environment.edited)
        except OutsideError as error:
            log.warning("an edit is not kept any more", slug=environment.slug, error=str(error))
            return None

    def _adopt(
        self,
        environment: Environment,
        current: Deployment | None,
        commit: Commit,
        asked_at: datetime,
        *,
        moved: bool,
    ) -> Deployment | None:
        """Give the commit a deployment; the one it supersedes, if any."""
        deployments = self._store.deployments
        revision = commit.revision
        superseded = None
        if current is not None and current.revision not in (None, revision):
            superseded = deployments.finish(current.id, Phase.SUPERSEDED, now=self._clock.now())
            current = None
        if current is None:
            if not moved:
                return None
            cause = f"push of {revision.short} by {commit.author}"
            current = deployments.begin(environment, cause=cause, caller="push", now=asked_at)
            self._store.events.add("push", slug=environment.slug, caller="push", text=cause, now=asked_at)
        deployments.update(current.id, revision=revision, commit=commit)
        return superseded

    def _gone(self, environment: Environment) -> bool:
        """The remote answers and has no such branch: an error for a new one, work for the poller otherwise."""
        if environment.revision is not None:
            self._store.environments.update(environment.slug, fetched=environment.request)
            self._poke(environment.project)
            return False
        known = self._git.branches(environment.project)
        near = ", ".join(f"`{name}`" for name in nearest(environment.branch, list(known)))
        raise DeployError(
            f"No branch `{environment.branch}` in {environment.project}.",
            hint=f"Nearest: {near}." if near else "Push it first.",
            code="no-such-branch",
        )
