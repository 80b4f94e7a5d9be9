"""kill -9 at moments spread over everything an environment goes through: each time it ends as if nothing had been.

How long each part of a life takes is measured once without a kill; then the agent dies after so much of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.eventually import eventually
from tests.support.samples import page
from tests.support.theatre import LIVE, Theatre

MOMENTS = (0.05, 0.25, 0.5, 0.75, 0.95)
COMPOSE = """
services:
  web:
    build: .
    ports: ['8080']
    depends_on: [keeper]
  keeper:
    image: busybox:1.37
    command: ['sleep', '86400']
    init: true
    volumes: ['kept:/kept']
volumes:
  kept: {}
"""


@dataclass
class Life:
    """What one branch goes through, and what must be true after each part, however often the agent died."""

    theatre: Theatre
    branch: str
    dies: Callable[[str], None]  # called as soon as a part began
    took_s: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        for part in (self.deploy, self.push, self.sleep, self.wake, self.destroy):
            begun = time.monotonic()
            part()
            self.took_s[part.__name__] = time.monotonic() - begun

    def deploy(self) -> None:
        self.theatre.push("tiny", self.branch, {"compose.yaml": COMPOSE, **page(f"{self.branch} one")})
        self._types("deploy")
        self.dies("deploy")
        self._serves("one")
        self._told_once(1, lambda text: LIVE.search(text))

    def push(self) -> None:
        self.theatre.push("tiny", self.branch, page(f"{self.branch} two"))
        self.dies("push")
        self._serves("two")

    def sleep(self) -> None:
        self._types("sleep")
        self.dies("sleep")
        self._told_once(2, lambda text: "sleeps" in text)
        eventually(lambda: self.theatre.agent.visit(self.branch).status_code == 503)
        assert {one["State"] for one in self.theatre.agent.containers(self.branch)} == {"exited"}

    def wake(self) -> None:
        self._types("wake")
        self.dies("wake")
        self._serves("two")
        self._told_once(3, lambda text: LIVE.search(text))

    def destroy(self) -> None:
        self.theatre.agent.cli("destroy", self.branch, "--project", "tiny", "--yes", "--detach")
        self.dies("destroy")
        self.theatre.gone(self.branch, 60)

    def _types(self, command: str) -> None:
        """The request is known to Slack before the agent may die: what nobody saw cannot be said twice."""
        before = len(self._messages())
        self.theatre.agent.person().types(f"{command} {self.branch} in tiny")
        eventually(lambda: len(self._messages()) == before + 1, pause_s=0.01)

    def _serves(self, text: str) -> None:
        self.theatre.shows(self.branch, f"{self.branch} {text}", seconds=60)
        eventually(self._is_tidy, 30, pause_s=0.1)

    def _is_tidy(self) -> bool:
        shown = self.theatre.shown("tiny", self.branch)
        assert shown["plan"]["converged"], shown["plan"]
        assert shown["deployment"]["phase"] == "ready", shown["deployment"]
        running = {one["State"] for one in self.theatre.agent.containers(self.branch)}
        assert (len(self.theatre.agent.containers(self.branch)), running) == (2, {"running"})
        return True

    def _told_once(self, requests: int, fits: Callable[[str], object]) -> None:
        self.theatre.said(f"`{self.branch}`", fits)
        assert len(self._messages()) == requests, [one.text for one in self._messages()]

    def _messages(self) -> list[str]:
        return [one.text for one in self.theatre.slack.visible() if f"`{self.branch}`" in one.text]


@pytest.fixture(scope="module", name="durations")
def durations_fixture(stricken: Theatre) -> dict[str, float]:
    """Seconds of each part of an undisturbed life."""
    life = Life(stricken, "undisturbed", dies=lambda part: None)
    life.run()
    return life.took_s


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_this_moment_of_every_part_of_a_life_it_ends_the_same(
    stricken: Theatre, durations: dict[str, float], moment: float
) -> None:
    def dies(part: str) -> None:
        threading.Event().wait(durations[part] * moment)  # not for something to happen: the moment is the test
        stricken.agent.kill9()
        stricken.agent.launch()
        stricken.agent.wait_until_ready()

    Life(stricken, f"struck-{int(moment * 100):02}", dies).run()

    eventually(lambda: stricken.on_stage() == set(), 10)
    bugs = [event for event in stricken.agent.ask("/events", limit="500")["events"] if event["kind"] == "bug"]
    assert bugs == []
