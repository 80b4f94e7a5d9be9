"""Edits over SSH: what people save in a worktree becomes a revision of its environment, and goes the way of a push.

Nothing here runs by itself. Git says what differs, the row says what is wanted, the controller does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

from agent.config import Settings
from agent.errors import RequestError, StateError
from agent.model.deployment import Commit
from agent.model.edit import Edit, described, printable
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.model.release import Release
from agent.runtime.ports import Clock, Git
from agent.store import Store


class Edits:
    """May be called from any thread. Who takes edits holds `turn` meanwhile: the loop, or who restores one."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        git: Git,
        clock: Clock,
        release: Callable[[Environment], Release | None],
        wake: Callable[[Slug], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._git = git
        self._clock = clock
        self._release = release
        self._wake = wake
        self.turn = Lock()

    def takes(self, environment: Environment) -> bool:
        """Whether what is saved in its worktree counts."""
        is_live = environment.wanted is Wanted.RUNNING and environment.deployed_revision is not None
        return is_live and environment.project in self._settings().projects

    def is_settled(self, environment: Environment) -> bool:
        """Whether nothing goes on and the worktree holds what is wanted: else an edit would overtake a push."""
        if self._store.deployments.current(environment.slug) is not None:
            return False
        config = self._settings().fingerprint(environment.project)
        holds = self._git.checkout_revision(environment.project, environment.slug)
        return holds is not None and holds in (environment.edited, environment.target(config))

    def apart(self, environment: Environment) -> tuple[str, ...]:
        """Folders that containers see and write into: new files there are theirs, and live already anyway."""
        release = self._release(environment)
        if release is None:
            return ()
        return tuple(sorted({bind.source for spec in release.services for bind in spec.binds if not bind.is_file}))

    def take(
        self,
        environment: Environment,
        *,
        apart: Iterable[str],
        paths: Iterable[str] = (),
        user: str = "",
        caller: str = "",
        cause: str = "",
    ) -> Edit | None:
        """Keep what was edited and want it; None when that is nothing. RequestError when a push came meanwhile.

        First the row and then the worktree's record: in the other order a kill in between would leave a worktree that
        holds what nobody wants, and the controller would check out over the file that somebody has open.
        """
        edit = self._git.snapshot(
            environment.project,
            environment.slug,
            _head(environment),
            apart=apart,
            paths=tuple(paths),
            user=user,
            accept=lambda edit: self._want(environment, edit, caller=caller, cause=cause),
        )
        if edit is not None:
            self._wake(environment.slug)
        return edit

    def _want(self, environment: Environment, edit: Edit, *, caller: str, cause: str) -> None:
        """Write down what is wanted now. RequestError when a push came meanwhile, which overwrites it."""
        slug, now = environment.slug, self._clock.now()
        cause = cause or _cause(edit)
        caller = caller or f"unix:{edit.user}"
        undone = edit.revision == _head(environment)
        commit = Commit(edit.revision, edit.user, f"Edit of {described(edit.files)}", edit.at)
        if undone:
            commit = self._git.commit(environment.project, edit.revision)
        with self._store.transaction():
            newest = self._store.environments.get(slug)
            if newest is None or newest.wanted is not Wanted.RUNNING or _state(newest) != _state(environment):
                raise _not_settled(environment)
            self._store.environments.update(
                slug,
                edited=None if undone else edit.revision,
                edited_by="" if undone else edit.user,
                edited_files=len(edit.files),
                repairs=0,
            )
            deployment = self._store.deployments.current(slug)
            if deployment is None:
                deployment = self._store.deployments.begin(newest, cause=cause, caller=caller, now=now)
            self._store.deployments.update(deployment.id, revision=edit.revision, commit=commit)
            data = {"edit": edit.id, "files": [printable(path) for path in edit.files[:20]]}
            self._store.events.add("edit", slug=slug, caller=caller, text=cause, now=now, data=data)

    # -- what people ask ---------------------------------------------------------------------------------------

    def kept(self, slug: Slug, *, limit: int) -> tuple[Edit, ...]:
        """What was kept of an environment, newest first. RequestError 404 when there is none of that name."""
        environment = self._existing(slug)
        return self._git.edits(environment.project, slug, limit=limit)

    def find(self, slug: Slug, edit_id: str) -> Edit:
        """RequestError 404 when there is no such edit."""
        for edit in self.kept(slug, limit=10_000):
            if edit.id == edit_id:
                return edit
        raise RequestError(
            f"No edit `{edit_id[:40]}` of {slug}.",
            hint="See `butai edits BRANCH` for those that were kept.",
            code="no-such-edit",
            http_status=404,
        )

    def patch(self, slug: Slug, edit: Edit) -> bytes:
        """What `git apply` takes."""
        return self._git.patch(self._existing(slug).project, edit)

    def worktree(self, slug: Slug) -> tuple[Path, bool]:
        """Where the files of an environment are on this host, and whether what is saved there counts now."""
        environment = self._existing(slug)
        return self._git.checkout_dir(environment.project, slug), self.takes(environment)

    def restore(self, slug: Slug, edit_id: str, *, caller: str) -> str:
        """Put the files of an edit back into the worktree, as an edit by the caller; in a sentence, what comes of it.

        RequestError 409 while a deployment goes on, when a push comes meanwhile, or when something is in the way.
        """
        edit = self.find(slug, edit_id)
        user = caller.partition(":")[2] or caller
        with self.turn:
            environment = self._existing(slug)
            if not self.takes(environment) or not self.is_settled(environment):
                raise _not_settled(environment)
            apart = self.apart(environment)
            if self.take(environment, apart=apart) is not None:  # what is there now is kept first
                environment = self._existing(slug)
            self._git.restore(environment.project, slug, edit)
            cause = f"edit {edit_id} restored by {user}"
            if self.take(environment, apart=apart, user=user, caller=caller, cause=cause) is None:
                return f"The files of edit {edit_id} are there already."
        return f"Edit {edit_id} is back in `{environment.branch}`: {described(edit.files)}."

    def _existing(self, slug: Slug) -> Environment:
        environment = self._store.environments.get(slug)
        if environment is None:
            raise RequestError(
                f"No environment `{slug}`.", hint="See `butai list`.", code="no-such-environment", http_status=404
            )
        return environment


def _not_settled(environment: Environment) -> RequestError:
    return RequestError(
        f"`{environment.branch}` does not run, or is being updated.",
        hint=f"Wait for it (`butai show {environment.slug}`), or wake it; then ask again.",
        code="not-settled",
        http_status=409,
    )


def _head(environment: Environment) -> Revision:
    """Its branch, which an edit that is undone goes back to."""
    if environment.revision is None:
        raise StateError(f"{environment.slug} was deployed, but nobody knows from which revision.")
    return environment.revision


def _state(environment: Environment) -> tuple[Revision | None, Revision | None]:
    return environment.revision, environment.edited


def _cause(edit: Edit) -> str:
    return f"edit of {described(edit.files)} by {edit.user}" if edit.files else f"edits undone by {edit.user}"
