"""Takes a slug and makes the world match the wish: observe, plan, execute, look again.

One worker per environment, a few at once. A wake carries nothing but the slug: everything is read
again. A newer wish cancels what a worker is doing.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Event, Thread

import structlog

from agent.config import Settings
from agent.errors import AgentError, OutsideError
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.runtime.cancel import CancelToken
from agent.runtime.ports import Clock
from agent.runtime.reconciler import Reconciler
from agent.runtime.record import Record
from agent.runtime.refresh import Refresher
from agent.store import Store

log = structlog.get_logger(__name__)

_HOLD_S = 1.0  # a wait shorter than this keeps its worker
_BACKOFF_S = (1.0, 60.0)


@dataclass(slots=True)
class _Work:
    """One environment in a worker's hands."""

    environment: Environment
    cancel: CancelToken = field(default_factory=CancelToken)
    nudge: Event = field(default_factory=Event)
    again: bool = False
    wished: bool = False  # a person or a push came, not only an event: no backoff holds that up
    asking: bool = False  # somebody is finding out already whether the newer wish ends this work
    ask_again: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do: environments that wait for a worker, for how long, and those in one's hands."""

    due: int
    lag_s: float
    working: int
    failing: int  # whose last look failed; each is due again


class Controller:
    """`wake` may be called from any thread and returns at once; `run` is the scheduler's loop."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        reconciler: Reconciler,
        record: Record,
        refresher: Refresher,
        clock: Clock,
        alive: Callable[[], None],
        admit: Callable[[Environment], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._reconciler = reconciler
        self._record = record
        self._refresher = refresher
        self._clock = clock
        self._alive = alive
        self._admit = admit  # raises OutsideError where work must wait
        self._changed = Condition()
        self._due: list[tuple[float, Slug]] = []
        self._due_at: dict[Slug, float] = {}  # the entry of `_due` that counts; older ones are passed over
        self._working: dict[Slug, _Work] = {}
        self._failures: dict[Slug, int] = {}
        self._stopping = False

    def wake(self, slug: Slug) -> None:
        """Something about this environment may be new."""
        with self._changed:
            work = self._working.get(slug)
            if work is None:
                self._push(slug, 0.0)
                return
            work.again = work.wished = True
            work.nudge.set()
            if work.asking:
                work.ask_again = True
                return
            work.asking = True
        Thread(target=self._interrupt, args=(slug, work), name=f"interrupt-{slug}", daemon=True).start()

    def nudge(self, slug: Slug) -> None:
        """The world moved (a container event): look again, but nothing that runs is ended."""
        with self._changed:
            work = self._working.get(slug)
            if work is None:
                self._push(slug, 0.0)
            else:
                work.again = True
                work.nudge.set()

    def load(self) -> Load:
        """How much there is to do just now; may be asked from any thread."""
        with self._changed:
            now = self._clock.monotonic()
            due = [at for slug, at in self._due_at.items() if at <= now and slug not in self._working]
            lag_s = max((now - at for at in due), default=0.0)
            return Load(len(due), lag_s, len(self._working), len(self._failures))

    def run(self) -> None:
        """Schedule until `stop`. Feeds the watchdog, since this is the loop that must not hang."""
        repair_at = self._clock.monotonic()
        while True:
            with self._changed:
                if self._stopping:
                    break
                self._dispatch()
                self._changed.wait(self._idle_s())
            self._alive()
            if self._clock.monotonic() >= repair_at:
                repair_at = self._clock.monotonic() + self._settings().limits.repair_interval_s
                for environment in self._store.environments.all():
                    self.nudge(environment.slug)
        self._drain()

    def stop(self) -> None:
        """End the scheduler; running work is cancelled and picked up again by the next start."""
        with self._changed:
            self._stopping = True
            for work in self._working.values():
                work.cancel.cancel()
                work.nudge.set()
            self._changed.notify_all()

    def _drain(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._working, timeout=30)

    def _push(self, slug: Slug, delay_s: float) -> None:
        """Look at it then, or earlier when that was said before: one look is due at a time, however many ask."""
        at = self._clock.monotonic() + delay_s
        if at < self._due_at.get(slug, math.inf):
            self._due_at[slug] = at
            heapq.heappush(self._due, (at, slug))
            self._changed.notify_all()

    def _idle_s(self) -> float:
        if not self._due:
            return 5.0
        if len(self._working) >= self._settings().limits.workers:
            return 1.0
        return min(5.0, max(0.0, self._due[0][0] - self._clock.monotonic()))

    def _dispatch(self) -> None:
        """Give every due slug to a worker; one that is in a worker's hands already is left to it."""
        while self._due and self._due[0][0] <= self._clock.monotonic():
            if len(self._working) >= self._settings().limits.workers:
                return
            at, slug = heapq.heappop(self._due)
            if self._due_at.get(slug) != at:
                continue
            del self._due_at[slug]
            if slug in self._working:
                self._working[slug].again = True
                continue
            environment = self._store.environments.get(slug)
            if environment is None:
                continue
            work = _Work(environment)
            self._working[slug] = work
            Thread(target=self._work, args=(slug, work), name=f"worker-{slug}", daemon=True).start()

    def _interrupt(self, slug: Slug, work: _Work) -> None:
        """Beside a running worker: does the newer wish make its work pointless? One at a time asks for it."""
        asking = True
        while asking:
            try:
                self._compare(slug, work)
            except AgentError as error:
                log.info("the newer wish was not read, the worker will", slug=slug, error=str(error))
            except Exception:  # our bug: the worker meets it as well and marks the environment (DESIGN 5.4)
                log.exception("the newer wish was not read", slug=slug)
            with self._changed:
                asking = work.asking = work.ask_again
                work.ask_again = False

    def _compare(self, slug: Slug, work: _Work) -> None:
        environment = self._store.environments.get(slug)
        if environment is None:
            return
        before = work.environment
        if _asked(environment) != _asked(before):
            work.cancel.cancel()
            work.nudge.set()
            return
        follows = environment.wanted is Wanted.RUNNING and not environment.pinned
        if follows and environment.needs_fetch and before.revision is not None and self._refresher.refresh(slug):
            work.cancel.cancel()
            work.nudge.set()

    def _work(self, slug: Slug, work: _Work) -> None:
        """A worker's life: look until there is nothing to do or to wait for."""
        again_s: float | None = None
        try:
            again_s = self._look_until_settled(slug, work)
            self._failures.pop(slug, None)
        except OutsideError as error:
            again_s = self._backoff(slug)
            log.warning("outside system unavailable", slug=slug, error=str(error), again_s=round(again_s, 1))
            self._write_down(slug, error)
        except Exception as error:  # our bug: this environment is marked, the daemon lives (DESIGN 5.4)
            again_s = self._backoff(slug)
            log.exception("reconcile failed", slug=slug)
            self._write_down(slug, error)
        finally:
            with self._changed:
                del self._working[slug]
                if not self._stopping and work.again and (work.wished or slug not in self._failures):
                    self._push(slug, 0.0)
                elif again_s is not None:
                    self._push(slug, again_s)
                self._changed.notify_all()

    def _write_down(self, slug: Slug, error: Exception) -> None:
        if self._stopping:  # what breaks while everything is taken apart says nothing about the environment
            return
        try:
            if isinstance(error, OutsideError):
                self._record.delayed(slug, error)
            else:
                self._record.broken(slug, error)
        except AgentError as problem:  # superseded meanwhile, or the disk is full: the log has it
            log.warning("not written down", slug=slug, error=str(problem))

    def _look_until_settled(self, slug: Slug, work: _Work) -> float | None:
        while self._begin(work):
            environment = self._store.environments.get(slug)
            if environment is None:
                return None
            work.environment = environment
            self._admit(environment)
            again_s = self._reconciler.look(environment, work.cancel)
            if again_s is None and not work.again:
                return None
            if again_s is not None and again_s > _HOLD_S and not work.again:
                return again_s
            if again_s and not work.again:
                work.nudge.wait(again_s)
        return None

    def _begin(self, work: _Work) -> bool:
        """Make ready for one more look; False when the agent stops. A token that `stop` cancelled is never replaced."""
        with self._changed:
            if self._stopping:
                return False
            work.again = work.wished = False
            work.nudge.clear()
            if work.cancel.cancelled():
                work.cancel = CancelToken()
        return True

    def _backoff(self, slug: Slug) -> float:
        """Exponential with full jitter, at most a minute."""
        count = self._failures[slug] = self._failures.get(slug, 0) + 1
        low, high = _BACKOFF_S
        return random.uniform(low / 2, min(high, low * 2.0 ** min(count, 20)))  # noqa: S311 - jitter, not a secret


def _asked(environment: Environment) -> tuple[Wanted, int, Revision | None]:
    """What makes work in progress pointless when it is another, without a look at the remote."""
    return environment.wanted, environment.salt, environment.edited
