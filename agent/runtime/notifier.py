"""Tells people in Slack what became of what they asked: one message per request, edited until its end.

Level-triggered like the controller: whoever calls only says "look at this environment again", and what
there is to say is read from the rows. So a crash between the end of a deployment and its message
loses nothing: the next start looks at every open notice. The text waits in the outbox until Slack has it; the
notice is closed in the same transaction that takes its last text out.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

import structlog

from agent.config import Settings
from agent.model.environment import Environment
from agent.model.names import Slug
from agent.runtime.messenger import Chat, Messenger
from agent.runtime.ports import Clock
from agent.runtime.tidings import Tidings
from agent.store import Store

log = structlog.get_logger(__name__)

_SWEEP_S = 60.0
_TOGETHER_S = 0.2  # what happens within it is told together: a burst of requests is no burst of looks
_STOP_SEEN_S = 0.5
_IDLE_S = 10.0  # how long a message may wait that another process put into the outbox


class Notifier:
    """`run` is for a thread of its own; the other calls only set a flag and may come from any thread."""

    def __init__(
        self,
        *,
        store: Store,
        slack: Chat,
        settings: Callable[[], Settings],
        clock: Clock,
    ) -> None:
        self._store = store
        self._slack = slack
        self._clock = clock
        self._tidings = Tidings(store=store, settings=settings, clock=clock)
        self._messenger = Messenger(store=store, slack=slack, clock=clock)
        self._lock = Lock()
        self._changed: dict[Slug, set[str]] = {}
        self._bell = Event()
        self._swept_at: float | None = None

    def run(self, stop: Event) -> None:
        """Tell and send until `stop`. What still waits then leaves after the next start."""
        while not stop.is_set():
            self._bell.clear()
            try:
                wait_s = self.work()
            except Exception:  # a thread's main loop: what was not told is found again by the next sweep
                log.exception("telling people in Slack failed; it is tried again")
                wait_s = _IDLE_S
            self._wait(stop, wait_s)

    def deployment_changed(self, environment: Environment, deployment: object) -> None:
        """The environment's deployment has another phase now, which the caller has written down already."""
        del deployment  # it is read again: it may have moved on by the time it is told
        self.look_at(environment.slug)

    def settled(self, environment: Environment, kind: str) -> None:
        """What was asked for (`sleep`, `destroy`) has come true."""
        self.look_at(environment.slug, kind)

    def look_at(self, slug: Slug, *settled: str) -> None:
        """Something about this environment may be worth telling."""
        with self._lock:
            self._changed.setdefault(slug, set()).update(settled)
        self._bell.set()

    def answer_click(self, response_url: str, text: str, *, replace: bool) -> None:
        """Say `text` to who clicked, in the place of the clicked message or beside it; "" only removes that message."""
        self._tidings.put_answer(response_url, text, replace=replace)
        self._bell.set()

    def announce(self, name: str, text: str) -> None:
        """Say something of the whole host in every channel that waits for, or was told of, what is on stage.

        May be part of a transaction; `ring` afterwards. Without a bot token it is not said: nobody has asked, so there
        is nobody to answer.
        """
        if self._slack.enabled and self._slack.can_post:
            self._tidings.put_everywhere(name, text)

    def ring(self) -> None:
        """There is something in the outbox now."""
        self._bell.set()

    def work(self) -> float:
        """Tell and send everything that is due; seconds until there may be more. Called by the thread, and by tests."""
        changed = self._take_changed()
        if not self._slack.enabled:
            return _IDLE_S
        for slug, settled in changed.items():
            self._tidings.gather(slug, settled, can_post=self._slack.can_post)
        return min(self._messenger.send_due(), _IDLE_S)

    def _wait(self, stop: Event, wait_s: float) -> None:
        """Until something is to be told, `wait_s` is over, or the agent stops (seen within half a second)."""
        stop.wait(_TOGETHER_S)
        until = self._clock.monotonic() + wait_s
        while not stop.is_set() and (left := until - self._clock.monotonic()) > 0:
            if self._bell.wait(min(left, _STOP_SEEN_S)):
                return

    def _take_changed(self) -> dict[Slug, set[str]]:
        now = self._clock.monotonic()
        with self._lock:
            taken, self._changed = self._changed, {}
        if self._swept_at is None or now - self._swept_at >= _SWEEP_S:
            self._swept_at = now
            for slug in (*self._store.notices.slugs(), *(thread.slug for thread in self._store.threads.all())):
                taken.setdefault(slug, set())
        return taken
