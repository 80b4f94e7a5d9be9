"""The one home of sqlite3: one connection per thread, transactions, migrations, and what its errors mean.

A write that returned survives a power cut (`synchronous=FULL`: with NORMAL, WAL may lose the last
commits, https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agent.errors import AgentError, OutsideError, StateError
from agent.store.schema import MIGRATIONS

Value = str | int | float | bytes | None
Row = sqlite3.Row

AT_ONCE = 1_000  # rows that go in one transaction, where there may be many more: others write too

_BUSY_TIMEOUT_S = 10.0
_BUSY_AGAIN_S = 0.01
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OUTSIDE = {
    sqlite3.SQLITE_BUSY: "another process holds its lock",
    sqlite3.SQLITE_LOCKED: "another process holds its lock",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DuplicateError(Exception):
    """A constraint of the schema refused the row; the repository that wrote it knows what that means."""


class _Connection(sqlite3.Connection):
    """A connection that can be referred to weakly, so that those of ended threads are closed and forgotten."""


class Database:
    """One database file; `open` comes first. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pause = threading.Event()  # never set

    def open(self) -> None:
        """Make the file when absent, check it, migrate it. StateError when damaged or newer than this code."""
        with self._translated():
            # Created here for its mode: SQLite gives its -wal and -shm files the same one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            [verdict, *_] = self._run("PRAGMA quick_check(1)")
        if verdict[0] != "ok":
            raise self._damaged(str(verdict[0]))
        self._migrate()

    def close(self) -> None:
        """Close the connections of all threads; none of them may be in use."""
        with self._lock:
            for connection in list(self._connections):
                connection.close()
            self._connections.clear()
        self._local = threading.local()

    def copy_to(self, path: Path) -> None:
        """Write a whole, checked copy of now to `path`, which only its owner may read; there is never a part of one.

        By SQLite's online backup in one go: writers go on meanwhile, into the log. OutsideError when it cannot be
        written; what was at `path` stays then.
        """
        unfinished = path.with_name(f".{path.name}.new")
        try:
            unfinished.unlink(missing_ok=True)  # of an agent that was killed, or laid ready by somebody who would read
            os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with self._translated():
                copy = sqlite3.connect(unfinished, isolation_level=None)
            try:
                self._fill(copy, unfinished)
            finally:
                copy.close()
            _flush(unfinished)
            unfinished.replace(path)
            _flush(path.parent)
        except OSError as error:
            raise OutsideError(
                f"No copy of the database can be written to {path}: {error.strerror or error}.",
                hint="Check that its folder exists, has room and may be written.",
                code="backup-failed",
            ) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _fill(self, copy: sqlite3.Connection, place: Path) -> None:
        try:
            self._connection().backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
            [verdict] = copy.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            raise OutsideError(
                f"The database {self._path} was not copied to {place.parent}: {error}.",
                hint="Check the free space there; the agent tries again by itself.",
                code="backup-failed",
            ) from error
        if verdict != "ok":
            raise self._damaged(str(verdict))

    def checkpoint(self) -> None:
        """Bring the log into the file, so that a copy of the file alone is whole. What is being read stays behind."""
        with self._turn():
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    def read(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """The rows of one query."""
        return self._run(sql, values)

    def write(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Execute one statement that changes something; the rows of its RETURNING."""
        with self.transaction():
            return self._run(sql, values)

    def write_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        with self.transaction(), self._translated():
            self._connection().executemany(sql, rows)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing. One inside another, in the same thread, is part of the outer one.

        Without `durable` it survives the end of this process, but not a power cut just after it: nothing is flushed.
        """
        if self._connection().in_transaction:
            yield
            return
        with self._turn(), self._flushing(durable):
            # IMMEDIATE: a reader that becomes a writer halfway fails at once, whatever the busy timeout.
            self._run("BEGIN IMMEDIATE")
            try:
                yield
                self._run("COMMIT")
            finally:
                if self._connection().in_transaction:  # left by an exception, a failed COMMIT included
                    self._run("ROLLBACK")

    @contextmanager
    def _flushing(self, durable: bool) -> Iterator[None]:
        if durable:
            yield
            return
        self._run("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._run("PRAGMA synchronous = FULL")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Our own threads queue here: SQLite's way to wait is to sleep and try again, and under load some never win.

        Measured with 200 writes a second on a busy disk: at most 0.3 s instead of 9 s.
        """
        if not self._writing.acquire(timeout=_BUSY_TIMEOUT_S):
            raise self._unavailable("another thread writes for too long")
        try:
            yield
        finally:
            self._writing.release()

    def _run(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        try:  # not `_translated`: a context manager of Python takes longer than a small statement does
            return self._connection().execute(sql, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._meaning(error) from error

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._translated():
                connection = self._local.connection = self._connect()
        return connection

    def _connect(self) -> _Connection:
        # isolation_level None: this module says BEGIN. The threads check is off only for `close`.
        connection = sqlite3.connect(
            self._path,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        connection.row_factory = sqlite3.Row
        self._use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        with self._lock:
            self._connections.add(connection)
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Where another connection is about to open or to close the log, SQLite says "busy" at once, whatever the
        timeout (https://www.sqlite.org/wal.html, "Sometimes Queries Return SQLITE_BUSY In WAL Mode")."""
        until = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                self._pause.wait(_BUSY_AGAIN_S)
            else:
                return

    def _migrate(self) -> None:
        version = self._version()
        if version > len(MIGRATIONS):
            raise StateError(
                f"The database {self._path} was written by a newer version of the agent"
                f" (schema {version}, this one knows {len(MIGRATIONS)}).",
                hint="Install that version again, or restore a copy of the database made before it.",
                code="database-newer",
            )
        for number in range(version + 1, len(MIGRATIONS) + 1):
            with self.transaction():
                if self._version() >= number:  # another process was faster
                    continue
                for statement in MIGRATIONS[number - 1]:
                    self._run(statement)
                self._run(f"PRAGMA user_version = {number}")

    def _version(self) -> int:
        [row] = self._run("PRAGMA user_version")
        return int(row[0])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._meaning(error) from error

    def _meaning(self, error: sqlite3.Error | OSError) -> Exception:
        if isinstance(error, OSError):
            return OutsideError(
                f"The database {self._path} cannot be opened: {error.strerror}.",
                hint="Check that the state directory exists and belongs to the agent's user.",
                code="database-unavailable",
            )
        primary = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the rest are details of it
        if primary == sqlite3.SQLITE_CONSTRAINT:
            return DuplicateError(str(error))
        if primary in _DAMAGED:
            return self._damaged(str(error))
        if primary in _OUTSIDE:
            return self._unavailable(_OUTSIDE[primary])
        return StateError(f"The database {self._path} refused a statement: {error}.", code="database-broken")

    def _unavailable(self, reason: str) -> AgentError:
        return OutsideError(
            f"The database {self._path} cannot be used: {reason}.",
            hint="Free some space or end the other process; the agent tries again by itself.",
            code="database-unavailable",
        )

    def _damaged(self, detail: str) -> AgentError:
        return StateError(
            f"The database {self._path} is damaged: {detail}.",
            hint="Move it away and run `butai rebuild-database`: it reads the environments back from Docker.",
            code="database-damaged",
        )
