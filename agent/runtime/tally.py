"""Counts how deployments end and how long they took, since this process started."""

from __future__ import annotations

import copy
from threading import Lock

from agent.model.deployment import Deployment
from agent.planning.metrics import Durations, Histogram, kind_of


class Tally:
    """Used from any thread. Prometheus expects that counters begin again with the process, so nothing is kept."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._durations: dict[tuple[str, ...], Histogram] = {}

    def count(self, deployment: Deployment) -> None:
        """One that has just ended."""
        key = (kind_of(deployment), str(deployment.phase))
        with self._lock:
            self._durations.setdefault(key, Histogram()).add(max(0.0, deployment.seconds or 0.0))

    def durations(self) -> Durations:
        """By kind and result, as they are now."""
        with self._lock:
            return copy.deepcopy(self._durations)
