"""Where in Slack each environment was asked for last, and which of its deployments was told there."""

from __future__ import annotations

from dataclasses import dataclass

from agent.model.names import Slug
from agent.store.database import Database, Row


@dataclass(frozen=True, slots=True)
class Thread:
    """`told` is the id of the last deployment whose end was told, `well` whether that one went well."""

    slug: Slug
    channel: str
    message_ts: str
    told: int
    well: bool


class Threads:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, thread: Thread) -> None:
        """Keep this one instead of what was kept for the same environment."""
        self._database.write(
            "INSERT INTO threads (slug, channel, message_ts, told, well) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (slug) DO UPDATE SET channel = excluded.channel, message_ts = excluded.message_ts,"
            " told = excluded.told, well = excluded.well",
            (str(thread.slug), thread.channel, thread.message_ts, thread.told, int(thread.well)),
        )

    def get(self, slug: Slug) -> Thread | None:
        rows = self._database.read("SELECT * FROM threads WHERE slug = ?", (str(slug),))
        return _thread(rows[0]) if rows else None

    def all(self) -> tuple[Thread, ...]:
        return tuple(_thread(row) for row in self._database.read("SELECT * FROM threads ORDER BY slug"))

    def forget(self, slug: Slug) -> None:
        self._database.write("DELETE FROM threads WHERE slug = ?", (str(slug),))


def _thread(row: Row) -> Thread:
    return Thread(
        slug=Slug(row["slug"]),
        channel=row["channel"],
        message_ts=row["message_ts"],
        told=row["told"],
        well=bool(row["well"]),
    )
