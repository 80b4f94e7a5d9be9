"""A flag that ends work in progress: builds, pulls and subprocesses register how they are stopped."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class CancelToken:
    """Cancelled once, for ever. Satisfies ports.Cancel; safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._cancelled = False
        self._acts: list[Callable[[], None]] = []

    def cancelled(self) -> bool:
        return self._cancelled

    def on_cancel(self, act: Callable[[], None]) -> Callable[[], None]:
        """Run `act` when cancelled, at once when it already is; call the result to take it back."""
        with self._lock:
            if not self._cancelled:
                self._acts.append(act)
                return lambda: self._forget(act)
        act()
        return lambda: None

    def cancel(self) -> None:
        """Cancel; each registered act runs once, here."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            acts, self._acts = self._acts, []
        for act in acts:
            act()

    def _forget(self, act: Callable[[], None]) -> None:
        with self._lock:
            if act in self._acts:
                self._acts.remove(act)
