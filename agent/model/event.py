"""Event: one line of the audit trail: who asked what, or what the agent did by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Never changes. `kind` is a stable word for programs, `text` a sentence for people."""

    id: int
    at: datetime
    kind: str
    slug: str  # "" when it is about no environment
    caller: str  # "slack:U012", "unix:anna", "unix:staging/anna" by a key of `ssh-gate`, "push", "agent"
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
