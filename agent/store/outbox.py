"""Messages on their way out, kept until the other side has them; of one key only the latest ever leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.store.columns import from_json, from_time, to_optional_time, to_time
from agent.store.database import Database, Row


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message. `put_at` is when this text was written, `error` why the last attempt failed."""

    id: int
    key: str
    payload: Mapping[str, Any]
    put_at: datetime
    due_at: datetime | None  # None: given up
    attempts: int
    error: str


class Outbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, key: str, payload: Mapping[str, Any], *, now: datetime) -> int:
        """Have `payload` sent, instead of what waits under the same key. Its id.

        A replaced message keeps its place in time, so that a wait the other side asked for still
        holds. It gets a new id: the sender may be busy with the old text, and its `sent(old id)`
        must not take the new text away.
        """
        with self._database.transaction():
            old = self._database.write("DELETE FROM outbox WHERE key = ? RETURNING due_at, attempts", (key,))
            waiting = bool(old) and old[0]["due_at"] is not None
            [row] = self._database.write(
                "INSERT INTO outbox (key, payload, put_at, due_at, attempts) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (
                    key,
                    from_json(payload),
                    from_time(now),
                    old[0]["due_at"] if waiting else from_time(now),
                    old[0]["attempts"] if waiting else 0,
                ),
            )
        return int(row[0])

    def due(self, now: datetime, limit: int = 50) -> tuple[Outgoing, ...]:
        """What may be sent now, the longest waiting first."""
        rows = self._database.read(
            "SELECT * FROM outbox WHERE due_at <= ? ORDER BY due_at, id LIMIT ?", (from_time(now), limit)
        )
        return tuple(_outgoing(row) for row in rows)

    def waiting(self) -> int:
        """How many messages still have to leave."""
        [row] = self._database.read("SELECT count(*) FROM outbox WHERE due_at IS NOT NULL")
        return int(row[0])

    def next_at(self) -> datetime | None:
        """When the next message is due; None when none waits."""
        [row] = self._database.read("SELECT min(due_at) FROM outbox")
        return to_optional_time(row[0])

    def get(self, key: str) -> Outgoing | None:
        """What waits, or was given up, under this key."""
        rows = self._database.read("SELECT * FROM outbox WHERE key = ?", (key,))
        return _outgoing(rows[0]) if rows else None

    def sent(self, message_id: int) -> None:
        self._database.write("DELETE FROM outbox WHERE id = ?", (message_id,))

    def retry(self, message_id: int, *, at: datetime, error: str) -> None:
        """Not yet: it failed with `error`, and is due again at `at`."""
        self._database.write(
            "UPDATE outbox SET due_at = ?, attempts = attempts + 1, error = ? WHERE id = ?",
            (from_time(at), error, message_id),
        )

    def defer(self, outgoing_id: int, *, at: datetime) -> None:
        """Not before `at`; it was not tried yet."""
        self._database.write("UPDATE outbox SET due_at = ? WHERE id = ?", (from_time(at), outgoing_id))

    def drop(self, message_id: int, *, error: str = "") -> None:
        """Give up. The row stays and says why, until something new is put under its key."""
        self._database.write(
            "UPDATE outbox SET due_at = NULL, error = CASE ?1 WHEN '' THEN error ELSE ?1 END WHERE id = ?2",
            (error, message_id),
        )

    def prune(self, before: datetime) -> int:
        """Remove those that were given up and are older; how many went."""
        return len(
            self._database.write(
                "DELETE FROM outbox WHERE due_at IS NULL AND put_at < ? RETURNING 1", (from_time(before),)
            )
        )


def _outgoing(row: Row) -> Outgoing:
    return Outgoing(
        id=row["id"],
        key=row["key"],
        payload=json.loads(row["payload"]),
        put_at=to_time(row["put_at"]),
        due_at=to_optional_time(row["due_at"]),
        attempts=row["attempts"],
        error=row["error"],
    )
