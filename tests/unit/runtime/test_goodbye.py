"""A long goodbye holds up nobody who wants something newer."""

from __future__ import annotations

from threading import Event, Timer
from typing import cast

import pytest

from agent.errors import CancelledError, OutsideError
from agent.runtime import goodbye
from agent.runtime.cancel import CancelToken
from agent.runtime.ports import Engine


class SlowEngine:
    """Stops a container when `let` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.let = Event()
        self.stopped: list[str] = []
        self._error = error

    def stop(self, container: str, *, grace_s: float) -> None:
        self.let.wait(10)
        if self._error is not None:
            raise self._error
        self.stopped.append(container)


def stop(engine: SlowEngine, cancel: CancelToken) -> None:
    goodbye.stop(cast("Engine", engine), "web-1", grace_s=10, cancel=cancel)


def test_a_stop_is_waited_for() -> None:
    engine = SlowEngine()
    engine.let.set()
    stop(engine, CancelToken())
    assert engine.stopped == ["web-1"]


def test_a_newer_wish_ends_the_waiting_and_not_the_stop() -> None:
    engine, cancel = SlowEngine(), CancelToken()
    Timer(0.05, cancel.cancel).start()
    with pytest.raises(CancelledError):
        stop(engine, cancel)
    assert engine.stopped == []
    engine.let.set()


def test_what_the_engine_answers_is_passed_on() -> None:
    engine = SlowEngine(OutsideError("Docker does not answer."))
    engine.let.set()
    with pytest.raises(OutsideError, match="does not answer"):
        stop(engine, CancelToken())
