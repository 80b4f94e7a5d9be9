"""Every floor waits through `eventually`: it must neither give up early nor hide a mistake in a test."""

import pytest

from tests.support.eventually import eventually


def test_it_returns_what_the_check_returned_once_that_is_true() -> None:
    answers = iter([None, 0, "", "there"])
    assert eventually(lambda: next(answers), 5, pause_s=0) == "there"


def test_a_failed_assertion_means_not_yet() -> None:
    looks = iter([False, False, True])

    def check() -> bool:
        assert next(looks)
        return True

    assert eventually(check, 5, pause_s=0)


def test_it_says_what_it_saw_last_when_the_time_is_up() -> None:
    with pytest.raises(AssertionError, match="was still 0 after 0 s"):
        eventually(lambda: 0, 0)


def test_the_last_failed_assertion_is_what_a_reader_sees() -> None:
    def check() -> bool:
        raise AssertionError("the page says v1")

    with pytest.raises(AssertionError, match="the page says v1"):
        eventually(check, 0.02, pause_s=0.01)


def test_a_mistake_in_the_test_ends_it_at_once() -> None:
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0, 60)
