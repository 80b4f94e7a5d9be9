"""Environment: the living copy of one branch, and what people want of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent.model.names import Revision, Slug


class Wanted(StrEnum):
    """What a person asked for; the world follows."""

    RUNNING = "running"
    ASLEEP = "asleep"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Environment:
    """One row of wanted state. Nothing here says what runs: that is observed."""

    slug: Slug
    project: str
    branch: str
    wanted: Wanted
    block: int  # index of its block of addresses in the pool; unique on the host
    created_at: datetime
    created_by: str  # a caller, as in events: "slack:U012", "unix:anna", "push"
    pinned: bool = False  # pinned environments do not follow pushes
    salt: int = 0  # counts redeploys: part of the configuration hash, so each makes new containers
    request: int = 0  # counts everything that asked for a look at the remote
    fetched: int = 0  # the `request` that the last fetch answered
    revision: Revision | None = None  # the branch's head as last fetched: what we want to run
    deployed_revision: Revision | None = None  # the last good one: what serves until something better does
    deployed_salt: int = 0  # the `salt` under which it became good
    failed_revision: Revision | None = None  # refused: not tried again until something is asked or pushed
    failed_config: str = ""  # the settings' fingerprint under which it failed
    missing: int = 0  # complete listings in a row without this branch
    repairs: int = 0  # restarts of crashed containers since the last deployment or quiet spell
    repaired_at: datetime | None = None
    edited: Revision | None = None  # what people made of it in its worktree; until a push overwrites it
    edited_by: str = ""  # the Unix user
    edited_files: int = 0

    @property
    def wish(self) -> Revision | None:
        """What we want to run: the branch's head, or what people made of it in the worktree."""
        return self.edited or self.revision

    @property
    def needs_fetch(self) -> bool:
        """Whether somebody asked since the remote was last read."""
        return self.revision is None or self.request > self.fetched

    def target(self, config: str) -> Revision | None:
        """The revision to converge on: the wanted one, or the last good one after it failed under `config`."""
        if self.wish is not None and self.failed_revision == self.wish and self.failed_config == config:
            return self.deployed_revision
        return self.wish
