"""What people want: one row per environment, its slug and its block of addresses unique by constraint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import TypedDict, Unpack

from agent.errors import RequestError, StateError
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.store.columns import from_time, to_optional_time, to_revision, to_time
from agent.store.database import Database, DuplicateError, Row, Value

_COLUMNS = tuple(field.name for field in fields(Environment))


class Changes(TypedDict, total=False):
    """What may change about an environment after it was made."""

    wanted: Wanted
    pinned: bool
    salt: int
    request: int
    fetched: int
    revision: Revision | None
    deployed_revision: Revision | None
    deployed_salt: int
    failed_revision: Revision | None
    failed_config: str
    missing: int
    repairs: int
    repaired_at: datetime | None
    edited: Revision | None
    edited_by: str
    edited_files: int


class Environments:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, *, project: str, branch: str, slugs: Iterable[Slug], caller: str, now: datetime, blocks: int
    ) -> Environment:
        """The environment of this branch: the one there is, else a new one that is wanted running.

        It gets the first of `slugs` that is free and the lowest free block below `blocks`.
        RequestError "no-free-block" or "no-free-slug" when there is none.
        """
        with self._database.transaction():
            existing = self.find(branch, project=project)
            if existing:
                return existing[0]
            environment = Environment(
                slug=self._free_slug(branch, slugs),
                project=project,
                branch=branch,
                wanted=Wanted.RUNNING,
                block=self._free_block(blocks),
                created_at=now,
                created_by=caller,
            )
            return self.restore(environment)

    def restore(self, environment: Environment) -> Environment:
        """Write the row exactly as given. RequestError when its slug, block or branch is taken."""
        marks = ", ".join("?" for _ in _COLUMNS)
        columns = [_column(getattr(environment, name)) for name in _COLUMNS]
        try:
            self._database.write(f"INSERT INTO environments ({', '.join(_COLUMNS)}) VALUES ({marks})", columns)  # noqa: S608
        except DuplicateError as error:
            raise RequestError(
                f"An environment with the slug, addresses or branch of {environment.slug} exists already.",
                hint="Destroy that one first.",
                code="environment-exists",
                http_status=409,
            ) from error
        return environment

    def get(self, slug: Slug) -> Environment | None:
        rows = self._database.read("SELECT * FROM environments WHERE slug = ?", (slug,))
        return _environment(rows[0]) if rows else None

    def find(self, branch: str, project: str | None = None) -> tuple[Environment, ...]:
        """The environments of exactly this branch, in one project or in all of them."""
        rows = self._database.read(
            "SELECT * FROM environments WHERE branch = ?1 AND (?2 IS NULL OR project = ?2) ORDER BY project",
            (branch, project),
        )
        return tuple(_environment(row) for row in rows)

    def all(self) -> tuple[Environment, ...]:
        return tuple(_environment(row) for row in self._database.read("SELECT * FROM environments ORDER BY slug"))

    def update(self, slug: Slug, **changes: Unpack[Changes]) -> Environment:
        """Change some fields; the row as it is now. StateError "environment-gone" when there is none."""
        return self._change(slug, [], changes)

    def ask(self, slug: Slug, **changes: Unpack[Changes]) -> Environment:
        """The same, and somebody wants the remote to be looked at: one more request that a fetch must answer."""
        return self._change(slug, ["request = request + 1"], changes)

    def delete(self, slug: Slug) -> None:
        """Forget it; its slug and its block are free again. Gone already is fine."""
        self._database.write("DELETE FROM environments WHERE slug = ?", (slug,))

    def _change(self, slug: Slug, assignments: Sequence[str], changes: Changes) -> Environment:
        unknown = changes.keys() - Changes.__annotations__.keys()
        if unknown or not (assignments or changes):
            raise TypeError(f"cannot change {', '.join(sorted(unknown)) or 'nothing'} of an environment")
        rows = self._database.write(
            f"UPDATE environments SET {', '.join([*assignments, *(f'{name} = ?' for name in changes)])}"  # noqa: S608
            " WHERE slug = ? RETURNING *",
            [*map(_column, changes.values()), slug],
        )
        if not rows:
            raise StateError(f"There is no environment {slug} any more.", code="environment-gone")
        return _environment(rows[0])

    def _free_slug(self, branch: str, slugs: Iterable[Slug]) -> Slug:
        for slug in slugs:
            if self.get(slug) is None:
                return slug
        raise RequestError(
            f"Every name that could be made of the branch {branch} is taken.",
            hint="Destroy one of the environments with a similar name.",
            code="no-free-slug",
            http_status=409,
        )

    def _free_block(self, blocks: int) -> int:
        taken = {row[0] for row in self._database.read("SELECT block FROM environments")}
        for block in range(blocks):
            if block not in taken:
                return block
        raise RequestError(
            f"All {blocks} blocks of addresses are in use.",
            hint="Destroy an environment that nobody needs, or ask the operator for a larger `docker.address_pool`.",
            code="no-free-block",
            http_status=409,
        )


def _column(value: object) -> Value:
    if isinstance(value, datetime):
        return from_time(value)
    if isinstance(value, int):  # a bool too
        return int(value)
    return None if value is None else str(value)


def _environment(row: Row) -> Environment:
    columns = dict(row)
    return Environment(
        **{
            **columns,
            "slug": Slug(columns["slug"]),
            "wanted": Wanted(columns["wanted"]),
            "created_at": to_time(columns["created_at"]),
            "pinned": bool(columns["pinned"]),
            "revision": to_revision(columns["revision"]),
            "deployed_revision": to_revision(columns["deployed_revision"]),
            "failed_revision": to_revision(columns["failed_revision"]),
            "repaired_at": to_optional_time(columns["repaired_at"]),
            "edited": to_revision(columns["edited"]),
        }
    )
