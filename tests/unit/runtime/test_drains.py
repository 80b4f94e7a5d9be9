"""Since when a container is out of the route: from the first look that says so, and anew when it comes back."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from agent.model.observed import Container
from agent.runtime.drains import Drains
from agent.runtime.ports import Engine
from tests.support.plans import SLUG, container, service
from tests.support.stage import MovingClock

WEB = container(service("web"))
SIBLING = container(service("db"), addresses={"butai-feature-x_default": "10.200.0.140"})


class Connected:
    """Everybody has one connection, if nobody is left out."""

    def __init__(self) -> None:
        self.besides: set[str] = set()

    def visitors(self, container: str, *, besides: Collection[str]) -> int | None:
        self.besides = set(besides)
        return 1


def test_the_time_runs_from_the_first_look_and_anew_after_one_without_it() -> None:
    clock = MovingClock()
    drains = Drains(engine=cast("Engine", Connected()), clock=clock)

    def look(*leaving: Container) -> list[float]:
        return [drain.for_s for drain in drains.look(SLUG, leaving, containers=(WEB, SIBLING)).values()]

    assert look(WEB) == [0.0]
    clock.forward(3)
    assert look(WEB) == [3.0]
    assert look() == []
    clock.forward(3)
    assert look(WEB) == [0.0]


def test_connections_from_the_environments_own_containers_are_left_out() -> None:
    engine = Connected()
    Drains(engine=cast("Engine", engine), clock=MovingClock()).look(SLUG, [WEB], containers=(WEB, SIBLING))
    assert engine.besides == {"10.200.0.131", "10.200.0.140"}
