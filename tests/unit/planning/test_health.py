"""Health is asked quickly while a service starts, seldom afterwards, and as patiently in all as its author wanted."""

from __future__ import annotations

from typing import Any

import pytest

from agent.planning.health import is_checked, quick_healthcheck

TEST = {"test": ["CMD", "true"]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ("30000ms", "30000ms", 3, "90000ms", "200ms")),
        (
            {"interval": "5s", "timeout": "3s", "retries": 5, "start_period": "40s"},
            ("5000ms", "3000ms", 5, "40000ms", "200ms"),
        ),
        ({"interval": "1s", "retries": 30}, ("5000ms", "30000ms", 6, "30000ms", "200ms")),
        ({"interval": "1s", "retries": 3}, ("5000ms", "30000ms", 3, "5000ms", "200ms")),
        (
            {"interval": "10000h", "timeout": "10000h", "retries": 10**6},
            ("300000ms", "60000ms", 60, "600000ms", "200ms"),
        ),
        ({"interval": "1ms", "timeout": "1ms", "start_interval": "1ms"}, ("5000ms", "1000ms", 3, "5000ms", "100ms")),
        ({"start_interval": "2s"}, ("30000ms", "30000ms", 3, "90000ms", "2000ms")),
    ],
)
def test_a_check_is_quick_at_the_start_and_within_bounds(asked: dict[str, Any], expected: tuple[Any, ...]) -> None:
    made = quick_healthcheck({**TEST, **asked})
    assert made["test"] == TEST["test"]
    fields = ("interval", "timeout", "retries", "start_period", "start_interval")
    assert tuple(made[field] for field in fields) == expected


def test_the_check_of_an_image_is_quick_at_the_start_too() -> None:
    assert quick_healthcheck({}) == {"start_period": "60000ms", "start_interval": "200ms"}
    assert quick_healthcheck({"interval": "9s"})["interval"] == "9s"


@pytest.mark.parametrize("off", [{"disable": True}, {"test": ["NONE"]}])
def test_a_check_that_is_off_stays_off(off: dict[str, Any]) -> None:
    assert quick_healthcheck(off) == {"disable": True}
    assert not is_checked(off)
