"""What Slack sends, before anybody looks at what it says: is it Slack, is it new, and who is asking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import structlog
from flask import abort, request

from agent.config import Slack as SlackSettings
from agent.errors import RequestError
from agent.model.notice import Notice
from agent.web.deps import Deps
from agent.web.signatures import check_slack, refused

log = structlog.get_logger(__name__)

_MAX_BODY_BYTES = 1_000_000
_MAX_FIELDS = 100
_ID = re.compile(r"[A-Z0-9]{1,40}", re.ASCII)
_SSL_CHECK = re.compile(rb"(?:.*&)?ssl_check=1(?:&.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, by the ids that Slack signed, and where an answer may go."""

    team: str
    channel: str
    user: str
    response_url: str

    @property
    def caller(self) -> str:
        return f"slack:{self.user}"

    @property
    def notice(self) -> Notice:
        return Notice(team=self.team, channel=self.channel, user=self.user, response_url=self.response_url)


def slack_settings(deps: Deps) -> SlackSettings:
    settings = deps.settings().slack
    if settings is None:
        abort(HTTPStatus.NOT_FOUND)
    return settings


def is_ssl_check(deps: Deps) -> bool:
    """Slack's unsigned probe of our certificate: answered, and nothing else. Other GETs are a 405."""
    slack_settings(deps)
    request.max_content_length = _MAX_BODY_BYTES
    if request.args.get("ssl_check") == "1":
        return True
    if request.method != "POST":
        abort(HTTPStatus.METHOD_NOT_ALLOWED)
    body = request.get_data(cache=True)
    return b"ssl_check=1" in body and bool(_SSL_CHECK.fullmatch(body))


def verified_fields(deps: Deps) -> dict[str, str]:
    """The form's fields, once the signature over the raw body was found good and new."""
    body = request.get_data(cache=True)  # first: looking at request.form would leave nothing to verify
    now = deps.clock.now()
    digest = check_slack(
        slack_settings(deps).signing_secret.reveal(),
        body,
        timestamp=request.headers.get("X-Slack-Request-Timestamp", ""),
        signature=request.headers.get("X-Slack-Signature", ""),
        now=now,
    )
    if not body.isascii():  # a form is percent-encoded; Slack signs no other
        raise refused("The request is not a form as Slack sends it.")
    if request.mimetype != "application/x-www-form-urlencoded" or request.headers.get("Content-Encoding"):
        abort(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if not deps.store.seen.remember(digest, now):
        raise refused("This request was taken already.")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise RequestError("The form cannot be read.", code="bad-form") from error
    return {name: values[0] for name, values in fields.items()}


def may_use(deps: Deps, person: Person) -> bool:
    """By ids alone; an empty list of users or channels in the settings allows all of the team."""
    slack = slack_settings(deps)
    allowed = (
        all(_ID.fullmatch(value) for value in (person.team, person.channel, person.user))
        and person.team == slack.team
        and (not slack.users or person.user in slack.users)
        and (not slack.channels or person.channel in slack.channels)
    )
    if not allowed:
        log.warning("refused in Slack", team=person.team[:40], channel=person.channel[:40], user=person.user[:40])
    return allowed


def response_url_of(fields: Mapping[str, Any]) -> str:
    """Kept as it is; where it may lead is decided when it is used."""
    url = fields.get("response_url", "")
    return url if isinstance(url, str) and len(url) <= 2_000 else ""


def id_of(value: object) -> str:
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
