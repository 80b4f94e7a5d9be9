"""Keeps credentials ready for every environment whose project has an AWS role, and renews them before they end.

Ready before anybody asks: Amazon's libraries wait a second for an answer, and STS may take longer. Nothing is written
down anywhere; after a start of the agent all roles are assumed again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from threading import Event, Lock
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError, OutsideError, RequestError
from agent.model.aws import LentKeys, RoleWish
from agent.model.environment import Environment
from agent.model.names import Slug
from agent.planning.roles import is_due, wish
from agent.runtime.ports import Clock
from agent.store import Store

log = structlog.get_logger(__name__)

_AGAIN_S = 60.0


class Assumer(Protocol):
    def assume(self, wish: RoleWish) -> LentKeys:
        """RequestError when somebody must act, OutsideError when nobody must. May take ten seconds."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    """What is had of a wish: keys, or why there are none; both while old keys could not be renewed."""

    wish: RoleWish
    lent: LentKeys | None = None
    problem: AgentError | None = None


class RoleKeeper:
    """`run` is a thread's main loop; the rest may be called from any thread."""

    def __init__(self, *, settings: Callable[[], Settings], store: Store, sts: Assumer, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._sts = sts
        self._clock = clock
        self._poked = Event()
        self._lock = Lock()
        self._held: dict[Slug, _Held] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """Why environments are without the credentials that they should have; each reason once."""
        with self._lock:
            found = [held.problem.message for held in self._held.values() if held.problem is not None]
        return tuple(dict.fromkeys(found))

    def poke(self) -> None:
        """Look now: the settings have changed, or the agent ends."""
        self._poked.set()

    def run(self, stop: Event) -> None:
        """Renew what is due, at start, when poked and on a timer, until `stop` is set and `poke` is called."""
        while not stop.is_set():
            self._poked.clear()
            try:
                self.look()
            except Exception:  # stages are served without this: it must not end the agent
                log.exception("a look at roles failed by a mistake of ours")
            self._poked.wait(_AGAIN_S)

    def look(self) -> None:
        """Assume what is due, and forget what nobody is to have any more.

        A role that is refused to one environment is asked for by no other at this look.
        """
        refused: dict[str, AgentError] = {}
        environments = self._store.environments.all() if self._settings().has_roles else ()
        wishes = {one.slug: found for one in environments if (found := wish(one, self._settings())) is not None}
        with self._lock:
            self._held = {slug: held for slug, held in self._held.items() if slug in wishes}
        for slug, found in wishes.items():
            if not self._is_ready(slug, found):
                problem = self._assume(slug, found, refused.get(found.arn))
                if problem is not None:
                    refused[found.arn] = problem

    def prepare(self, environment: Environment) -> str:
        """Have the environment's credentials ready; why there are none, for people, or "". Never fails."""
        found = wish(environment, self._settings())
        if found is None or self._is_ready(environment.slug, found):
            return ""
        problem = self._assume(environment.slug, found, None)
        return "" if problem is None else f"No AWS credentials for its containers: {problem}"

    def keys(self, environment: Environment) -> tuple[RoleWish, LentKeys]:
        """What the environment's containers may have just now.

        RequestError when its project has no role or AWS refuses it, OutsideError when there is nothing to give yet.
        """
        found = wish(environment, self._settings())
        if found is None:
            raise RequestError("There is no role.", code="no-role", http_status=HTTPStatus.NOT_FOUND)
        with self._lock:
            held = self._held.get(environment.slug)
        if held is None or held.wish != found:
            raise OutsideError("The role was not assumed yet.", hint="Ask again.", code="role-not-ready")
        if held.lent is not None and held.lent.expires_at > self._clock.now():
            return found, held.lent
        if held.problem is not None:
            raise held.problem.with_traceback(None)  # raised many times: each would add to what is there
        raise OutsideError("The credentials ended.", hint="Ask again.", code="role-not-ready")

    def _is_ready(self, slug: Slug, found: RoleWish) -> bool:
        with self._lock:
            held = self._held.get(slug)
        if held is None or held.wish != found or held.lent is None:
            return False
        return not is_due(held.lent, self._clock.now())

    def _assume(self, slug: Slug, found: RoleWish, refused: AgentError | None) -> AgentError | None:
        """Why it did not work; what is still good of before is kept."""
        lent, problem = None, refused
        if refused is None:
            try:
                lent = self._sts.assume(found)
            except AgentError as error:
                problem = error
        with self._lock:
            before = self._held.get(slug)
            kept = before.lent if before is not None and before.wish == found else None
            self._held[slug] = _Held(found, lent or kept, problem)
        was = before.problem.message if before is not None and before.problem is not None else ""
        if problem is not None and problem.message != was:
            log.warning("no credentials of a role", slug=str(slug), role=found.arn, problem=str(problem))
        if problem is None and was:
            log.info("credentials of a role again", slug=str(slug), role=found.arn)
        return problem
