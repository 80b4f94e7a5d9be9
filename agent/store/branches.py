"""The last complete listing of each project's branches: for suggestions only, never to decide what goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agent.model.names import Revision
from agent.store.columns import from_time, to_time
from agent.store.database import Database


class Branches:
    def __init__(self, database: Database) -> None:
        self._database = database

    def replace(self, project: str, listing: Mapping[str, Revision], now: datetime) -> None:
        """Keep this complete listing instead of the one before."""
        with self._database.transaction():
            unchanged = self.of(project) == listing
            self._database.write(
                "INSERT INTO listings (project, at) VALUES (?, ?) ON CONFLICT (project) DO UPDATE SET at = excluded.at",
                (project, from_time(now)),
            )
            if unchanged:  # the usual case, once a minute and project: nothing to write
                return
            self._database.write("DELETE FROM branches WHERE project = ?", (project,))
            self._database.write_many(
                "INSERT INTO branches (project, branch, revision) VALUES (?, ?, ?)",
                ((project, branch, str(revision)) for branch, revision in listing.items()),
            )

    def of(self, project: str) -> dict[str, Revision]:
        """Branch -> its head; empty when the project was never listed."""
        rows = self._database.read(
            "SELECT branch, revision FROM branches WHERE project = ? ORDER BY branch", (project,)
        )
        return {row["branch"]: Revision(row["revision"]) for row in rows}

    def at(self, project: str) -> datetime | None:
        """When the project was listed last; None when never."""
        rows = self._database.read("SELECT at FROM listings WHERE project = ?", (project,))
        return to_time(rows[0]["at"]) if rows else None
