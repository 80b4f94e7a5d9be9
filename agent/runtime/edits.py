"""Edits over SSH: what people save in a worktree becomes a revision of its environment, and goes the way of a push.

The loop only looks and writes down: git says what differs, the row says what is wanted, the controller does the rest.
Events are hints here too: a worktree is looked at when its environment comes up, after every event that may count, and
now and then.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError, RequestError, StateError
from agent.model.deployment import Commit
from agent.model.edit import Edit, described, printable
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
    """What was written. `is_all` is False when there may be more, and `blind` says why that stays so for long."""

    @property
    def paths(self) -> frozenset[Path]: ...

    @property
    def is_all(self) -> bool: ...

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
        self._whole: set[Slug] = set()  # where something may have been written of which nobody told
        self._apart_of: dict[Slug, tuple[str, ...]] = {}
        self._since: dict[Slug, float] = {}  # when the first of these was
        self._begun: dict[Slug, deque[float]] = {}
        self._turn = Lock()  # a worktree is looked at by the loop, or for somebody who restores
        self._folders: frozenset[Path] = frozenset()
        self._has_moved = False  # what is watched: `_folders` is to be made anew
        self._places: dict[Path, tuple[Slug, str]] = {}
        self._list_at = 0.0
        self._all_at = 0.0
        self._blind = ""

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self, watch: Watch, stop: Event) -> None:
        """Until `stop`. No worktree's trouble ends it: whoever may write there could end the agent with it."""
        for seen in watch(self._watched, stop=stop):
            try:
                self._notice(seen)
            except Exception:
                log.exception("what was seen in worktrees was not taken in")
                self._look_at_all(self._noise)
            for slug in [slug for slug, at in list(self._due.items()) if at <= self._clock.monotonic()]:
                self._try(slug)

    def _try(self, slug: Slug) -> None:
        try:
            with self._turn:
                self._look(slug)
        except Exception as error:
            if isinstance(error, AgentError):
                log.warning("edits were not looked at", slug=slug, error=str(error))
            else:
                log.exception("edits were not looked at", slug=slug)
            self._whole.add(slug)
            pause_s = _WAIT_S if isinstance(error, RequestError) else _CALM_S  # a push came: nothing is wrong
            self._due[slug] = self._clock.monotonic() + pause_s

    def _watched(self) -> frozenset[Path]:
        """Every folder in which an edit may be made; the same object as long as nothing about that changed."""
        now = self._clock.monotonic()
        if now >= self._list_at:
            self._list_at = now + _LIST_AGAIN_S
            try:
                self._list()
            except Exception:
                log.exception("it was not found out which worktrees to watch")
                self._list_at = now + _CALM_S
        return self._folders

    def _list(self) -> None:
        live = {each.slug: each for each in self._store.environments.all() if self._takes_edits(each)}
        for slug in self._noise.keys() - live.keys():
            del self._noise[slug]
            self._has_moved = True
        for environment in live.values():
            self._has_moved |= self._learns(environment)
        if self._has_moved:
            self._places = {
                self._git.checkout_dir(live[slug].project, slug) / folder: (slug, folder)
                for slug, noise in self._noise.items()
                for folder in noise.folders
            }
            self._folders = frozenset(self._places)
            self._has_moved = False
            self._look_at_all(live)  # nobody told what happened until they are watched anew

    def _learns(self, environment: Environment) -> bool:
        """Find out which folders of a worktree count, where that is not known any more."""
        noise = self._noise.setdefault(environment.slug, Noise())
        if not noise.is_stale:
            return False
        before = noise.folders
        try:
            apart = self._apart(environment)
            noise.learn(self._git.folders(environment.project, environment.slug, apart=apart))
        except (AgentError, OSError) as error:
            log.warning("a worktree is not watched yet", slug=environment.slug, error=str(error))
            return False
        self._apart_of[environment.slug] = apart
        return bool(before or noise.folders)

    def _look_at_all(self, slugs: Iterable[Slug]) -> None:
        """At all that is in them, whatever events told; one that is waited for already is waited for."""
        for slug in list(slugs):
            self._whole.add(slug)
            self._due.setdefault(slug, 0.0)

    def _notice(self, seen: Seen) -> None:
        now = self._clock.monotonic()
        if seen.blind or not seen.is_all or now >= self._all_at:
            self._all_at = now + self._settings().limits.repair_interval_s
            self._look_at_all(self._noise)
        for path in seen.paths:
            if path in self._places and (own := self._noise.get(self._places[path][0])) is not None:
                own.is_stale = True  # a watched folder itself: it went, or is another one of that name
            slug, folder = self._places.get(path.parent, (None, ""))
            noise = self._noise.get(slug) if slug is not None else None
            inner = f"{folder}/{path.name}" if folder else path.name
            if slug is None or noise is None:
                continue
            if noise.hears(inner, is_folder=_is_folder(path)):
                self._seen.setdefault(slug, set()).add(inner)
                self._since.setdefault(slug, now)
                self._due.setdefault(slug, now)
                if len(self._seen[slug]) > _STORM:  # somebody copies or checks out a lot: wait for the end of it
                    until = min(self._since[slug] + _LONGEST_STORM_S, now + _STORM_PAUSE_S)
                    self._due[slug] = max(self._due[slug], until)
        if seen.blind != self._blind:
            self._tell_blind(seen.blind)

    def _tell_blind(self, blind: str) -> None:
        """Told once, not each time; nobody is told when it ends, for nothing was lost."""
        if blind:
            text = f"edits are noticed only after some seconds: {blind}"
            log.warning("worktrees cannot be watched", reason=blind)
            self._store.events.add("edits", caller="agent", text=text, now=self._clock.now())
        self._blind = blind

    # -- one worktree ------------------------------------------------------------------------------------------

    def _look(self, slug: Slug) -> None:
        """Take what was edited; an environment that is busy is looked at again."""
        environment = self._store.environments.get(slug)
        if environment is None or not self._takes_edits(environment):
            self._forget(slug)
            self._begun.pop(slug, None)
            return
        if self._store.deployments.current(slug) is not None or not self._is_settled(environment):
            self._due[slug] = self._clock.monotonic() + _WAIT_S
            return
        is_whole = slug in self._whole
        paths = self._seen.get(slug, set())
        self._forget(slug)
        if self._take(environment, paths=() if is_whole else paths) is None and paths:
            self._learn(environment, paths)

    def _forget(self, slug: Slug) -> None:
        """It was looked at, or there is nothing to look at any more."""
        self._due.pop(slug, None)
        self._seen.pop(slug, None)
        self._since.pop(slug, None)
        self._whole.discard(slug)

    def _is_settled(self, environment: Environment) -> bool:
        """Whether the worktree holds what is wanted: else a push is on its way that no edit may overtake."""
        config = self._settings().fingerprint(environment.project)
        holds = self._git.checkout_revision(environment.project, environment.slug)
        return holds is not None and holds in (environment.edited, environment.target(config))

    def _take(
        self, environment: Environment, *, paths: Iterable[str] = (), user: str = "", caller: str = "", cause: str = ""
    ) -> Edit | None:
        """Keep what was edited and want it; None when that is nothing. RequestError when a push came meanwhile.

        First the row and then the worktree's record: in the other order a kill in between would leave a worktree that
        holds what nobody wants, and the controller would check out over the file that somebody has open.
        """
        apart = self._apart(environment)
        noise = self._noise.get(environment.slug)
        if noise is not None and self._apart_of.get(environment.slug, apart) != apart:
            noise.forget()
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
            self._slow_down(environment.slug)
            self._wake(environment.slug)
        return edit

    def _learn(self, environment: Environment, paths: Iterable[str]) -> None:
        """Nothing came of these: those that git ignores are not listened to again."""
        noise = self._noise.get(environment.slug)
        if noise is not None:
            asked = noise.unknown(paths)
            noise.ignore(self._git.ignored(environment.project, environment.slug, asked))

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

    def worktree(self, slug: Slug) -> tuple[Path, bool]:
        """Where the files of an environment are on this host, and whether what is saved there counts now."""
        environment = self._existing(slug)
        return self._git.checkout_dir(environment.project, slug), self._takes_edits(environment)

    def restore(self, slug: Slug, edit_id: str, *, caller: str) -> str:
        """Put the files of an edit back into the worktree, as an edit by the caller; in a sentence, what comes of it.

        RequestError 409 while a deployment goes on, when a push comes meanwhile, or when something is in the way.
        """
        edit = self.find(slug, edit_id)
        user = caller.partition(":")[2] or caller
        with self._turn:
            environment = self._existing(slug)
            goes_on = self._store.deployments.current(slug) is not None
            if not self._takes_edits(environment) or goes_on or not self._is_settled(environment):
                raise _not_settled(environment)
            if self._take(environment) is not None:  # what is there now is kept first
                environment = self._existing(slug)
            self._git.restore(environment.project, slug, edit)
            cause = f"edit {edit_id} restored by {user}"
            if self._take(environment, user=user, caller=caller, cause=cause) is None:
                return f"The files of edit {edit_id} are there already."
        return f"Edit {edit_id} is back in `{environment.branch}`: {described(edit.files)}."

    def _takes_edits(self, environment: Environment) -> bool:
        is_live = environment.wanted is Wanted.RUNNING and environment.deployed_revision is not None
        return is_live and environment.project in self._settings().projects

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


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:  # gone again, or not ours to see
        return False


def _head(environment: Environment) -> Revision:
    """Its branch, which an edit that is undone goes back to."""
    if environment.revision is None:
        raise StateError(f"{environment.slug} was deployed, but nobody knows from which revision.")
    return environment.revision


def _state(environment: Environment) -> tuple[Revision | None, Revision | None]:
    return environment.revision, environment.edited


def _cause(edit: Edit) -> str:
    return f"edit of {described(edit.files)} by {edit.user}" if edit.files else f"edits undone by {edit.user}"
