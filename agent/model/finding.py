"""A finding: what `butai doctor` makes of one thing that it looked at, and the command that repairs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """Worst first. UNKNOWN could not be looked at, NOT_APPLICABLE does not exist on such a host."""

    FAILURE = "failure"
    WARNING = "warning"
    UNKNOWN = "unknown"
    OK = "ok"
    NOT_APPLICABLE = "not-applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """`says` is a sentence about this host, `repair` a command or what to write where.

    `raises` is what `butai doctor --fix` may do about it: kernel settings and the values to raise them to.
    """

    verdict: Verdict
    says: str
    repair: str = ""
    raises: Mapping[str, int] = field(default_factory=dict)
    check: str = ""


def ok(says: str) -> Finding:
    return Finding(Verdict.OK, says)


def warning(says: str, repair: str) -> Finding:
    return Finding(Verdict.WARNING, says, repair)


def failure(says: str, repair: str) -> Finding:
    return Finding(Verdict.FAILURE, says, repair)


def unknown(says: str, repair: str = "") -> Finding:
    return Finding(Verdict.UNKNOWN, says, repair)


def not_applicable(says: str) -> Finding:
    return Finding(Verdict.NOT_APPLICABLE, says)
