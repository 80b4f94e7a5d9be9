"""The machine's clocks. Satisfies `ports.Clock`; tests use one that they turn by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """Wall time for what people read and what is stored, monotonic seconds for deadlines."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
