"""History: one row per attempt, at most one of an environment unfinished, none changed once finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypedDict, Unpack

from agent.errors import CancelledError, StateError
from agent.logs import Redactor
from agent.model.deployment import Commit, Deployment, Failure, Phase
from agent.model.environment import Environment
from agent.model.names import Revision, Slug
from agent.store.columns import (
    from_commit,
    from_failure,
    from_json,
    from_time,
    to_commit,
    to_failure,
    to_optional_time,
    to_revision,
    to_strings,
    to_time,
)
from agent.store.database import AT_ONCE, Database, DuplicateError, Row, Value

_TOLD = ("cause", "commit", "done", "notices", "failure")


class Changes(TypedDict, total=False):
    """What may change about a deployment while it goes on; the end is `finish`."""

    phase: Phase
    cause: str
    revision: Revision | None
    commit: Commit | None
    url: str
    done: tuple[str, ...]
    notices: tuple[str, ...]
    failure: Failure | None  # the verdict, while the last good version is brought back
    timings: Mapping[str, float]


class Deployments:
    """What they tell (`_TOLD`) is kept without secrets: builds and containers print them."""

    def __init__(self, database: Database, redactor: Callable[[], Redactor]) -> None:
        self._database = database
        self._redactor = redactor
        self._told: list[Callable[[Deployment], None]] = []

    def tell(self, told: Callable[[Deployment], None]) -> None:
        """Have `told` hear of each end from now on, in the thread that writes it: quick, and never failing.

        Where that is part of a larger transaction which is undone, it was told for nothing.
        """
        self._told.append(told)

    def begin(self, environment: Environment, *, cause: str, caller: str, now: datetime) -> Deployment:
        """A new one, queued. StateError "deployment-unfinished" while the environment has another one going."""
        try:
            [row] = self._database.write(
                "INSERT INTO deployments (slug, project, branch, cause, caller, phase, started_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    str(environment.slug),
                    environment.project,
                    environment.branch,
                    self._redactor()(cause),
                    caller,
                    str(Phase.QUEUED),
                    from_time(now),
                ),
            )
        except DuplicateError as error:
            raise StateError(
                f"{environment.slug} has a deployment that is not finished.", code="deployment-unfinished"
            ) from error
        return _deployment(row)

    def get(self, deployment_id: int) -> Deployment | None:
        return self._one("WHERE id = ?", (deployment_id,))

    def current(self, slug: Slug) -> Deployment | None:
        """The unfinished one."""
        return self._one("WHERE slug = ? AND finished_at IS NULL", (slug,))

    def last(self, slug: Slug) -> Deployment | None:
        """The newest, finished or not; of an earlier environment with this slug when it is new."""
        return self._one("WHERE slug = ? ORDER BY id DESC LIMIT 1", (slug,))

    def history(self, slug: Slug, limit: int = 20) -> tuple[Deployment, ...]:
        """The newest first."""
        return self._many("WHERE slug = ? ORDER BY id DESC LIMIT ?", (slug, limit))

    def newest(self, limit: int) -> frozenset[int]:
        """The ids of the newest `limit` of each environment that there is."""
        rows = self._database.read(
            "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY slug ORDER BY id DESC) AS place"
            " FROM deployments WHERE slug IN (SELECT slug FROM environments)) WHERE place <= ?",
            (limit,),
        )
        return frozenset(row[0] for row in rows)

    def prune(self, before: datetime, *, keep: int, most: int) -> int:
        """Remove some that ended before, or are beyond the newest `most` of all; never one that goes on, nor the newest
        `keep` of an environment that there is. How many went: again until none do, as nobody else can write meanwhile.
        """
        rows = self._database.write(
            "DELETE FROM deployments WHERE id IN (SELECT id FROM ("
            " SELECT id, finished_at, slug IN (SELECT slug FROM environments) AS lives,"
            " row_number() OVER (PARTITION BY slug ORDER BY id DESC) AS place FROM deployments)"
            " WHERE finished_at IS NOT NULL AND NOT (lives AND place <= ?1)"
            " AND (finished_at < ?2 OR id <= (SELECT max(id) FROM deployments) - ?3) ORDER BY id LIMIT ?4) RETURNING 1",
            (keep, from_time(before), most, AT_ONCE),
        )
        return len(rows)

    def update(self, deployment_id: int, **changes: Unpack[Changes]) -> Deployment:
        """Change some fields of one that goes on; how it is now.

        CancelledError when it was superseded meanwhile, StateError when it is finished otherwise.
        """
        unknown = changes.keys() - Changes.__annotations__.keys()
        if unknown or not changes:
            raise TypeError(f"cannot change {', '.join(sorted(unknown)) or 'nothing'} of a deployment")
        if changes.get("phase", Phase.QUEUED).final:
            raise ValueError("a final phase is written by finish(), together with the time")
        return self._change(deployment_id, {name: _column(value) for name, value in changes.items()})

    def finish(
        self,
        deployment_id: int,
        phase: Phase,
        *,
        now: datetime,
        url: str = "",
        failure: Failure | None = None,
    ) -> Deployment:
        """Write the end, once. Raises as `update` does; ValueError for a phase that is not final."""
        if not phase.final:
            raise ValueError(f"{phase} is not the end of a deployment")
        columns: dict[str, Value] = {
            "phase": str(phase),
            "finished_at": from_time(now),
            "failure": from_failure(failure),
        }
        if url:
            columns["url"] = url
        finished = self._change(deployment_id, columns)
        for told in self._told:
            told(finished)
        return finished

    def _change(self, deployment_id: int, columns: dict[str, Value]) -> Deployment:
        redact = self._redactor()
        columns |= {name: redact(text) for name in _TOLD if isinstance(text := columns.get(name), str)}
        assignments = ", ".join(f'"{name}" = ?' for name in columns)
        rows = self._database.write(
            f"UPDATE deployments SET {assignments} WHERE id = ? AND finished_at IS NULL RETURNING *",  # noqa: S608
            [*columns.values(), deployment_id],
        )
        if rows:
            return _deployment(rows[0])
        found = self.get(deployment_id)
        if found is not None and found.phase is Phase.SUPERSEDED:
            raise CancelledError(f"Deployment {deployment_id} of {found.slug} was superseded.")
        raise StateError(
            f"Deployment {deployment_id} {'is finished and never changes' if found else 'does not exist'}.",
            code="deployment-finished" if found else "deployment-unknown",
        )

    def _one(self, where: str, values: tuple[Value, ...]) -> Deployment | None:
        found = self._many(where, values)
        return found[0] if found else None

    def _many(self, where: str, values: tuple[Value, ...] = ()) -> tuple[Deployment, ...]:
        rows = self._database.read(f"SELECT * FROM deployments {where}", values)  # noqa: S608 - constants above
        return tuple(_deployment(row) for row in rows)


def _column(value: object) -> Value:
    if isinstance(value, Commit):
        return from_commit(value)
    if isinstance(value, Failure):
        return from_failure(value)
    if isinstance(value, (tuple, Mapping)):
        return from_json(value)
    return None if value is None else str(value)


def _deployment(row: Row) -> Deployment:
    columns = dict(row)
    return Deployment(
        **{
            **columns,
            "slug": Slug(columns["slug"]),
            "phase": Phase(columns["phase"]),
            "started_at": to_time(columns["started_at"]),
            "revision": to_revision(columns["revision"]),
            "commit": to_commit(columns["commit"]),
            "finished_at": to_optional_time(columns["finished_at"]),
            "done": to_strings(columns["done"]),
            "notices": to_strings(columns["notices"]),
            "failure": to_failure(columns["failure"]),
            "timings": json.loads(columns["timings"]),
        }
    )
