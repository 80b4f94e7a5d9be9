"""Which revision's files each container holds that was brought up to date in place (DESIGN 5.8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from agent.model.names import Revision, Slug
from agent.store.columns import from_time, to_time
from agent.store.database import Database

MIXED = Revision("0" * 40)  # of a container that holds files of two revisions


class Synced:
    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self, slug: Slug, containers: Iterable[str], revision: Revision, *, now: datetime) -> None:
        """These containers hold the files of `revision` from now on."""
        self._database.write_many(
            "INSERT INTO synced (container, slug, revision, at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (container) DO UPDATE SET revision = excluded.revision, at = excluded.at",
            [(container, str(slug), str(revision), from_time(now)) for container in containers],
        )

    def begin(self, slug: Slug, containers: Iterable[str], *, now: datetime) -> None:
        """Files are about to be put into these containers: until `mark`, nobody knows what they hold."""
        self.mark(slug, containers, MIXED, now=now)

    def of(self, slug: Slug) -> Mapping[str, Revision]:
        """Container -> revision, `MIXED` after a sync that was cut short; those that hold what their image holds are
        not in it.
        """
        rows = self._database.read("SELECT container, revision FROM synced WHERE slug = ?", (str(slug),))
        return {row["container"]: Revision(row["revision"]) for row in rows}

    def last_at(self, slug: Slug) -> datetime | None:
        """When a container of the environment was synced last."""
        [row] = self._database.read("SELECT max(at) AS at FROM synced WHERE slug = ?", (str(slug),))
        return None if row["at"] is None else to_time(row["at"])

    def forget(self, containers: Iterable[str]) -> None:
        """These containers are gone."""
        self._database.write_many("DELETE FROM synced WHERE container = ?", [(container,) for container in containers])
