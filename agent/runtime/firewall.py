"""Keeps the wall standing: the rules that hold containers off the metadata service and the agent's port.

And the one that leads containers of projects with a role to the agent instead, where there are such projects.

A thread of its own looks at start, on a timer, and when Docker has been away: others flush firewalls without a word.
Rules stay when the agent ends, for containers go on then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Event
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError, OutsideError
from agent.planning import metadata
from agent.planning.firewall import Family, changes

log = structlog.get_logger(__name__)

_AGAIN_S = 30.0  # two programs that take milliseconds
_TRIES = 5
_BETWEEN_TRIES_S = 0.1

Plan = Callable[[Settings, Family, Sequence[str]], tuple[str, ...]]


class Firewall(Protocol):
    """A module is an implementation of this. All may raise OutsideError."""

    def families(self) -> tuple[int, ...]: ...

    def rules(self, family: int, table: str = "filter") -> tuple[str, ...]: ...

    def restore(self, family: int, lines: Sequence[str]) -> None: ...


class FirewallKeeper:
    """`run` is a thread's main loop; the rest may be called from any thread."""

    def __init__(self, *, settings: Callable[[], Settings], firewall: Firewall, plan: Plan = changes) -> None:
        self._settings = settings
        self._firewall = firewall
        self._plan = plan
        self._poked = Event()
        self._pause = Event()  # never set
        self._problem: str | None = None
        self._leads: bool | None = None  # whether containers are led to the agent; None before the first look

    @property
    def problem(self) -> str | None:
        """Why the wall does not stand, "" when it does; None before the first look and where nobody wants one."""
        return self._problem

    def poke(self) -> None:
        """Look now: the settings have changed, Docker has been away, or the agent ends."""
        self._poked.set()

    def run(self, stop: Event) -> None:
        """Look at start, when poked and on a timer, until `stop` is set and `poke` is called."""
        managed: bool | None = None
        while not stop.is_set():
            self._poked.clear()
            before, managed = managed, self._settings().firewall.manage
            try:
                if managed or before is not managed:  # whoever wants no wall is left alone once ours is gone
                    self.look()
            except Exception:  # stages are served without this: it must not end the agent
                log.exception("a look at the firewall failed by a mistake of ours")
            self._poked.wait(_AGAIN_S)

    def look(self) -> None:
        """Look once, put right what is not, and say what is new of that, once."""
        manages, problem = self._settings().firewall.manage, ""
        try:
            for family in self._firewall.families():
                self._converge(Family(family))
            self._lead()
        except AgentError as error:
            problem = error.message
        if manages and problem and problem != self._problem:
            log.warning("the firewall does not keep containers off", problem=problem)
        if manages and not problem and self._problem:
            log.info("the firewall keeps containers off again")
        self._problem = problem if manages else None

    def _converge(self, family: Family) -> None:
        """OutsideError when the rules are not as they should be even after they were taken."""
        settings = self._settings()
        if not self._put_right(family, "filter", partial(self._plan, settings, family), wall=settings.firewall.manage):
            raise OutsideError(f"The rules for IPv{family:d} read otherwise than they were written.")

    def _lead(self) -> None:
        """Who has no role in the settings is spared a third program each half minute."""
        settings = self._settings()
        wanted = settings.has_roles and settings.firewall.manage
        if not wanted and self._leads is False:
            return
        if not self._put_right(Family.V4, "nat", partial(metadata.changes, settings), leads_to_roles=wanted):
            raise OutsideError("The rule that leads containers to their role reads otherwise than it was written.")
        self._leads = wanted

    def _put_right(
        self, family: Family, table: str, plan: Callable[[Sequence[str]], tuple[str, ...]], **told: bool
    ) -> bool:
        """Whether the rules of a table are as they should be in the end.

        Tried more than once: while Docker makes a network, rules of its own stand before ours for a moment.
        """
        for _ in range(_TRIES):
            lines = plan(self._firewall.rules(family, table))
            if not lines:
                return True
            self._firewall.restore(family, lines)
            log.info("firewall changed", family=f"IPv{family:d}", **told)
            if not plan(self._firewall.rules(family, table)):
                return True
            self._pause.wait(_BETWEEN_TRIES_S)
        return False
