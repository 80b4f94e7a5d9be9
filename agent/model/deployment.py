"""Deployment: one attempt to make an environment run one revision; never changes once finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from agent.model.names import Revision, Slug


class Phase(StrEnum):
    """Where a deployment stands; the last three are final."""

    QUEUED = "queued"
    FETCHING = "fetching"
    BUILDING = "building"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    SUPERSEDED = "superseded"

    @property
    def final(self) -> bool:
        return self in (Phase.READY, Phase.FAILED, Phase.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a deployment failed, for people: which service, its last lines, and the next thing to do."""

    code: str
    message: str
    hint: str = ""
    service: str = ""
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """Who wrote the deployed revision and what they said of it."""

    revision: Revision
    author: str
    subject: str
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Deployment:
    """One line of history. `timings` maps a phase or step to its seconds."""

    id: int
    slug: Slug
    project: str
    branch: str
    cause: str  # in words: "asked by anna", "push of 1a2b3c4d5e", "woken by anna"
    caller: str
    phase: Phase
    started_at: datetime
    revision: Revision | None = None
    commit: Commit | None = None
    finished_at: datetime | None = None
    url: str = ""
    done: tuple[str, ...] = ()  # what was done, in words: "built web", "kept db", "replaced worker in place"
    notices: tuple[str, ...] = ()  # what the policy removed or changed, one line each
    failure: Failure | None = None
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """Wall time from request to end, None while it goes on."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()
