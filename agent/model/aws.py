"""Credentials of Amazon's, on their way from the agent's role to Traefik; they print as nothing."""

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
