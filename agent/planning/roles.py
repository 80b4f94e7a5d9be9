"""Roles of projects: which one an environment has, as whom, and when its credentials are due to be replaced."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.config import Settings
from agent.model.aws import LentKeys, RoleWish
from agent.model.environment import Environment, Wanted

# Amazon's libraries come again ten to fifteen minutes before the end. What they get then must be new, also when STS
# did not answer for a while: half of an hour.
_RENEWED_BEFORE = timedelta(minutes=30)
_LONGEST_SESSION = 64


def wish(environment: Environment, settings: Settings) -> RoleWish | None:
    """The role of the environment's project, for this environment; None without one.

    The tags let one role give each environment what is its own (`${aws:PrincipalTag/butai:environment}`). A session's
    name is what CloudTrail shows: 2 to 64 characters, so of the instance's name what a long slug leaves room for.
    """
    project = settings.projects.get(environment.project)
    if project is None or not project.role or environment.wanted is Wanted.ABSENT:
        return None
    return RoleWish(
        arn=project.role,
        region=project.region,
        session=f"{settings.instance}.{environment.slug}"[-_LONGEST_SESSION:],
        tags=(("butai:project", environment.project), ("butai:environment", str(environment.slug))),
    )


def is_due(lent: LentKeys, now: datetime) -> bool:
    """Whether to replace these keys."""
    return lent.expires_at - now <= _RENEWED_BEFORE
