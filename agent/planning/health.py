"""Health checks as they run here: asked often while a service starts, seldom afterwards.

Docker asks every 30 s by default, so a service that is up after one second counts as healthy after thirty; but a
short interval for ever eats the processor (an exec costs 70 ms of it). `start_interval` does both, and acts only within
`start_period`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agent.planning.units import duration, seconds

_START_INTERVAL_S = 0.2
_INTERVAL_S = (5.0, 300.0)
_TIMEOUT_S = (1.0, 60.0)
_START_S = (5.0, 600.0)
_IMAGE_START_S = 60.0
_MOST_RETRIES = 60
_FEWEST_RETRIES = 3


def is_checked(healthcheck: Mapping[str, Any]) -> bool:
    """Whether the compose file itself has a health check for the service."""
    test = healthcheck.get("test")
    return bool(test) and not healthcheck.get("disable") and test != ["NONE"]


def quick_healthcheck(healthcheck: Mapping[str, Any]) -> dict[str, Any]:
    """The same check: quick while starting, as patient in all as the author's, and within bounds.

    The time after which the author's check would give up is its retries times its interval; that long the quick
    asking goes on, and where the interval was raised the retries shrink with it. Without a test of its own a service
    has that of its image, if there is one: the engine then takes only these two from here.
    """
    if healthcheck.get("disable") or healthcheck.get("test") == ["NONE"]:
        return {"disable": True}
    if not is_checked(healthcheck):
        return {"start_period": duration(_IMAGE_START_S), "start_interval": duration(_START_INTERVAL_S), **healthcheck}
    asked_s = max(seconds(healthcheck.get("interval"), 30.0), 0.001)
    retries = min(max(int(healthcheck.get("retries") or 3), 1), _MOST_RETRIES)
    interval_s = _within(asked_s, _INTERVAL_S)
    patience_s = asked_s * retries
    start_interval_s = seconds(healthcheck.get("start_interval"), _START_INTERVAL_S)
    return {
        "test": healthcheck["test"],
        "interval": duration(interval_s),
        "timeout": duration(_within(seconds(healthcheck.get("timeout"), 30.0), _TIMEOUT_S)),
        "retries": min(retries, max(_FEWEST_RETRIES, math.ceil(patience_s / interval_s))),
        "start_period": duration(_within(max(seconds(healthcheck.get("start_period"), 0.0), patience_s), _START_S)),
        "start_interval": duration(min(max(start_interval_s, 0.1), 5.0)),
    }


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
