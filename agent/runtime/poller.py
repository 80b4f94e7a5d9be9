"""Looks at every remote again and again, so that each push arrives even when no webhook does.

Each project has a round of its own: a remote that hangs or refuses delays nobody else. Only a complete listing
counts, and an environment goes only after its branch was missing from two of them in a row.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread

import structlog

from agent.config import Settings
from agent.errors import AgentError, RequestError
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision
from agent.planning.branches import check_branch, matches
from agent.runtime.operations import Operations
from agent.runtime.ports import Clock, Git
from agent.store import Store

log = structlog.get_logger(__name__)

CALLER = "poll"

_TICK_S = 0.5  # how late a poke or a changed setting may be noticed
_JITTER = (0.9, 1.1)  # ten projects on one server must not ask it in the same instant for ever
_SLOWEST_S = 300.0  # between two tries at a remote that keeps failing
_SECOND_LOOK_S = 5.0  # after a branch was missing for the first time
_MAINTAIN_S = 3600.0
_MISSING_BEFORE_IT_GOES = 2
_NOT_SEEN = Revision("0" * 40)  # the head of a branch whose push did not lead to anything yet


@dataclass(slots=True)
class _Round:
    """When a project is looked at next, and how it went so far."""

    due: float
    busy: bool = False
    again: bool = False  # poked while busy
    failures: int = 0
    complaint: str = ""
    maintained: float = 0.0


class Poller:
    """`run` is a thread's main loop; `poke` may be called from any thread and returns at once."""

    def __init__(
        self, *, settings: Callable[[], Settings], store: Store, git: Git, operations: Operations, clock: Clock
    ) -> None:
        self._settings = settings
        self._store = store
        self._git = git
        self._operations = operations
        self._clock = clock
        self._lock = Lock()
        self._rounds: dict[str, _Round] = {}

    def run(self, stop: Event) -> None:
        """Start a round of every project that is due, until told to stop."""
        while not stop.is_set():
            for project in self._begin_due():
                Thread(target=self._look, args=(project,), name=f"poll-{project}", daemon=True).start()
            stop.wait(_TICK_S)

    def poke(self, project: str) -> None:
        """Look at this project now: somebody says that something changed."""
        with self._lock:
            found = self._rounds.get(project)
            if found is not None:
                found.due = 0.0
                found.again = found.busy

    def poll(self, project: str) -> bool:
        """One complete listing and what follows from it; whether a branch is missing and wants a second look.

        Raises OutsideError when there is no listing: then nothing is concluded.
        """
        environments = [each for each in self._store.environments.all() if each.project == project]
        before = self._store.branches.of(project)
        listed_before = self._store.branches.at(project) is not None
        listing = self._git.branches(project)
        if not listing and before:
            log.warning("the remote lists no branch any more: ignored", project=project, known=len(before))
            return False
        valid = {branch: revision for branch, revision in listing.items() if _is_branch(branch)}
        doubtful = [self._follow(each, valid) for each in environments]
        refused: Iterable[str] = ()
        if listed_before:
            taken = {each.branch for each in environments}
            refused = self._create_wanted(
                project, {name: at for name, at in valid.items() if name not in taken}, before
            )
        self._store.branches.replace(project, valid | dict.fromkeys(refused, _NOT_SEEN), self._clock.now())
        return any(doubtful)

    # -- one project -------------------------------------------------------------------------------------------

    def _follow(self, environment: Environment, listing: Mapping[str, Revision]) -> bool:
        """Update or end one environment; whether its branch is missing for the first time."""
        now = self._store.environments.get(environment.slug)
        if now is None or now.wanted is Wanted.ABSENT or now.created_at != environment.created_at:
            return False  # destroyed, perhaps made anew, while the remote was listed: this listing is too old for it
        head = listing.get(environment.branch)
        if head is None:
            return self._missing(now)
        if environment.missing:
            self._store.environments.update(environment.slug, missing=0)
        if head != environment.revision and not environment.pinned and not environment.needs_fetch:
            self._operations.push(environment.project, environment.branch, deleted=False, caller=CALLER)
        return False

    def _missing(self, environment: Environment) -> bool:
        missing = environment.missing + 1
        if missing >= _MISSING_BEFORE_IT_GOES:
            self._operations.destroy(environment.slug, caller=f"{CALLER}: branch deleted")
            return False
        self._store.environments.update(environment.slug, missing=missing)
        return True

    def _create_wanted(
        self, project: str, listing: Mapping[str, Revision], before: Mapping[str, Revision]
    ) -> tuple[str, ...]:
        """Put branches on stage that `auto_deploy` names and that were pushed since the last listing.

        Returns those that there was no room for. Their push counts as not seen, so each next listing tries again.
        """
        patterns = self._settings().projects[project].auto_deploy
        refused: list[str] = []
        for branch, revision in listing.items():
            if before.get(branch) != revision and matches(patterns, branch):
                try:
                    self._operations.push(project, branch, deleted=False, caller=CALLER)
                except RequestError as error:  # the host is full: that must not stop the branches after it
                    refused.append(branch)
                    if before.get(branch) != _NOT_SEEN:  # once, not every minute
                        log.warning("branch not put on stage yet", project=project, branch=branch, problem=str(error))
        return tuple(refused)

    # -- the rounds --------------------------------------------------------------------------------------------

    def _begin_due(self) -> list[str]:
        now = self._clock.monotonic()
        projects = self._settings().projects
        with self._lock:
            for gone in self._rounds.keys() - projects.keys():
                del self._rounds[gone]
            due = []
            for project in projects:
                found = self._rounds.setdefault(project, _Round(due=now, maintained=now))
                if not found.busy and found.due <= now:
                    found.busy = True
                    due.append(project)
        return due

    def _look(self, project: str) -> None:
        """One round, on a thread of its own."""
        wait_s = self._settings().limits.poll_interval_s
        failure = ""
        try:
            if self.poll(project):
                wait_s = min(wait_s, _SECOND_LOOK_S)
            else:
                self._maintain(project)
        except AgentError as error:
            failure = str(error)
        except Exception:
            log.exception("a look at the remote failed by a mistake of ours", project=project)
            failure = "a mistake of ours"
        self._end(project, wait_s, failure)

    def _end(self, project: str, wait_s: float, failure: str) -> None:
        with self._lock:
            found = self._rounds.get(project)
            if found is None:  # taken out of the settings meanwhile
                return
            if failure and failure != found.complaint:  # once, not every minute of an outage
                log.warning("the remote was not read", project=project, problem=failure)
            elif found.complaint and not failure:
                log.info("the remote is read again", project=project)
            found.complaint = failure
            found.failures = found.failures + 1 if failure else 0
            wait_s = max(wait_s, min(_SLOWEST_S, wait_s * 2.0 ** min(found.failures, 20)))
            wait_s *= random.uniform(*_JITTER)  # noqa: S311 - no secret
            found.due = 0.0 if found.again else self._clock.monotonic() + wait_s
            found.busy = found.again = False

    def _maintain(self, project: str) -> None:
        """Keep the mirror tidy, seldom, and never on the way of a push."""
        now = self._clock.monotonic()
        with self._lock:
            found = self._rounds.get(project)
            if found is None or now - found.maintained < _MAINTAIN_S:
                return
            found.maintained = now
        self._git.maintain(project)


def _is_branch(name: str) -> bool:
    try:
        check_branch(name)
    except RequestError:
        return False
    return True
