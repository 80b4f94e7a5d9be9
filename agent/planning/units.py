"""Compose's units in ours: durations ("1m30s") in seconds, sizes ("512m", "1073741824") in bytes."""

from __future__ import annotations

import re

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)")
_BYTES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)


def seconds(text: object, default: float) -> float:
    """A Go duration in seconds; `default` when nothing was set."""
    parts = _DURATION.findall(str(text or ""))
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else default


def duration(value_s: float) -> str:
    """Seconds as Compose writes them, to the millisecond."""
    return f"{round(value_s * 1000)}ms"


def size(text: object) -> int:
    """Bytes; 0 when nothing was set, and for -1 (unlimited)."""
    match = _SIZE.fullmatch(str(text or "").strip())
    return int(float(match[1]) * _BYTES[match[2].lower()]) if match else 0
