"""Edit: what somebody changed in the worktree of an environment, kept as a commit like any other revision."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.model.names import Revision

KEPT = "edits that nobody had noticed were kept"  # the cause of a deployment that only tells of them


@dataclass(frozen=True, slots=True)
class Edit:
    """One saved state of a worktree. Nobody removes it: a push overwrites the files, not this."""

    id: str  # the time at which it was kept, as its ref is named: "20261123T120000.123456Z"
    revision: Revision
    base: Revision  # the branch's revision that was edited
    user: str  # who owns the file that was changed last
    at: datetime
    files: tuple[str, ...]  # every path that differs from the base


def described(files: Sequence[str]) -> str:
    """ "app.py", "app.py and 2 more"; the name without its folders, since it stands in one line with much else."""
    first = printable(posixpath.basename(files[0])) if files else "nothing"
    return first if len(files) <= 1 else f"{first} and {len(files) - 1} more"


def printable(path: str) -> str:
    """Without surrogates: a name that is no UTF-8 is shown as nearly as can be."""
    return path.encode(errors="surrogateescape").decode(errors="replace")
