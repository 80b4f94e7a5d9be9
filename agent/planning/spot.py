"""What an announcement of AWS about a Spot instance means: which one counts, how it is told, and what waits for it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from agent.errors import OutsideError
from agent.model.deployment import Deployment, Phase
from agent.model.environment import Environment, Wanted
from agent.model.spot import REBALANCE, SpotNotice

_VERBS = {"terminate": "ends", "stop": "stops", "hibernate": "hibernates"}


def read(action: str, rebalance: str) -> SpotNotice | None:
    """What counts of the two documents of the metadata service, "" where there is none.

    One that cannot be understood counts too: nobody is helped when a warning is lost over a comma.
    """
    if action:
        said = _fields(action)
        return SpotNotice(said.get("action") or "take back", _time(said.get("time", "")))
    if rebalance:
        return SpotNotice(REBALANCE, _time(_fields(rebalance).get("noticeTime", "")))
    return None


def says(notice: SpotNotice) -> str:
    """One sentence for people."""
    if not notice.takes_back:
        return "AWS says that this Spot instance is more likely than before to be taken back."
    when = "" if notice.at is None else f" at {notice.at:%H:%M:%S} UTC"
    return f"AWS {_VERBS.get(notice.action, 'takes back')} this Spot instance{when}."


def refusal(notice: SpotNotice | None, environment: Environment, deployment: Deployment | None) -> OutsideError | None:
    """Why this environment has to wait: two minutes are for what has begun. None where it need not."""
    if notice is None or not notice.takes_back or not _is_new_work(environment, deployment):
        return None
    return OutsideError(
        f"{says(notice)} Nothing new begins before it or its replacement has started.",
        code="host-leaves",
    )


def _is_new_work(environment: Environment, deployment: Deployment | None) -> bool:
    """What runs is looked after until the end, and what is removed or put to sleep takes no time."""
    if environment.wanted is not Wanted.RUNNING:
        return False
    return environment.needs_fetch if deployment is None else deployment.phase is Phase.QUEUED


def _fields(text: str) -> dict[str, str]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in document.items()} if isinstance(document, dict) else {}


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
