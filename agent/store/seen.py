"""What was taken already and must not be a second time: signed requests, announcements of AWS."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.store.columns import from_time
from agent.store.database import Database


class Seen:
    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, digest: str, now: datetime, keep_s: float = 600) -> bool:
        """True the first time, False when `digest` was there already. Forgotten after `keep_s` seconds.

        Not flushed: a signature is good for five minutes, hardly longer than a host takes to come back from a
        power cut, and this flush was a third of all in a burst of requests.
        """
        with self._database.transaction(durable=False):
            self._database.write("DELETE FROM seen WHERE until <= ?", (from_time(now),))
            rows = self._database.write(
                "INSERT INTO seen (digest, until) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING 1",
                (digest, from_time(now + timedelta(seconds=keep_s))),
            )
        return bool(rows)
