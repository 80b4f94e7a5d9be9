"""Whose fault it is that an image could not be fetched, read from the words of the engine, BuildKit and registries.

Texts are all they give: the same sentence reaches us inside a 200 of the API and on the terminal of Compose.
"""

from __future__ import annotations

_UNREACHABLE = (
    "failed to do request",
    "i/o timeout",
    "connection refused",
    "connection reset",
    "no such host",
    "temporary failure in name resolution",
    "tls handshake",
    "toomanyrequests",
    "429 too many requests",
    "502 bad gateway",
    "503 service unavailable",
    "transport is closing",
    "error reading from server: eof",
)
_MISSING = (
    "manifest unknown",
    "not found",
    "pull access denied",
    "repository does not exist",
    "does not match the specified platform",
    "no matching manifest",
    "invalid reference format",
)


def is_unreachable(why: str) -> bool:
    """Nobody's fault: a registry or the network is away, or wants us to slow down."""
    return any(words in why.lower() for words in _UNREACHABLE)


def is_missing(why: str) -> bool:
    """The author's: the registry answers, and has no such image for us."""
    return any(words in why.lower() for words in _MISSING)
