"""The tables, as numbered migrations: number N brings a database from version N-1 to N.

A migration that was ever released never changes; the next change is the next number. What must
never be false is a constraint here and not only a check in the code.
"""

from __future__ import annotations

_FIRST = (
    """
    CREATE TABLE environments (
        slug TEXT PRIMARY KEY,
        project TEXT NOT NULL,
        branch TEXT NOT NULL,
        wanted TEXT NOT NULL CHECK (wanted IN ('running', 'asleep', 'absent')),
        block INTEGER NOT NULL UNIQUE CHECK (block >= 0),
        created_at TEXT NOT NULL,
        created_by TEXT NOT NULL,
        pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1)),
        salt INTEGER NOT NULL DEFAULT 0,
        request INTEGER NOT NULL DEFAULT 0,
        fetched INTEGER NOT NULL DEFAULT 0,
        revision TEXT,
        deployed_revision TEXT,
        deployed_salt INTEGER NOT NULL DEFAULT 0,
        failed_revision TEXT,
        failed_config TEXT NOT NULL DEFAULT '',
        missing INTEGER NOT NULL DEFAULT 0,
        repairs INTEGER NOT NULL DEFAULT 0,
        repaired_at TEXT,
        UNIQUE (project, branch)
    ) STRICT
    """,
    # Not tied to `environments`: what happened outlives the environment it happened to.
    """
    CREATE TABLE deployments (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        slug TEXT NOT NULL,
        project TEXT NOT NULL,
        branch TEXT NOT NULL,
        cause TEXT NOT NULL,
        caller TEXT NOT NULL,
        phase TEXT NOT NULL,
        started_at TEXT NOT NULL,
        revision TEXT,
        "commit" TEXT,
        finished_at TEXT,
        url TEXT NOT NULL DEFAULT '',
        done TEXT NOT NULL DEFAULT '[]',
        notices TEXT NOT NULL DEFAULT '[]',
        failure TEXT,
        timings TEXT NOT NULL DEFAULT '{}',
        CHECK ((finished_at IS NOT NULL) = (phase IN ('ready', 'failed', 'superseded')))
    ) STRICT
    """,
    "CREATE INDEX deployments_by_slug ON deployments (slug, id)",
    "CREATE UNIQUE INDEX one_unfinished_deployment ON deployments (slug) WHERE finished_at IS NULL",
    """
    CREATE TRIGGER a_finished_deployment_never_changes BEFORE UPDATE ON deployments
    WHEN OLD.finished_at IS NOT NULL BEGIN SELECT RAISE (ABORT, 'a finished deployment never changes'); END
    """,
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        slug TEXT NOT NULL,
        caller TEXT NOT NULL,
        text TEXT NOT NULL,
        data TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX events_by_slug ON events (slug, id)",
    # Not tied to `environments`: the end of a destroy is told after the row is gone.
    """
    CREATE TABLE notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        slug TEXT NOT NULL,
        team TEXT NOT NULL,
        channel TEXT NOT NULL,
        user TEXT NOT NULL,
        response_url TEXT NOT NULL,
        thread TEXT NOT NULL,
        request INTEGER NOT NULL,
        kind TEXT NOT NULL,
        opened_at TEXT NOT NULL,
        message_ts TEXT NOT NULL DEFAULT '',
        uses INTEGER NOT NULL DEFAULT 0
    ) STRICT
    """,
    "CREATE INDEX notices_by_slug ON notices (slug, id)",
    # Where an environment was asked for last: later failures of its pushes are told in that thread.
    """
    CREATE TABLE threads (
        slug TEXT PRIMARY KEY,
        channel TEXT NOT NULL,
        message_ts TEXT NOT NULL,
        told INTEGER NOT NULL,
        well INTEGER NOT NULL CHECK (well IN (0, 1))
    ) STRICT
    """,
    # AUTOINCREMENT: the id of a replaced message must never be given to its successor.
    """
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        payload TEXT NOT NULL,
        put_at TEXT NOT NULL,
        due_at TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    "CREATE INDEX outbox_by_due ON outbox (due_at) WHERE due_at IS NOT NULL",
    "CREATE TABLE listings (project TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT",
    """
    CREATE TABLE branches (
        project TEXT NOT NULL REFERENCES listings (project) ON DELETE CASCADE,
        branch TEXT NOT NULL,
        revision TEXT NOT NULL,
        PRIMARY KEY (project, branch)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE TABLE seen (digest TEXT PRIMARY KEY, until TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX seen_by_until ON seen (until)",
)

# Which revision's files a container holds, where that is not what its image was built from.
_SECOND = (
    """
    CREATE TABLE synced (
        container TEXT PRIMARY KEY,
        slug TEXT NOT NULL,
        revision TEXT NOT NULL,
        at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX synced_by_slug ON synced (slug)",
)

# What people made of a branch in its worktree.
_THIRD = (
    "ALTER TABLE environments ADD COLUMN edited TEXT",
    "ALTER TABLE environments ADD COLUMN edited_by TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE environments ADD COLUMN edited_files INTEGER NOT NULL DEFAULT 0",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND, _THIRD)
