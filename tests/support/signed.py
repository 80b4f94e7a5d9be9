"""Requests as Slack and GitHub sign and send them; over HTTP to a running agent, or to a Flask test client."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.support.slackd import Message, Slackd

SIGNING_SECRET = "slack-signing-secret-of-the-tests"
WEBHOOK_SECRET = "github-webhook-secret-of-the-tests"
FORM = "application/x-www-form-urlencoded"
ZERO = "0" * 40

Headers = dict[str, str]
Answer = tuple[int, bytes]
Send = Callable[[str, bytes, Headers], Answer]

_trigger = itertools.count(1)


def slack_headers(body: bytes, *, secret: str = SIGNING_SECRET, at: float | str | None = None) -> Headers:
    """Signed now, or `at` that time; a text is used as it is."""
    timestamp = at if isinstance(at, str) else str(int(time.time() if at is None else at))
    signature = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": FORM,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={signature}",
    }


def github_headers(
    body: bytes,
    *,
    secret: str = WEBHOOK_SECRET,
    event: str = "push",
    delivery: str = "72d3162e-cc78-11e3-81ab-4c9367dc0958",
) -> Headers:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={signature}",
    }


def push_payload(remote: str, branch: str, *, full_name: str = "acme/shop", after: str = "a" * 40) -> dict[str, Any]:
    """What GitHub sends for a push, as far as anybody could be tempted to use it."""
    return {
        "ref": f"refs/heads/{branch}",
        "before": "b" * 40,
        "after": after,
        "deleted": after == ZERO,
        "created": False,
        "forced": False,
        "repository": {"full_name": full_name, "clone_url": remote, "fork": False, "default_branch": "main"},
        "pusher": {"name": "anna"},
        "sender": {"login": "anna"},
        "head_commit": {"id": after, "message": "Change the colour"},
        "commits": [],
    }


def push(remote: str, branch: str, **fields: Any) -> tuple[bytes, Headers]:
    body = json.dumps(push_payload(remote, branch, **fields)).encode()
    return body, github_headers(body)


def over_http(base_url: str, *, host: str = "", timeout_s: float = 10.0) -> Send:
    """Send to a running agent; `host` is the Host header, as Traefik would pass it on."""

    def send(path: str, body: bytes, headers: Headers) -> Answer:
        named = {**headers, "Host": host} if host else headers
        request = urllib.request.Request(f"{base_url.rstrip('/')}{path}", data=body, headers=named, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return send


@dataclass
class SlackPerson:
    """Somebody in Slack: types commands and clicks buttons, and Slack shows what is answered."""

    slack: Slackd
    send: Send
    user: str = "U0ANNA"
    team: str = "T0TEAM"
    channel: str = "C0STAGE"
    secret: str = SIGNING_SECRET
    clock: Callable[[], float] = time.time
    answers: list[dict[str, Any]] = field(default_factory=list)

    def types(self, text: str, **fields: str) -> tuple[int, dict[str, Any]]:
        """`/butai TEXT`; the status and the answer, {} when it is empty. `fields` replace what Slack would send."""
        url = fields.get("response_url") or self.slack.response_url(self.channel)
        body = urlencode({**self._fields(text, url), **fields}).encode()
        status, answer = self.send("/slack/commands", body, slack_headers(body, secret=self.secret, at=self.clock()))
        shown = json.loads(answer) if answer else {}
        if status == 200:
            self.slack.answered(url, self.channel, shown)
            self.answers.append(shown)
        return status, shown

    def clicks(self, message: Message, label: str, **changes: Any) -> int:
        """Press the button called `label`; `changes` replace parts of the payload."""
        buttons = [e for block in message.blocks if block["type"] == "actions" for e in block["elements"]]
        button = next(one for one in buttons if one["text"]["text"] == label)
        payload = self.click_payload(button["action_id"], button["value"], original=message) | changes
        return self.sends_payload(payload)

    def click_payload(self, action_id: str, value: str, *, original: Message | None = None) -> dict[str, Any]:
        return {
            "type": "block_actions",
            "team": {"id": self.team, "domain": "example"},
            "user": {"id": self.user, "username": "anna", "team_id": self.team},
            "channel": {"id": self.channel, "name": "stage"},
            "container": {"type": "message", "message_ts": original.ts if original else "", "is_ephemeral": True},
            "trigger_id": f"1.{next(_trigger)}",
            "response_url": self.slack.response_url(self.channel, original),
            "actions": [{"type": "button", "action_id": action_id, "block_id": "b1", "value": value}],
        }

    def sends_payload(self, payload: Mapping[str, Any]) -> int:
        body = urlencode({"payload": json.dumps(payload)}).encode()
        headers = slack_headers(body, secret=self.secret, at=self.clock())
        return self.send("/slack/interactions", body, headers)[0]

    def _fields(self, text: str, response_url: str) -> dict[str, str]:
        return {
            "token": "deprecated",
            "team_id": self.team,
            "team_domain": "example",
            "channel_id": self.channel,
            "channel_name": "stage",
            "user_id": self.user,
            "user_name": "anna",
            "command": "/butai",
            "text": text,
            "api_app_id": "A0APP",
            "response_url": response_url,
            "trigger_id": f"1.{next(_trigger)}",
        }
