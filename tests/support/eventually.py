"""The one place where tests wait: look again until the world is as it should be, or say what it was instead."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.05


def eventually(check: Callable[[], T], seconds: float = 10.0, *, pause_s: float = PAUSE_S) -> T:
    """Return what `check` returns once that is true; an AssertionError of its own counts as "not yet".

    Any other exception is a mistake in the test and ends it at once. `check` always gets one look after the time is up.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= deadline
        try:
            found = check()
        except AssertionError:
            if is_last:
                raise
        else:
            if found:
                return found
            if is_last:
                name = getattr(check, "__qualname__", repr(check))
                raise AssertionError(f"{name} was still {found!r} after {seconds:g} s")
        time.sleep(pause_s)
