"""Waiting inside a request until something is new, so that clients follow along without asking all the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

MAX_WAIT_S = 25.0  # below the 30 s after which proxies and clients begin to give up

_LOOK_EVERY_S = 0.05  # one indexed read of SQLite, 50 us: cheaper than wiring every writer to every waiter


def wait_for(is_new: Callable[[], bool], wait_s: float, stopping: Event) -> bool:
    """Whether `is_new` came true within `wait_s` seconds; gives up at once when the agent stops."""
    deadline = time.monotonic() + wait_s
    while not is_new():
        left = deadline - time.monotonic()
        if left <= 0 or stopping.wait(min(left, _LOOK_EVERY_S)):
            return False
    return True
