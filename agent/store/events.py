"""The audit trail: appended to, read, never changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from agent.logs import Redactor
from agent.model.event import Event
from agent.store.columns import from_json, from_time, to_time
from agent.store.database import AT_ONCE, Database

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Events:
    def __init__(self, database: Database, redactor: Callable[[], Redactor]) -> None:
        self._database = database
        self._redactor = redactor

    def add(
        self, kind: str, *, slug: str = "", caller: str, text: str, now: datetime, data: Mapping[str, Any] = _NOTHING
    ) -> int:
        """Its id, larger than that of every event before. What it tells is kept without secrets."""
        redact = self._redactor()
        [row] = self._database.write(
            "INSERT INTO events (at, kind, slug, caller, text, data) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            (from_time(now), kind, str(slug), caller, redact(text), from_json(redact.inside(data))),
        )
        return int(row[0])

    def prune(self, before: datetime, *, keep: int, most: int) -> int:
        """Remove some of those that are older, or beyond the newest `most`; never the newest `keep`. How many went:
        again until none do, as nobody else can write meanwhile."""
        rows = self._database.write(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= (SELECT max(id) FROM events) - ?1"
            " AND (at < ?2 OR id <= (SELECT max(id) FROM events) - ?3) ORDER BY id LIMIT ?4) RETURNING 1",
            (keep, from_time(before), most, AT_ONCE),
        )
        return len(rows)

    def list(self, *, after: int = 0, slug: str = "", limit: int = 100) -> tuple[Event, ...]:
        """The first `limit` events after the id `after`; without one, the newest `limit`. In their order."""
        order = "ASC" if after else "DESC"
        rows = self._database.read(
            f"SELECT * FROM events WHERE id > ?1 AND (?2 = '' OR slug = ?2) ORDER BY id {order} LIMIT ?3",  # noqa: S608
            (after, str(slug), limit),
        )
        events = [
            Event(
                id=row["id"],
                at=to_time(row["at"]),
                kind=row["kind"],
                slug=row["slug"],
                caller=row["caller"],
                text=row["text"],
                data=json.loads(row["data"]),
            )
            for row in rows
        ]
        return tuple(events if after else reversed(events))
