"""Slug, Revision and Hostname: three kinds of text that must never be mixed up with any other."""

from __future__ import annotations

import re

_REVISION = re.compile(r"[0-9a-f]{40}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class Revision(str):
    """One full commit hash: forty lower-case hex digits. Raises ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, text: str) -> Revision:
        if not _REVISION.fullmatch(text):
            raise ValueError(f"not a full commit hash: {text[:60]!r}")
        return super().__new__(cls, text)

    @property
    def short(self) -> str:
        """The first ten digits, for people."""
        return self[:10]


class Slug(str):
    """A DNS label that names one environment on this host. Raises ValueError when it cannot be one (RFC 1123)."""

    __slots__ = ()

    def __new__(cls, text: str) -> Slug:
        if not _LABEL.fullmatch(text):
            raise ValueError(f"not a DNS label: {text[:80]!r}")
        return super().__new__(cls, text)


class Hostname(str):
    """A full, lower-case DNS name of at most 253 characters. Raises ValueError for anything else."""

    __slots__ = ()

    def __new__(cls, text: str) -> Hostname:
        labels = text.split(".")
        if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError(f"not a host name: {text[:80]!r}")
        return super().__new__(cls, text)
