"""Who still waits to be told in Slack, and what was sent to them so far."""

from __future__ import annotations

from datetime import datetime

from agent.model.names import Slug
from agent.model.notice import Notice, OpenNotice
from agent.store.columns import from_time, to_time
from agent.store.database import Database, Row


class Notices:
    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, slug: Slug, notice: Notice, *, request: int, kind: str, now: datetime) -> int:
        """Its id. `request` is the environment's counter that the notice waits for."""
        [row] = self._database.write(
            "INSERT INTO notices (slug, team, channel, user, response_url, thread, request, kind, opened_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                str(slug),
                notice.team,
                notice.channel,
                notice.user,
                notice.response_url,
                notice.thread,
                request,
                kind,
                from_time(now),
            ),
        )
        return int(row[0])

    def get(self, notice_id: int) -> OpenNotice | None:
        """None once it is closed."""
        rows = self._database.read("SELECT * FROM notices WHERE id = ?", (notice_id,))
        return _open_notice(rows[0]) if rows else None

    def open_for(self, slug: Slug) -> tuple[OpenNotice, ...]:
        rows = self._database.read("SELECT * FROM notices WHERE slug = ? ORDER BY id", (slug,))
        return tuple(_open_notice(row) for row in rows)

    def ids_for(self, slug: Slug) -> tuple[int, ...]:
        """The ids of `open_for`."""
        return tuple(
            row[0] for row in self._database.read("SELECT id FROM notices WHERE slug = ? ORDER BY id", (slug,))
        )

    def slugs(self) -> tuple[Slug, ...]:
        """Every environment, removed ones too, that somebody still waits to hear of."""
        return tuple(Slug(row["slug"]) for row in self._database.read("SELECT DISTINCT slug FROM notices"))

    def sent(self, notice_id: int, *, message_ts: str, uses: int) -> None:
        """Remember the message that is edited from now on, and how often the response_url was used."""
        self._database.write("UPDATE notices SET message_ts = ?, uses = ? WHERE id = ?", (message_ts, uses, notice_id))

    def close(self, notice_id: int) -> None:
        """The end was told. The row goes, and the response_url with it."""
        self._database.write("DELETE FROM notices WHERE id = ?", (notice_id,))


def _open_notice(row: Row) -> OpenNotice:
    return OpenNotice(
        id=row["id"],
        slug=Slug(row["slug"]),
        notice=Notice(
            team=row["team"],
            channel=row["channel"],
            user=row["user"],
            response_url=row["response_url"],
            thread=row["thread"],
        ),
        request=row["request"],
        kind=row["kind"],
        opened_at=to_time(row["opened_at"]),
        message_ts=row["message_ts"],
        uses=row["uses"],
    )
