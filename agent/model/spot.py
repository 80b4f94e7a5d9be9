"""SpotNotice: what AWS has announced about this Spot instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

REBALANCE = "rebalance"


@dataclass(frozen=True, slots=True)
class SpotNotice:
    """`action` is AWS's own word for what it will do at `at`: "terminate", "stop", "hibernate".

    With REBALANCE it will do nothing yet, and said at `at` that one of these has become likelier. None: it did not say.
    """

    action: str
    at: datetime | None

    @property
    def takes_back(self) -> bool:
        return self.action != REBALANCE
