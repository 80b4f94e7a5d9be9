"""Slack's Web API and response_urls: the one home of slack_sdk.

A response_url comes from outside, so it is only ever used on an allowed host, over its allowed
scheme, and never followed to another place. Nothing here sleeps or retries: SDK handlers that wait are off.
"""

from __future__ import annotations

import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse, WebClient

from agent.config import Settings
from agent.config import Slack as SlackSettings
from agent.errors import OutsideError, RequestError

_TIMEOUT_S = 10
_TRANSIENT = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
_LIMITED = {"ratelimited", "rate_limited"}
_DEFAULT_WAIT_S = 5.0
_WORD = re.compile(r"[a-z_]{1,60}", re.ASCII)
_PLAIN_URL = re.compile(r"[!-~]{1,2000}", re.ASCII)  # no blanks, no control characters


class SlackBusy(OutsideError):
    """Slack wants to be asked again, not before `retry_after_s`."""

    code = "slack-busy"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SlackRefused(RequestError):
    """Slack understood and said no: another try of the same thing is in vain. `code` is Slack's own word."""


class Slack:
    """The workspace that the settings name now; without a bot token only `respond` works."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._lock = Lock()
        self._client: tuple[SlackSettings, WebClient] | None = None
        self._opener = urllib.request.build_opener(_NoRedirect)

    @property
    def enabled(self) -> bool:
        return self._settings().slack is not None

    @property
    def can_post(self) -> bool:
        """Whether there is a bot token, so that messages of ours can be posted and edited."""
        slack = self._settings().slack
        return slack is not None and slack.bot_token is not None

    def post(self, channel: str, *, text: str, thread: str = "") -> str:
        """Post a message; its `ts`, which names it from then on."""
        extra = {"thread_ts": thread} if thread else {}
        return self._call("chat.postMessage", channel=channel, text=text, **extra)

    def update(self, channel: str, ts: str, *, text: str) -> None:
        """Replace a message of ours."""
        self._call("chat.update", channel=channel, ts=ts, text=text)

    def verify(self) -> str:
        """Try the bot token; the id of the workspace that it is of. SlackRefused when Slack does not take it."""
        return str(self._ask("auth.test", {}).get("team_id", ""))

    def respond(self, response_url: str, message: Mapping[str, Any]) -> None:
        """Use a response_url once. SlackRefused when it is not Slack's, is used up or has expired."""
        slack = self._settings().slack
        if slack is None or not is_allowed(response_url, slack.response_hosts):
            raise SlackRefused("The response_url is not one of Slack's.", code="foreign-response-url")
        request = urllib.request.Request(  # noqa: S310 - the scheme was just checked
            response_url,
            data=json.dumps(message).encode(),
            headers={"Content-Type": "application/json; charset=utf-8"},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                answer.read(1000)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(200).decode("utf-8", "replace").strip()
            raise _meaning(error.code, said, error.headers.get("Retry-After")) from error
        except (OSError, ValueError) as error:
            raise OutsideError(f"Slack does not answer: {error}.", code="slack-unavailable") from error

    def _call(self, method: str, **fields: Any) -> str:
        return str(self._ask(method, {**fields, "unfurl_links": False, "unfurl_media": False}).get("ts", ""))

    def _ask(self, method: str, fields: dict[str, Any]) -> SlackResponse:
        try:
            return self._web().api_call(method, json=fields)
        except SlackApiError as error:
            response: Any = error.response
            said = str(response.get("error", ""))
            raise _meaning(response.status_code, said, response.headers.get("Retry-After")) from error
        except (SlackClientError, OSError, ValueError) as error:
            raise OutsideError(f"Slack does not answer: {error}.", code="slack-unavailable") from error

    def _web(self) -> WebClient:
        """The SDK's client for the settings of now: they change while the agent runs."""
        slack = self._settings().slack
        if slack is None or slack.bot_token is None:
            raise SlackRefused("There is no bot token.", code="no-bot-token")
        with self._lock:
            if self._client is None or self._client[0] != slack:
                self._client = (slack, _client(slack))
            return self._client[1]


def _client(slack: SlackSettings) -> WebClient:
    logger = logging.getLogger("agent.slack_sdk")
    logger.setLevel(logging.CRITICAL)  # it would write messages, headers and urls; we log outcomes ourselves
    token = slack.bot_token.reveal() if slack.bot_token is not None else ""
    return WebClient(token, base_url=slack.api_url, timeout=_TIMEOUT_S, retry_handlers=[], logger=logger)


def is_allowed(url: str, hosts: Sequence[str]) -> bool:
    """Whether `url` is https on one of `hosts`: `host` means its usual port, `host:port` just that one.

    Plain http is taken for `host:port` on this host's loopback alone: nobody listens in on the way.
    """
    if not _PLAIN_URL.fullmatch(url) or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or parts.fragment:
        return False
    host = parts.hostname or ""
    if parts.scheme == "https":
        return (host if port in (None, 443) else f"{host}:{port}") in hosts
    return parts.scheme == "http" and host == "127.0.0.1" and f"{host}:{port}" in hosts


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A redirect is an answer like any other: an error."""


def _meaning(status: int, said: str, retry_after: str | None) -> OutsideError | SlackRefused:
    if status == 429 or said in _LIMITED:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else _DEFAULT_WAIT_S
        return SlackBusy(f"Slack asks to wait {seconds:.0f} s.", retry_after_s=seconds)
    word = said if _WORD.fullmatch(said) else f"http_{status}"
    if status >= 500 or said in _TRANSIENT or word == "http_200":
        return OutsideError(f"Slack has a problem of its own ({status}).", code="slack-error")
    return SlackRefused(f"Slack refuses: {word}.", code=word)
