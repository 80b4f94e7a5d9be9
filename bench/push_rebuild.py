"""A push that rebuilds one service of two, 2,000 files by `COPY . .`: from its webhook to new bytes through Traefik.

Against `docker compose up -d --build --no-deps SERVICE` by hand, the pull not counted. Both are visited all the
time, and every request that fails is counted.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from itertools import count
from typing import Any

from bench import projects, report
from bench.browser import Browser
from bench.byhand import ByHand
from bench.pushing import Pushes
from bench.stage import theatre
from bench.visitor import Visitor
from tests.support.theatre import Theatre

ROUNDS = 9
TARGET = 0.9
_PATIENCE_S = 0.01
_PROJECT, _BRANCH, _BY_HAND = "thousands", "stage", "by-hand"


def two_services() -> dict[str, str]:
    """The site of 2,000 files, and beside it a service with a context of its own."""
    files = projects.served()
    return files | {
        "compose.yaml": files["compose.yaml"] + "  side:\n    build: ./side\n    init: true\n",
        ".dockerignore": files[".dockerignore"] + "side\n",
        "side/Dockerfile": 'FROM busybox:1.37\nCOPY job /job\nCMD ["sleep", "86400"]\n',
        "side/job": "nothing\n",
    }


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({_PROJECT: two_services()}) as stage:
        return _Duel(stage).fight(rounds)


class _Duel:
    """The same repository on stage and by hand, in turn."""

    def __init__(self, stage: Theatre) -> None:
        self._stage = stage
        self._numbers = count(1)
        self._ours = Pushes(stage, _PROJECT, _BRANCH)
        self._theirs = Pushes(stage, _PROJECT, _BY_HAND)
        for pushes in (self._ours, self._theirs):
            self._change(pushes)
        url = stage.git.url(_PROJECT)
        self._place = ByHand(stage.agent.base_dir / "by-hand", url, _BY_HAND, web_port=8080, more=("side",))

    def fight(self, rounds: int) -> dict[str, Any]:
        host = self._stage.agent.host(self._stage.deploy(_PROJECT, _BRANCH))
        at_ours, at_theirs = (self._stage.agent.port, host), (self._place.port, "127.0.0.1")
        subject, baseline = [], []
        failed, baseline_failed, requests = 0, 0, 0
        try:
            self._place.clone()
            self._place.up("--wait")
            self._by_agent(at_ours)
            for _ in range(rounds):
                took, visitor = self._by_agent(at_ours)
                subject.append(took)
                failed += visitor.failed
                requests += visitor.requests
                took, visitor = self._by_hand(at_theirs)
                baseline.append(took)
                baseline_failed += visitor.failed
                report.progress(f"push_rebuild: {subject[-1]:.2f} s, by hand {baseline[-1]:.2f} s")
        finally:
            self._place.remove()
        line = report.line(
            "push_rebuild",
            subject,
            baseline="docker compose up -d --build --no-deps SERVICE",
            baseline_samples=baseline,
            target=TARGET,
            requests=requests,
            failed=failed,
            baseline_failed=baseline_failed,
        )
        return line | {"ok": line["ok"] and failed == 0}

    def _by_agent(self, at: tuple[int, str]) -> tuple[float, Visitor]:
        revision, text = self._change(self._ours)
        with closing(Browser(*at, patience_s=_PATIENCE_S)) as browser, Visitor(*at) as visitor:
            took = self._ours.until_shown(browser, text)
            self._ours.ended(revision)
        done = self._stage.last(_PROJECT, _BRANCH)["done"]
        assert "built web" in done, done
        assert "built side" not in done, done
        return took, visitor

    def _by_hand(self, at: tuple[int, str]) -> tuple[float, Visitor]:
        _, text = self._change(self._theirs)
        self._place.pull()

        def update() -> None:
            self._place.up("--no-deps", "web")
            browser.until(text)

        with closing(Browser(*at, patience_s=_PATIENCE_S)) as browser, Visitor(*at) as visitor:
            return report.seconds(update), visitor

    def _change(self, pushes: Pushes) -> tuple[str, str]:
        """A push, and what the page says after it."""
        text = f"take {next(self._numbers)}."
        return pushes.push({"index.html": f"{text}\n"}), text


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
