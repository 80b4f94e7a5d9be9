"""Compose's durations and sizes in ours."""

from __future__ import annotations

import pytest

from agent.planning.units import duration, seconds, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1m30s", 90.0), ("1.5s", 1.5), ("200ms", 0.2), ("10000h", 36e6), ("1h0m0s", 3600.0), ("", 7.0), (None, 7.0)],
)
def test_durations(text: str | None, expected: float) -> None:
    assert seconds(text, 7.0) == pytest.approx(expected)


def test_a_duration_comes_back_as_it_went() -> None:
    assert seconds(duration(1.25), 0) == 1.25


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1073741824", 2**30), ("1g", 2**30), ("512m", 2**29), ("64MB", 2**26), ("", 0), (None, 0), ("-1", 0), ("x", 0)],
)
def test_sizes(text: str | None, expected: int) -> None:
    assert size(text) == expected
