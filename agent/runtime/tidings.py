"""What there is to tell about an environment, read from its rows and put into the outbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

from agent.config import Settings
from agent.logs import redactor
from agent.model.deployment import Deployment, Phase
from agent.model.edit import KEPT
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.model.notice import OpenNotice
from agent.runtime import chat
from agent.runtime.ports import Clock
from agent.store import Store, Thread

RESPONSE_URL_LIFE = timedelta(minutes=30)
_LAST_WORD_AFTER = timedelta(minutes=28)  # a message that can no longer be edited must not say "building" for ever


@dataclass(frozen=True, slots=True)
class _Tiding:
    """`final`: nothing is said after this, and the notice closes once it was sent. `gone`: nor in the thread."""

    text: str
    final: bool = False
    told: Deployment | None = None
    gone: bool = False


class Tidings:
    """Not safe for several threads at once: the notifier's alone calls `gather`."""

    def __init__(self, *, store: Store, settings: Callable[[], Settings], clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._said: dict[int, str] = {}  # per notice: saves edits that change nothing
        # Per environment, which notices know which state: in a burst of requests that saves nearly all of the work.
        self._known: dict[Slug, tuple[tuple[object, ...], frozenset[int]]] = {}

    def gather(self, slug: Slug, settled: set[str], *, can_post: bool) -> None:
        """Put whatever is new about this environment into the outbox. `settled`: kinds of requests that came true."""
        ids = self._store.notices.ids_for(slug)
        thread = self._store.threads.get(slug) if can_post else None
        if not ids:
            self._known.pop(slug, None)
            if thread is None:
                return
        environment = self._store.environments.get(slug)
        last = self._store.deployments.last(slug)
        if last is not None:
            last = chat.redacted(last, redactor(self._settings()))
        state = _state(environment, last)
        tidings = [
            (notice, tiding)
            for notice in self._uninformed(slug, ids, state, settled, can_post=can_post)
            if (tiding := self._news(notice, environment, last, notice.kind in settled, can_post=can_post))
        ]
        # The write lock only when there is news, and no flush: what is put out here can be read from the rows again.
        with self._store.transaction(durable=False) if tidings else nullcontext():
            for notice, tiding in tidings:
                self._put(notice, tiding, can_post=can_post)
        self._remember(slug, ids, state, tidings)
        if thread is not None and not ids:
            with self._store.transaction(durable=False):
                self._tell_thread(thread, environment, last)

    def put_everywhere(self, name: str, text: str) -> None:
        """Once into each channel where people wait or were told, as a message of its own; safe from any thread."""
        waiting = (notice for slug in self._store.notices.slugs() for notice in self._store.notices.open_for(slug))
        channels = {thread.channel for thread in self._store.threads.all()}
        channels |= {notice.notice.channel for notice in waiting if notice.notice.channel}
        for channel in sorted(channels):
            payload = {"channel": channel, "thread": "", "text": text}
            self._store.outbox.put(f"host:{name}:{channel}", payload, now=self._clock.now())

    def put_answer(self, response_url: str, text: str, *, replace: bool) -> None:
        """To who clicked a button; safe from any thread."""
        message: dict[str, object] = {"delete_original": True}
        if text:
            message = {"replace_original": replace, "response_type": "ephemeral", "text": text}
        payload = {"response_url": response_url, "message": message}
        self._store.outbox.put(f"answer:{uuid4().hex}", payload, now=self._clock.now())

    def _uninformed(
        self, slug: Slug, ids: tuple[int, ...], state: tuple[object, ...], settled: set[str], *, can_post: bool
    ) -> list[OpenNotice]:
        """The notices that may have something to say: those that were not looked at in this state."""
        before, informed = self._known.get(slug, ((), frozenset()))
        if before != state or settled or not can_post:
            return [
                notice
                for notice in self._store.notices.open_for(slug)
                if before != state
                or notice.id not in informed
                or notice.kind in settled
                or (not can_post and self._is_late(notice))
            ]
        unread = (self._store.notices.get(number) for number in ids if number not in informed)
        return [notice for notice in unread if notice is not None]

    def _is_late(self, notice: OpenNotice) -> bool:
        return self._clock.now() - notice.opened_at > _LAST_WORD_AFTER

    def _news(
        self,
        notice: OpenNotice,
        environment: Environment | None,
        last: Deployment | None,
        settled: bool,
        *,
        can_post: bool,
    ) -> _Tiding | None:
        """What this notice has not said yet."""
        waiting = self._store.outbox.get(_key(notice))
        if waiting is not None and waiting.payload.get("final"):
            return None  # the end is on its way; what happens afterwards is not this notice's business
        if environment is not None and environment.created_at > notice.opened_at:
            environment = None  # another one of the same name: the one that was asked for is gone
        tiding = self._tiding(notice, environment, last, settled)
        if not tiding.final and not can_post and self._is_late(notice):
            tiding = _Tiding(chat.last_word(tiding.text), final=True)
        return None if not tiding.final and self._said.get(notice.id) == tiding.text else tiding

    def _put(self, notice: OpenNotice, tiding: _Tiding, *, can_post: bool) -> None:
        payload: dict[str, object] = {"notice": notice.id, "text": tiding.text, "final": tiding.final}
        if can_post and not notice.message_ts:
            payload["posts_to"] = notice.notice.channel
        if tiding.gone:
            payload["gone"] = True
        if tiding.told is not None:
            payload |= {"told": tiding.told.id, "well": tiding.told.phase is Phase.READY}
        self._store.outbox.put(_key(notice), payload, now=self._clock.now())

    def _remember(
        self,
        slug: Slug,
        ids: tuple[int, ...],
        state: tuple[object, ...],
        tidings: list[tuple[OpenNotice, _Tiding]],
    ) -> None:
        """Only after it was written down: what was not must be found again by the next look."""
        if ids:
            self._known[slug] = state, frozenset(ids)
        for notice, tiding in tidings:
            if tiding.final:
                self._said.pop(notice.id, None)
            else:
                self._said[notice.id] = tiding.text

    def _tiding(
        self, notice: OpenNotice, environment: Environment | None, last: Deployment | None, settled: bool
    ) -> _Tiding:
        user = notice.notice.user
        subject = environment or last
        if subject is None:  # removed before anything was tried
            return _Tiding(chat.removed(notice.slug, ""), final=True, gone=True)
        if notice.kind == "destroy":
            if environment is None or settled:
                return _removed(subject)
            if environment.wanted is not Wanted.ABSENT:
                return _Tiding(chat.overtaken(environment), final=True)
            return _Tiding(chat.removing(environment, user=user))
        if notice.kind == "sleep":
            return self._of_sleep(environment, subject, settled)
        return self._of_deployment(notice, environment, subject, last)

    def _of_sleep(self, environment: Environment | None, subject: Environment | Deployment, settled: bool) -> _Tiding:
        if environment is None:
            return _removed(subject)
        if environment.wanted is not Wanted.ASLEEP:
            return _Tiding(chat.overtaken(environment), final=True)
        return _Tiding(chat.asleep(environment), final=True) if settled else _Tiding(chat.falling_asleep(environment))

    def _of_deployment(
        self,
        notice: OpenNotice,
        environment: Environment | None,
        subject: Environment | Deployment,
        last: Deployment | None,
    ) -> _Tiding:
        """A deploy, redeploy or wake ends with the first deployment that ended since and is as new as was asked."""
        if last is not None and last.finished_at is not None and last.finished_at >= notice.opened_at:
            if last.phase is Phase.FAILED and _answers(last, notice, environment):
                return _Tiding(self._failed(last, environment), final=True, told=last)
            if last.phase is Phase.READY and environment is not None and _answers(last, notice, environment):
                took_s = (last.finished_at - notice.opened_at).total_seconds()
                return _Tiding(chat.live(last, url=self._url(last), took_s=took_s), final=True, told=last)
        if environment is None:
            return _removed(subject)
        if environment.wanted is not Wanted.RUNNING:
            return _Tiding(chat.overtaken(environment), final=True)
        phase = last.phase if last is not None else Phase.QUEUED
        if phase in (Phase.READY, Phase.FAILED):  # of an earlier request
            phase = Phase.QUEUED
        notes = last.notices if last is not None and not last.phase.final else ()
        return _Tiding(chat.progress(environment, phase, user=notice.notice.user, notes=notes))

    def _tell_thread(self, thread: Thread, environment: Environment | None, last: Deployment | None) -> None:
        """Nobody waits, but somebody asked once: pushes that fail, the recovery after one, and the end."""
        if environment is None:
            if last is not None and any(one.phase is Phase.READY for one in self._ended(thread)):
                self._put_into(thread, "end", chat.removed(last.branch, last.project))
            self._store.threads.forget(thread.slug)
            return
        ended = next(iter(self._ended(thread)), None)
        if ended is None or ended.id <= thread.told:
            return
        well = ended.phase is Phase.READY
        if well and not thread.well:
            took_s = ended.seconds or 0.0
            self._put_into(thread, str(ended.id), chat.live(ended, url=self._url(ended), took_s=took_s, again=True))
        elif not well:
            self._put_into(thread, str(ended.id), self._failed(ended, environment))
        elif ended.cause == KEPT:
            self._put_into(thread, str(ended.id), chat.kept(ended))
        self._store.threads.keep(replace(thread, told=ended.id, well=well))

    def _ended(self, thread: Thread) -> list[Deployment]:
        """What came of the last attempts, the newest first."""
        redact = redactor(self._settings())
        history = self._store.deployments.history(thread.slug, 20)
        return [
            chat.redacted(one, redact) for one in history if one.phase in (Phase.READY, Phase.FAILED) and _tells(one)
        ]

    def _put_into(self, thread: Thread, name: str, text: str) -> None:
        payload = {"channel": thread.channel, "thread": thread.message_ts, "text": text}
        self._store.outbox.put(f"thread:{thread.slug}:{name}", payload, now=self._clock.now())

    def _failed(self, deployment: Deployment, environment: Environment | None) -> str:
        serving = environment.deployed_revision if environment is not None else None
        return chat.failed(deployment, url=self._url(deployment), serving=serving)

    def _url(self, deployment: Deployment) -> str:
        settings = self._settings()
        return deployment.url or settings.url(settings.hostname(deployment.slug))


def _state(environment: Environment | None, last: Deployment | None) -> tuple[object, ...]:
    """Everything that a tiding is made of."""
    return environment and replace(environment, request=0), last


def _removed(subject: Environment | Deployment) -> _Tiding:
    return _Tiding(chat.removed(subject.branch, subject.project), final=True, gone=True)


def _tells(ended: Deployment) -> bool:
    """Whether people want to hear of it: a repair that did not help is tried again, and in the end told as a crash."""
    return ended.caller != "agent" or ended.failure is None or ended.failure.code != "exited"


def _key(notice: OpenNotice) -> str:
    return f"notice:{notice.id}"


def _answers(deployment: Deployment, notice: OpenNotice, environment: Environment | None) -> bool:
    """Whether the remote was read since the request: an older deployment may end just after it."""
    if environment is None or environment.pinned or deployment.revision is None:
        return True
    return environment.fetched >= notice.request
