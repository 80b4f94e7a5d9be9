"""The eyes of edits: which worktree is to be looked at, when, and for what. What is found there, `Edits` writes down.

Events are hints here too: a worktree is looked at when its environment comes up, after every event that may count, and
now and then.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError, RequestError
from agent.model.environment import Environment
from agent.model.names import Slug
from agent.runtime.edits import Edits
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


class EditsLoop:
    """Only one thread calls `run`."""

    def __init__(self, *, settings: Callable[[], Settings], store: Store, git: Git, clock: Clock, edits: Edits) -> None:
        self._settings = settings
        self._store = store
        self._git = git
        self._clock = clock
        self._edits = edits
        self._noise: dict[Slug, Noise] = {}  # of each that is watched
        self._due: dict[Slug, float] = {}  # which are to be looked at, and not before when
        self._seen: dict[Slug, set[str]] = {}  # what was written there since the last look
        self._since: dict[Slug, float] = {}  # when the first of these was
        self._whole: set[Slug] = set()  # where something may have been written of which nobody told
        self._apart_of: dict[Slug, tuple[str, ...]] = {}
        self._begun: dict[Slug, deque[float]] = {}
        self._folders: frozenset[Path] = frozenset()
        self._has_moved = False  # what is watched: `_folders` is to be made anew
        self._places: dict[Path, tuple[Slug, str]] = {}
        self._list_at = 0.0
        self._all_at = 0.0
        self._blind = ""

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
            with self._edits.turn:
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
        live = {each.slug: each for each in self._store.environments.all() if self._edits.takes(each)}
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
            apart = self._edits.apart(environment)
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
        if environment is None or not self._edits.takes(environment):
            self._forget(slug)
            self._begun.pop(slug, None)
            return
        if not self._edits.is_settled(environment):
            self._due[slug] = self._clock.monotonic() + _WAIT_S
            return
        is_whole = slug in self._whole
        paths = self._seen.get(slug, set())
        self._forget(slug)
        apart = self._edits.apart(environment)
        noise = self._noise.get(slug)
        if noise is not None and self._apart_of.get(slug, apart) != apart:
            noise.forget()
        if self._edits.take(environment, apart=apart, paths=() if is_whole else paths) is not None:
            self._slow_down(slug)
        elif paths and noise is not None:  # nothing came of these: those that git ignores are not listened to again
            noise.ignore(self._git.ignored(environment.project, slug, noise.unknown(paths)))

    def _forget(self, slug: Slug) -> None:
        """It was looked at, or there is nothing to look at any more."""
        self._due.pop(slug, None)
        self._seen.pop(slug, None)
        self._since.pop(slug, None)
        self._whole.discard(slug)

    def _slow_down(self, slug: Slug) -> None:
        """A program that saves all the time gets a turn now and then; a person never saves that often."""
        times = self._begun.setdefault(slug, deque(maxlen=_MOST_IN_A_MINUTE))
        times.append(self._clock.monotonic())
        if len(times) == _MOST_IN_A_MINUTE and times[-1] - times[0] < 60.0:
            log.warning("something edits files of the repository all the time", slug=slug)
            self._due[slug] = self._clock.monotonic() + _CALM_S


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:  # gone again, or not ours to see
        return False
