"""A stand-in for Slack: a real HTTP server that speaks chat.postMessage, chat.update and response_urls.

It keeps what people would see (messages with their edits) and can misbehave as Slack does: 429 with
Retry-After, 500, hanging, a page of HTML, closed channels, response_urls that are used up or too old.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "xoxb-test-token-0123456789"
USES = 5
LIFE_S = 30 * 60


@dataclass
class Message:
    """What people see; `edits` are (seconds, text), the first one included."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    thread: str = ""
    private: bool = False
    by: str = "bot"  # "bot", or "app" when it came from a response_url or the answer to a command
    deleted: bool = False
    edits: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class ResponseUrl:
    """One response_url: the message that it replaces, and what Slack counts."""

    channel: str
    made_at: float
    uses: int = 0
    original: Message | None = None


@dataclass(frozen=True)
class Misbehaviour:
    """`status` 0 hangs up without an answer. `page` is sent as HTML with that status."""

    status: int = 500
    retry_after: str = ""
    delay_s: float = 0.0
    page: str = ""
    location: str = ""


class Slackd:
    """`with Slackd() as slack:`; `slack.messages` is what people see."""

    def __init__(self, *, token: str = TOKEN, now: Callable[[], float] = time.monotonic) -> None:
        self.token = token
        self.team = "T0TEAM"
        self.now = now
        self.messages: list[Message] = []
        self.calls: list[tuple[str, dict[str, Any], int]] = []  # path, body, status
        self.closed_channels: set[str] = set()
        self.misbehave: list[Misbehaviour] = []  # one for each of the next requests
        self._urls: dict[str, ResponseUrl] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def location(self) -> str:
        """`host:port`, as settings name it."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def api_url(self) -> str:
        return f"http://{self.location}/api/"

    def start(self) -> Slackd:
        self._thread.start()
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Slackd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def response_url(self, channel: str, original: Message | None = None) -> str:
        """A new one, as comes with each command and each click."""
        with self._lock:
            name = f"{next(self._numbers):04d}secret"
            self._urls[name] = ResponseUrl(channel, self.now(), original=original)
        return f"http://{self.location}/commands/{name}"

    def expire(self, url: str) -> None:
        self._urls[url.rpartition("/")[2]].uses = USES

    def answered(self, url: str, channel: str, answer: dict[str, Any]) -> Message | None:
        """What Slack does with the body of an answer to a command: shows it, when it says something."""
        if not answer.get("text") and not answer.get("blocks"):
            return None
        with self._lock:
            message = self._new(channel, answer, by="app")
            known = self._urls.get(url.rpartition("/")[2])
            if known is not None:
                known.original = message
        return message

    def in_channel(self, channel: str) -> list[Message]:
        """What everybody in the channel sees, threads included."""
        return [one for one in self.messages if one.channel == channel and not one.private and not one.deleted]

    def visible(self) -> list[Message]:
        return [one for one in self.messages if not one.deleted]

    def wait_for_requests(self, count: int, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while len(self.calls) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.calls) >= count, f"only {len(self.calls)} requests came"

    def _new(self, channel: str, body: dict[str, Any], *, by: str) -> Message:
        message = Message(
            channel=channel,
            ts=f"1700000000.{next(self._numbers):06d}",
            text=body.get("text", ""),
            blocks=body.get("blocks") or [],
            thread=body.get("thread_ts", ""),
            private=by == "app" and body.get("response_type") != "in_channel",
            by=by,
        )
        message.edits.append((self.now(), message.text))
        self.messages.append(message)
        return message

    def _change(self, message: Message, body: dict[str, Any]) -> None:
        message.text = body.get("text", "")
        message.blocks = body.get("blocks") or []
        message.edits.append((self.now(), message.text))

    def _api(self, method: str, body: dict[str, Any], authorization: str) -> tuple[int, dict[str, Any]]:
        if authorization != f"Bearer {self.token}":
            return 200, {"ok": False, "error": "invalid_auth"}
        channel = str(body.get("channel", ""))
        if channel in self.closed_channels:
            return 200, {"ok": False, "error": "not_in_channel"}
        if method == "chat.postMessage":
            message = self._new(channel, body, by="bot")
            return 200, {"ok": True, "channel": channel, "ts": message.ts}
        if method == "chat.update":
            mine = [one for one in self.visible() if one.by == "bot" and one.ts == body.get("ts")]
            if not mine or mine[0].channel != channel:
                return 200, {"ok": False, "error": "message_not_found"}
            self._change(mine[0], body)
            return 200, {"ok": True, "channel": channel, "ts": mine[0].ts}
        return 200, {"ok": False, "error": "unknown_method"}

    def _respond(self, name: str, body: dict[str, Any]) -> tuple[int, str]:
        url = self._urls.get(name)
        if url is None or self.now() - url.made_at > LIFE_S:
            return 404, "expired_url"
        if url.uses >= USES:
            return 404, "used_url"
        url.uses += 1
        if body.get("delete_original") and url.original is not None:
            url.original.deleted = True
        elif body.get("replace_original") and url.original is not None:
            self._change(url.original, body)
        else:
            made = self._new(url.channel, body, by="app")
            url.original = url.original or made
        return 200, "ok"

    def _handle(self, path: str, body: dict[str, Any], authorization: str) -> tuple[int, str, str]:
        with self._lock:
            if path.startswith("/api/"):
                status, answer = self._api(path.removeprefix("/api/"), body, authorization)
                text, kind = json.dumps(answer), "application/json"
            else:
                status, text = self._respond(path.rpartition("/")[2], body)
                kind = "text/plain"
            self.calls.append((path, body, status))
        return status, text, kind

    def _handler(slackd) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.loads(raw or b"{}")
                path = urlsplit(self.path).path
                if path == "/api/auth.test":  # no message: it neither counts nor uses up a misbehaviour
                    good = self.headers.get("Authorization", "") == f"Bearer {slackd.token}"
                    said = {"ok": True, "team_id": slackd.team} if good else {"ok": False, "error": "invalid_auth"}
                    self._answer(200, json.dumps(said), "application/json")
                    return
                with slackd._lock:
                    fault = slackd.misbehave.pop(0) if slackd.misbehave else None
                if fault is None or (fault.status == 200 and not fault.page):
                    if fault is not None:
                        time.sleep(fault.delay_s)
                    self._answer(*slackd._handle(path, body, self.headers.get("Authorization", "")))
                    return
                time.sleep(fault.delay_s)
                slackd.calls.append((path, body, fault.status))
                if fault.status == 0:
                    self.close_connection = True
                    return
                extra = {"Retry-After": fault.retry_after, "Location": fault.location}
                text = fault.page or json.dumps({"ok": False, "error": "ratelimited"} if fault.status == 429 else {})
                self._answer(fault.status, text, "text/html" if fault.page else "application/json", extra)

            def do_GET(self) -> None:
                slackd.calls.append((f"GET {self.path}", {}, 200))
                self._answer(200, "ok", "text/plain")

            def _answer(self, status: int, text: str, kind: str, extra: dict[str, str] | None = None) -> None:
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                for name, value in (extra or {}).items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
