"""Signatures of Slack and the forges: over the raw body, before anything is parsed, in constant time.

Every refusal is the same 401 with a reason for the sender's log; none repeats what was sent. The SDKs'
verifiers raise on hostile headers and do nothing against replays, so they are not used.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from http import HTTPStatus

from agent.errors import RequestError

# `fullmatch` and ASCII: `$` would accept a trailing newline, `\d` other scripts' digits.
_SLACK_TIME = re.compile(r"[0-9]{10}", re.ASCII)
_SLACK_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)
_GITHUB_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}", re.ASCII)

_SLACK_OLD_S = 300  # https://docs.slack.dev/authentication/verifying-requests-from-slack
_SLACK_FUTURE_S = 60  # clocks differ, but not by more


def check_slack(secret: str, body: bytes, *, timestamp: str, signature: str, now: datetime) -> str:
    """A digest under which the request is remembered, so that it is taken only once. RequestError 401."""
    if not _SLACK_TIME.fullmatch(timestamp) or not _SLACK_SIGNATURE.fullmatch(signature):
        raise refused("The request is not signed as Slack signs.")
    base = b"v0:" + timestamp.encode() + b":" + body
    if not _same(secret, base, signature.removeprefix("v0=")):
        raise refused("The signature does not fit the request.")
    age_s = now.timestamp() - int(timestamp)
    if age_s > _SLACK_OLD_S or age_s < -_SLACK_FUTURE_S:
        raise refused("The request is too old, or a clock is wrong.", hint="Compare this host's clock with Slack's.")
    return hashlib.sha256(signature.encode()).hexdigest()


def check_github(secret: str, body: bytes, *, signature: str) -> None:
    """RequestError 401 unless `X-Hub-Signature-256` was made with `secret` over exactly this body."""
    if not _GITHUB_SIGNATURE.fullmatch(signature):
        raise refused("The delivery is not signed with SHA-256.", hint="Set the webhook's secret at the forge.")
    if not _same(secret, body, signature.removeprefix("sha256=")):
        raise refused("The signature does not fit the delivery.", hint="Compare the webhook's secret with the agent's.")


def refused(message: str, *, hint: str = "") -> RequestError:
    return RequestError(message, hint=hint, code="bad-signature", http_status=HTTPStatus.UNAUTHORIZED)


def _same(secret: str, message: bytes, given: str) -> bool:
    if not secret:  # the settings refuse an empty secret; with one, anybody could sign
        return False
    return hmac.compare_digest(hmac.new(secret.encode(), message, hashlib.sha256).hexdigest(), given)
