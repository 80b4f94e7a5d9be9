"""Hears that AWS takes this Spot instance back, tells everybody, and lets nothing new begin in the two minutes left.

A thread of its own asks each five seconds, as AWS recommends, and ends at once on any other host: an instance does not
become a Spot instance. Nothing has to be saved at the end: whatever is written down survives a power cut already.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Protocol

import structlog

from agent.config import Settings
from agent.errors import AgentError, OutsideError
from agent.model.environment import Environment
from agent.model.spot import SpotNotice
from agent.planning import spot as planning
from agent.runtime import chat
from agent.runtime.notifier import Notifier
from agent.runtime.ports import Clock
from agent.store import Store

log = structlog.get_logger(__name__)

_POLL_S = 5.0
_ASK_AGAIN_S = 60.0  # whether it is a Spot instance, where nobody answers
_REMEMBERED_S = 30 * 86_400.0  # what was told already, through every restart of the agent; no instance gets as old


class Instance(Protocol):
    """What the instance knows of itself. OutsideError when nobody answers."""

    def is_spot(self) -> bool: ...

    def spot_announcements(self) -> tuple[str, str]:
        """Of an interruption and of a rebalance, as JSON; "" where there is none."""
        ...


class SpotWatch:
    """`run` is a thread's main loop; `notice` and `admit` may be asked from any thread. `resumed`: work goes on."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        notifier: Notifier,
        clock: Clock,
        instance: Instance,
        on_ec2: Callable[[], bool],
        resumed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._instance = instance
        self._on_ec2 = on_ec2
        self._resumed = resumed
        self._notice: SpotNotice | None = None
        self._told: SpotNotice | None = None
        self._complaint = ""

    @property
    def notice(self) -> SpotNotice | None:
        """What AWS has announced; None when it has not, or this is no Spot instance."""
        return self._notice

    def admit(self, environment: Environment) -> None:
        """Let a worker begin. OutsideError for new work on a host that leaves: the next one does it."""
        if self._notice is None:
            return
        refusal = planning.refusal(self._notice, environment, self._store.deployments.current(environment.slug))
        if refusal is not None:
            raise refusal

    def run(self, stop: Event) -> None:
        """Ask until told to stop; return at once where there is nothing to hear."""
        if not self._on_ec2() or not self._is_spot(stop):
            return
        log.info("a spot instance: listening for its interruption", each_s=_POLL_S)
        while not stop.is_set():
            try:
                self.look()
            except AgentError as error:
                self._complain(str(error))
            except Exception:  # stages are served without this: it must not end the agent
                log.exception("listening for an interruption failed by a mistake of ours")
            stop.wait(_POLL_S)

    def look(self) -> None:
        """Ask once, and act on what is new. OutsideError when nobody answers, or nothing can be written down."""
        before, self._notice = self._notice, planning.read(*self._instance.spot_announcements())
        if before is not None and before.takes_back and (self._notice is None or not self._notice.takes_back):
            self._go_on()
        if self._notice is not None and self._notice != self._told:
            self._tell(self._notice)
        self._told = self._notice
        self._complain("")

    def _is_spot(self, stop: Event) -> bool:
        while not stop.is_set():
            try:
                return self._instance.is_spot()
            except OutsideError as error:
                self._complain(str(error))
                stop.wait(_ASK_AGAIN_S)
        return False

    def _tell(self, notice: SpotNotice) -> None:
        """In the log, as an event and in Slack, each once for each announcement, whoever restarts the agent."""
        text, name = planning.says(notice), f"spot {notice.action} {notice.at}"
        log.warning("spot notice", says=text)
        now = self._clock.now()
        with self._store.transaction():
            if not self._store.seen.remember(name, now, keep_s=_REMEMBERED_S):
                return
            data = {"action": notice.action, "at": None if notice.at is None else notice.at.isoformat()}
            self._store.events.add("spot", caller="aws", text=text, now=now, data=data)
            self._notifier.announce(name, chat.spot(self._settings().domain, text, leaves=notice.takes_back))
        self._notifier.ring()
        if notice.takes_back:
            self._store.checkpoint()

    def _go_on(self) -> None:
        """It was hibernated and runs again, or AWS has changed its mind."""
        text = "This Spot instance is not taken back any more: what waited begins."
        log.info("spot notice is over")
        self._resumed()
        self._store.events.add("spot", caller="aws", text=text, now=self._clock.now())

    def _complain(self, problem: str) -> None:
        """Once for each thing that goes wrong, not every five seconds."""
        if problem and problem != self._complaint:
            log.warning("nobody tells when this spot instance is taken back", problem=problem)
        self._complaint = problem
