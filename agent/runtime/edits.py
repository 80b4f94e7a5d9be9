"""Edits over SSH: what people save in a worktree becomes a revision of its environment, and goes the way of a push.

The loop only looks and writes down: git says what differs, the row says what is wanted, the controller does the rest.
Events are hints here too: a worktree is looked at when its environment comes up, after every event that may count, and
now and then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError, RequestError, StateError
from agent.model.deployment import Commit
from agent.model.edit import Edit, described
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.model.release import Release
from agent.runtime.noise import Noise
from agent.runtime.ports import Clock, Git
from agent.store import Store

log = structlog.get_logger(__name__)

_LIST_AGAIN_S = 1.0  # how soon a new environment is watched
_WAIT_S = 0.2  # between looks at one whose deployment goes on
_MOST_IN_A_MINUTE = 30  # a program that writes into files of the repository is no person
_CALM_S = 15.0
_STORM = 50  # files written in one go; more are waited for until nothing was written for a moment
_STORM_PAUSE_S = 0.35
_LONGEST_STORM_S = 5.0


class Seen(Protocol):
    """What was written; `blind` when that may not be all."""

    @property
    def paths(self) -> frozenset[Path]: ...

    @property
    def blind(self) -> str: ...


class Watch(Protocol):
    def __call__(self, folders: Callable[[], frozenset[Path]], *, stop: Event) -> Iterator[Seen]: ...


class Edits:
    """`run` is a thread's loop; the rest may be called from any thread."""

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
        self._noise: dict[Slug, Noise] = {}  # of each that is watched
        self._due: dict[Slug, float] = {}  # which are to be looked at, and not before when
        self._seen: dict[Slug, set[str]] = {}  # what was written there since the last look
        self._since: dict[Slug, float] = {}  # when the first of these was
        self._begun: dict[Slug, deque[float]] = {}
        self._folders: frozenset[Path] = frozenset()
        self._places: dict[Path, tuple[Slug, str]] = {}
        self._list_at = 0.0
        self._all_at = 0.0
        self._blind = ""

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self, watch: Watch, stop: Event) -> None:
        """Until `stop`."""
        for seen in watch(self._watched, stop=stop):
            self._notice(seen)
            for slug in [slug for slug, at in self._due.items() if at <= self._clock.monotonic()]:
                try:
                    self._look(slug)
                except AgentError as error:
                    log.warning("edits were not looked at", slug=slug, error=str(error))
                    self._due[slug] = self._clock.monotonic() + _CALM_S

    def _watched(self) -> frozenset[Path]:
        """Every folder in which an edit may be made; the same object as long as nothing about that changed."""
        now = self._clock.monotonic()
        if now < self._list_at:
            return self._folders
        self._list_at = now + _LIST_AGAIN_S
        live = {each.slug: each for each in self._store.environments.all() if _takes_edits(each)}
        gone = self._noise.keys() - live.keys()
        for slug in gone:
            del self._noise[slug]
        learnt = [environment for environment in live.values() if self._learns(environment)]
        if gone or learnt:
            self._places = {
                self._git.checkout_dir(live[slug].project, slug) / folder: (slug, folder)
                for slug, noise in self._noise.items()
                for folder in noise.folders
            }
            self._folders = frozenset(self._places)
            self._due |= dict.fromkeys(live, 0.0)  # nobody told what happened until they are watched anew
        return self._folders

    def _learns(self, environment: Environment) -> bool:
        """Find out which folders of a worktree count, where that is not known any more."""
        noise = self._noise.setdefault(environment.slug, Noise())
        if not noise.is_stale:
            return False
        try:
            folders = self._git.folders(environment.project, environment.slug, apart=self._apart(environment))
        except AgentError as error:
            log.warning("a worktree is not watched yet", slug=environment.slug, error=str(error))
            return False
        noise.learn(folders)
        return True

    def _notice(self, seen: Seen) -> None:
        now = self._clock.monotonic()
        if seen.blind != self._blind:
            self._tell_blind(seen.blind)
        if seen.blind or now >= self._all_at:
            self._all_at = now + self._settings().limits.repair_interval_s
            self._due |= dict.fromkeys(self._noise, 0.0)
        for path in seen.paths:
            slug, folder = self._places.get(path.parent, (None, ""))
            noise = self._noise.get(slug) if slug is not None else None
            inner = f"{folder}/{path.name}" if folder else path.name
            if slug is None or noise is None:
                continue
            if noise.hears(inner, is_folder=path.is_dir() and not path.is_symlink()):
                self._seen.setdefault(slug, set()).add(inner)
                self._since.setdefault(slug, now)
                self._due.setdefault(slug, now)
                if len(self._seen[slug]) > _STORM:  # somebody copies or checks out a lot: wait for the end of it
                    until = min(self._since[slug] + _LONGEST_STORM_S, now + _STORM_PAUSE_S)
                    self._due[slug] = max(self._due[slug], until)

    def _tell_blind(self, blind: str) -> None:
        """Told once, not each time; nobody is told when it ends, for nothing was lost."""
        self._blind = blind
        if blind:
            text = f"edits are noticed only after some seconds: {blind}"
            log.warning("worktrees cannot be watched", reason=blind)
            self._store.events.add("edits", caller="agent", text=text, now=self._clock.now())

    # -- one worktree ------------------------------------------------------------------------------------------

    def _look(self, slug: Slug) -> None:
        """Take what was edited; an environment that is busy is looked at again."""
        environment = self._store.environments.get(slug)
        if environment is None or not _takes_edits(environment):
            self._forget(slug)
            return
        if self._store.deployments.current(slug) is not None or not self._is_settled(environment):
            self._due[slug] = self._clock.monotonic() + _WAIT_S
            return
        del self._due[slug]
        paths = self._seen.pop(slug, set())
        self._since.pop(slug, None)
        edit = self._snapshot(environment, paths=paths)
        if edit is not None:
            self._begin(environment, edit)
        elif paths:
            self._learn(environment, paths)

    def _forget(self, slug: Slug) -> None:
        self._due.pop(slug, None)
        self._seen.pop(slug, None)
        self._since.pop(slug, None)
        self._begun.pop(slug, None)

    def _is_settled(self, environment: Environment) -> bool:
        """Whether the worktree holds what is wanted: else a push is on its way that no edit may overtake."""
        config = self._settings().fingerprint(environment.project)
        holds = self._git.checkout_revision(environment.project, environment.slug)
        return holds is not None and holds in (environment.edited, environment.target(config))

    def _snapshot(self, environment: Environment, *, paths: Iterable[str] = (), user: str = "") -> Edit | None:
        return self._git.snapshot(
            environment.project,
            environment.slug,
            _head(environment),
            apart=self._apart(environment),
            paths=tuple(paths),
            user=user,
        )

    def _learn(self, environment: Environment, paths: Iterable[str]) -> None:
        """Nothing came of these: those that git ignores are not listened to again."""
        noise = self._noise.get(environment.slug)
        if noise is not None:
            asked = noise.unknown(paths)
            noise.ignore(self._git.ignored(environment.project, environment.slug, asked))

    def _begin(self, environment: Environment, edit: Edit, *, caller: str = "", cause: str = "") -> bool:
        """Write down what is wanted now; False when a push came meanwhile, which overwrites it."""
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
                return False
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
            data = {"edit": edit.id, "files": list(edit.files[:20])}
            self._store.events.add("edit", slug=slug, caller=caller, text=cause, now=now, data=data)
        self._slow_down(slug)
        self._wake(slug)
        return True

    def _slow_down(self, slug: Slug) -> None:
        """A program that saves all the time gets a turn now and then; a person never saves that often."""
        times = self._begun.setdefault(slug, deque(maxlen=_MOST_IN_A_MINUTE))
        times.append(self._clock.monotonic())
        if len(times) == _MOST_IN_A_MINUTE and times[-1] - times[0] < 60.0:
            log.warning("something edits files of the repository all the time", slug=slug)
            self._due[slug] = self._clock.monotonic() + _CALM_S

    def _apart(self, environment: Environment) -> tuple[str, ...]:
        """Folders that containers see and write into: new files there are theirs, and live already anyway."""
        release = self._release(environment)
        if release is None:
            return ()
        return tuple(sorted({bind.source for spec in release.services for bind in spec.binds if not bind.is_file}))

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

    def restore(self, slug: Slug, edit_id: str, *, caller: str) -> str:
        """Put the files of an edit back into the worktree, as an edit by the caller; in a sentence, what comes of it.

        RequestError 409 while a deployment goes on, or when something is in the way.
        """
        environment = self._existing(slug)
        edit = self.find(slug, edit_id)
        if not _takes_edits(environment) or self._store.deployments.current(slug) is not None:
            raise RequestError(
                f"`{environment.branch}` does not run, or is being updated.",
                hint=f"Wait for it (`butai show {slug}`), or wake it; then ask again.",
                code="not-settled",
                http_status=409,
            )
        pending = self._snapshot(environment)
        if pending is not None:  # what is there now is kept first
            self._begin(environment, pending)
            environment = self._existing(slug)
        self._git.restore(environment.project, slug, edit)
        user = caller.partition(":")[2] or caller
        after = self._snapshot(environment, user=user)
        if after is None:
            return f"The files of edit {edit_id} are there already."
        self._begin(environment, after, caller=caller, cause=f"edit {edit_id} restored by {user}")
        return f"Edit {edit_id} is back in `{environment.branch}`: {described(edit.files)}."

    def _existing(self, slug: Slug) -> Environment:
        environment = self._store.environments.get(slug)
        if environment is None:
            raise RequestError(
                f"No environment `{slug}`.", hint="See `butai list`.", code="no-such-environment", http_status=404
            )
        return environment


def _takes_edits(environment: Environment) -> bool:
    return environment.wanted is Wanted.RUNNING and environment.deployed_revision is not None


def _head(environment: Environment) -> Revision:
    """Its branch, which an edit that is undone goes back to."""
    if environment.revision is None:
        raise StateError(f"{environment.slug} was deployed, but nobody knows from which revision.")
    return environment.revision


def _state(environment: Environment) -> tuple[Revision | None, Revision | None]:
    return environment.revision, environment.edited


def _cause(edit: Edit) -> str:
    return f"edit of {described(edit.files)} by {edit.user}" if edit.files else f"edits undone by {edit.user}"
