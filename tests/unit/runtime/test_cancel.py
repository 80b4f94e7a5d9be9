"""A flag that ends work: once, for whoever registered, from any thread."""

from __future__ import annotations

from functools import partial
from threading import Thread

from agent.runtime.cancel import CancelToken


def test_what_registered_is_told_once() -> None:
    token, told = CancelToken(), list[str]()
    token.on_cancel(lambda: told.append("build"))
    assert not token.cancelled()
    token.cancel()
    token.cancel()
    assert token.cancelled()
    assert told == ["build"]


def test_what_registers_too_late_is_told_at_once() -> None:
    token, told = CancelToken(), list[str]()
    token.cancel()
    token.on_cancel(lambda: told.append("pull"))
    assert told == ["pull"]


def test_work_that_ended_is_not_told() -> None:
    token, told = CancelToken(), list[str]()
    take_back = token.on_cancel(lambda: told.append("build"))
    take_back()
    take_back()
    token.cancel()
    assert told == []


def test_a_cancelled_token_cancels_those_that_depend_on_it() -> None:
    outer, inner = CancelToken(), CancelToken()
    outer.on_cancel(inner.cancel)
    outer.cancel()
    assert inner.cancelled()


def test_registering_and_cancelling_at_the_same_time_forgets_nobody() -> None:
    for _ in range(50):
        token, told = CancelToken(), list[int]()
        threads = [Thread(target=token.on_cancel, args=(partial(told.append, 1),)) for _ in range(4)]
        threads.append(Thread(target=token.cancel))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told == [1, 1, 1, 1]
