"""How values are written into columns: times as sortable UTC text that people can read, the rest as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.model.deployment import Commit, Failure
from agent.model.names import Revision


def from_time(moment: datetime) -> str:
    """Fixed width, so that comparing the text compares the times. ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {moment!r}")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def to_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def to_optional_time(text: str | None) -> datetime | None:
    return None if text is None else to_time(text)


def to_revision(text: str | None) -> Revision | None:
    return None if text is None else Revision(text)


def from_json(value: Mapping[str, Any] | tuple[str, ...]) -> str:
    # ensure_ascii: a lone surrogate (a branch name that is not UTF-8) cannot be stored as text otherwise.
    return json.dumps(value if isinstance(value, tuple) else dict(value), separators=(",", ":"))


def to_strings(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def from_failure(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    return from_json(
        {
            "code": failure.code,
            "message": failure.message,
            "hint": failure.hint,
            "service": failure.service,
            "log_tail": failure.log_tail,
        }
    )


def to_failure(text: str | None) -> Failure | None:
    if text is None:
        return None
    fields = json.loads(text)
    return Failure(**{**fields, "log_tail": tuple(fields["log_tail"])})


def from_commit(commit: Commit | None) -> str | None:
    if commit is None:
        return None
    return from_json(
        {
            "revision": commit.revision,
            "author": commit.author,
            "subject": commit.subject,
            "committed_at": from_time(commit.committed_at),
        }
    )


def to_commit(text: str | None) -> Commit | None:
    if text is None:
        return None
    fields = json.loads(text)
    return Commit(
        revision=Revision(fields["revision"]),
        author=fields["author"],
        subject=fields["subject"],
        committed_at=to_time(fields["committed_at"]),
    )
