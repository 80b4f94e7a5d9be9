"""Versions as numbers, out of whatever else their packagers wrote behind them."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"v?([0-9]{1,6}(?:\.[0-9]{1,6})+)", re.ASCII)


def version_of(text: str | None) -> tuple[int, ...] | None:
    """`(2, 26, 1)` of "2.26.1-4" or "git version 2.26.1"; None when there is none."""
    found = _NUMBERS.search(text or "")
    return tuple(int(part) for part in found[1].split(".")) if found else None
