"""Notice: where in Slack to tell a person what became of what they asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.model.names import Slug


@dataclass(frozen=True, slots=True)
class Notice:
    """A place in Slack. `response_url` works five times in thirty minutes; `thread` is the `ts` of a message."""

    team: str
    channel: str
    user: str
    response_url: str = ""
    thread: str = ""


@dataclass(frozen=True, slots=True)
class OpenNotice:
    """A notice that still waits for its end, and what was sent so far."""

    id: int
    slug: Slug
    notice: Notice
    request: int  # the environment's `request` that it waits for
    kind: str  # deploy, redeploy, sleep, wake, destroy
    opened_at: datetime
    message_ts: str = ""  # the message that is edited, once Slack has told its `ts`
    uses: int = 0  # how often the response_url was used
