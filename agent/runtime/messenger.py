"""Carries messages from the outbox to Slack: at least once, edited once a second at most, none blocking another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import structlog

from agent.adapters.slack import SlackBusy, SlackRefused
from agent.errors import OutsideError
from agent.model.notice import OpenNotice
from agent.runtime.ports import Clock
from agent.runtime.tidings import RESPONSE_URL_LIFE
from agent.store import Outgoing, Store, Thread

log = structlog.get_logger(__name__)

_BETWEEN_EDITS_S = 1.0
_BETWEEN_POSTS_S = 1.0  # in one channel, https://docs.slack.dev/apis/web-api/rate-limits
_BURST = 10  # Slack allows short bursts
_AT_ONCE = 100
_RESPONSE_URL_USES = 5
_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_PATIENCE = timedelta(hours=24)
CLOSED_FOR_S = 600.0  # then the bot tries again: somebody may have invited it, or replaced its token
_EVER = 3600.0


class Chat(Protocol):
    """Slack, as the messenger needs it. Raises SlackBusy, SlackRefused or OutsideError."""

    @property
    def enabled(self) -> bool:
        """Whether the settings have Slack at all."""
        ...

    @property
    def can_post(self) -> bool:
        """Whether there is a bot token."""
        ...

    def post(self, channel: str, *, text: str, thread: str = "") -> str: ...

    def update(self, channel: str, ts: str, *, text: str) -> None: ...

    def respond(self, response_url: str, message: Mapping[str, Any]) -> None: ...


class Messenger:
    """Used by one thread."""

    def __init__(self, *, store: Store, slack: Chat, clock: Clock) -> None:
        self._store = store
        self._slack = slack
        self._clock = clock
        self._not_before: dict[str, float] = {}  # per message: when its next edit may leave
        self._full_until: dict[str, float] = {}  # per channel: when all its posts are paid for, one second each
        self._booked: set[str] = set()  # messages that wait for a second of their own in their channel
        self._closed_until: dict[tuple[str, str], float] = {}  # (team, channel) that the bot may not write to

    def send_due(self) -> float:
        """Send what may leave now; seconds until the next message may."""
        now = self._clock.monotonic()
        self._not_before = {key: at for key, at in self._not_before.items() if at > now}
        self._full_until = {channel: at for channel, at in self._full_until.items() if at > now}
        self._closed_until = {door: at for door, at in self._closed_until.items() if at > now}
        held = [_EVER]
        for item in self._unbooked(self._store.outbox.due(self._clock.now(), limit=_AT_ONCE)):
            # The end of a request is what people wait for: it may follow an edit at once.
            wait_s = 0.0 if item.payload.get("final") else self._not_before.get(item.key, now) - now
            if wait_s > 0:
                held.append(wait_s)
            else:
                self._send(item)
        due_at = self._store.outbox.next_at()
        until_due = _EVER if due_at is None else (due_at - self._clock.now()).total_seconds()
        return max(0.01, min(held) if until_due <= 0 else min(until_due, *held))

    def _unbooked(self, due: tuple[Outgoing, ...]) -> list[Outgoing]:
        """Those that their channel takes now; each of the others is put off to a second of its own."""
        now = self._clock.monotonic()
        ready: list[Outgoing] = []
        later: list[tuple[Outgoing, float]] = []
        for item in due:
            channel = _channel(item)
            if channel and item.key not in self._booked:
                free_at = max(now, self._full_until.get(channel, now))
                self._full_until[channel] = free_at + _BETWEEN_POSTS_S
                wait_s = free_at - now - _BURST * _BETWEEN_POSTS_S
                if wait_s > 0:
                    self._booked.add(item.key)
                    later.append((item, wait_s))
                    continue
            self._booked.discard(item.key)
            ready.append(item)
        with self._store.transaction(durable=False) if later else nullcontext():
            for item, wait_s in later:
                self._store.outbox.defer(item.id, at=self._clock.now() + timedelta(seconds=wait_s))
        return ready

    def _send(self, item: Outgoing) -> None:
        try:
            delivered = self._deliver(item.payload)
        except SlackBusy as busy:
            self._again(item, busy.retry_after_s, busy)
        except OutsideError as error:
            self._again(item, _BACKOFF_S[min(item.attempts, len(_BACKOFF_S) - 1)], error)
        except SlackRefused as error:
            self._give_up(item, error.message)
        else:
            self._not_before[item.key] = self._clock.monotonic() + _BETWEEN_EDITS_S
            self._done(item, delivered)

    def _deliver(self, payload: Mapping[str, Any]) -> OpenNotice | None:
        """The notice as it is after sending, where there is one."""
        if "message" in payload:
            self._slack.respond(payload["response_url"], payload["message"])
            return None
        if "channel" in payload:
            self._slack.post(payload["channel"], text=payload["text"], thread=payload["thread"])
            return None
        notice = self._store.notices.get(payload["notice"])
        if notice is None:  # closed meanwhile
            return None
        written = self._write(notice, payload["text"]) if self._slack.can_post else None
        return written or self._respond(notice, payload["text"], final=payload["final"])

    def _write(self, notice: OpenNotice, text: str) -> OpenNotice | None:
        """Post or edit as the bot; None when it may not write there and the response_url has to do."""
        place = notice.notice
        if not place.channel or (place.team, place.channel) in self._closed_until:
            return None
        if notice.message_ts:
            try:
                self._slack.update(place.channel, notice.message_ts, text=text)
            except SlackRefused as error:  # deleted by somebody, or too old to be edited: say it anew
                log.info("a message cannot be edited", reason=error.code, slug=notice.slug)
            else:
                return notice
        try:
            return replace(notice, message_ts=self._slack.post(place.channel, text=text, thread=place.thread))
        except SlackRefused as error:
            if not place.response_url:
                raise
            log.info("the bot may not write there; the response_url is used", reason=error.code)
            self._closed_until[place.team, place.channel] = self._clock.monotonic() + CLOSED_FOR_S
            return None

    def _respond(self, notice: OpenNotice, text: str, *, final: bool) -> OpenNotice:
        """Through the response_url: five uses in thirty minutes, of which the last is kept for the end."""
        if not notice.notice.response_url:
            raise SlackRefused("There is no way to answer: no bot token, no response_url.", code="no-way-to-answer")
        if self._clock.now() - notice.opened_at > RESPONSE_URL_LIFE:
            raise SlackRefused("The response_url has expired.", code="expired")
        if not final and notice.uses >= _RESPONSE_URL_USES - 1:
            return notice
        visibility = "ephemeral" if notice.kind == "destroy" else "in_channel"
        message = {"text": text, "replace_original": True, "response_type": visibility}
        self._slack.respond(notice.notice.response_url, message)
        return replace(notice, uses=notice.uses + 1)

    def _done(self, item: Outgoing, notice: OpenNotice | None) -> None:
        """One transaction for all there is to remember: a crash before it sends again, and never forgets."""
        with self._store.transaction():
            self._store.outbox.sent(item.id)
            if notice is None:
                return
            if item.payload["final"]:
                self._close(notice, item.payload)
            else:
                self._store.notices.sent(notice.id, message_ts=notice.message_ts, uses=notice.uses)

    def _close(self, notice: OpenNotice, payload: Mapping[str, Any]) -> None:
        """Forget the notice, and keep its message for what later pushes have to say."""
        self._store.notices.close(notice.id)
        if notice.message_ts and "told" in payload:
            ts = notice.notice.thread or notice.message_ts
            self._store.threads.keep(
                Thread(notice.slug, notice.notice.channel, ts, told=payload["told"], well=payload["well"])
            )
        elif payload.get("gone"):
            self._store.threads.forget(notice.slug)

    def _again(self, item: Outgoing, wait_s: float, error: OutsideError) -> None:
        now = self._clock.now()
        if now - item.put_at > _PATIENCE:
            self._give_up(item, f"{error.message} It was tried for a day.")
            return
        log.info("Slack is asked again later", reason=error.message, wait_s=wait_s, attempts=item.attempts + 1)
        self._store.outbox.retry(item.id, at=now + timedelta(seconds=wait_s), error=error.message)

    def _give_up(self, item: Outgoing, reason: str) -> None:
        """The event says what somebody was not told, and why."""
        log.warning("a message could not be delivered", key=item.key, reason=reason)
        notice = self._store.notices.get(item.payload["notice"]) if "notice" in item.payload else None
        with self._store.transaction():
            self._store.outbox.drop(item.id, error=reason)
            if notice is None or not item.payload.get("final"):
                return
            self._store.notices.close(notice.id)
            self._store.events.add(
                "untold",
                slug=notice.slug,
                caller="agent",
                text=f"The end of a {notice.kind} could not be told in Slack: {reason}",
                now=self._clock.now(),
                data={"text": item.payload["text"]},
            )


def _channel(item: Outgoing) -> str:
    """The channel that gets a new message by this one; "" for edits and response_urls."""
    return str(item.payload.get("posts_to") or item.payload.get("channel") or "")
