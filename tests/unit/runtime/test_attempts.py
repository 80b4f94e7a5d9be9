"""What this process remembers of containers that it started, and forgets when something else begins."""

from __future__ import annotations

from agent.model.names import Slug
from agent.runtime.attempts import Attempts
from tests.support.stage import MovingClock

SHOP, BLOG = Slug("shop"), Slug("blog")


def test_exits_of_containers_that_were_started_here_count_and_others_do_not() -> None:
    attempts = Attempts(MovingClock())
    attempts.started(SHOP, "web")
    for container in ("web", "web", "stranger"):
        attempts.died(container)
    assert attempts.of(SHOP) == ({"web"}, {"web": 2}, 0.0)
    assert attempts.of(BLOG) == (frozenset(), {}, 0.0)


def test_time_runs_from_the_first_start_or_the_first_wait() -> None:
    clock = MovingClock()
    attempts = Attempts(clock)
    attempts.waiting(SHOP)
    clock.forward(5)
    attempts.started(SHOP, "web")
    attempts.waiting(SHOP)
    clock.forward(2)
    assert attempts.of(SHOP)[2] == 7.0


def test_a_new_attempt_forgets_its_own_environment_only() -> None:
    attempts = Attempts(MovingClock())
    attempts.started(SHOP, "web")
    attempts.started(BLOG, "page")
    attempts.died("web")
    attempts.begin(SHOP)
    assert attempts.of(SHOP) == (frozenset(), {}, 0.0)
    assert attempts.of(BLOG)[0] == {"page"}


def test_a_container_that_was_put_to_sleep_did_not_fail_in_the_deployment_that_wakes_it() -> None:
    """Deploy, sleep in the middle of it, wake: its exit belongs to the deployment that was superseded."""
    attempts = Attempts(MovingClock())
    attempts.turn_to(SHOP, 1)
    attempts.started(SHOP, "web")
    attempts.turn_to(SHOP, 2)
    assert attempts.of(SHOP)[0] == frozenset()


def test_looking_again_at_the_same_deployment_forgets_nothing() -> None:
    clock = MovingClock()
    attempts = Attempts(clock)
    attempts.turn_to(SHOP, 1)
    attempts.started(SHOP, "web")
    clock.forward(3)
    attempts.turn_to(SHOP, 1)
    assert attempts.of(SHOP) == ({"web"}, {}, 3.0)
