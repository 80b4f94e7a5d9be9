"""Credentials of Amazon's, on their way from the agent to Traefik and to containers; they print as nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """`session_token` is "" for keys that do not end by themselves."""

    key_id: str
    secret: str = field(repr=False)
    session_token: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class LentKeys:
    """Good until `expires_at`; whoever needs them after that asks again."""

    keys: AwsKeys
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RoleWish:
    """A role that somebody is to have, and by which name and tags its account sees who uses it.

    `policy` (JSON) takes away what it does not name; "" leaves everything that the role may.
    """

    arn: str
    region: str  # whose STS is asked
    session: str
    tags: tuple[tuple[str, str], ...] = ()
    policy: str = ""
    # An hour is as long as the role of an instance may give its rights on ("role chaining"), and every role allows it.
    # https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    duration_s: int = 3_600

    @property
    def name(self) -> str:
        """The last part of the path: what the metadata service calls it."""
        return self.arn.rpartition("/")[2]
