"""A signed push to new bytes through Traefik, where `develop.watch` says that files are copied: 1 to 1,000 of 2,000.

Against `git pull` and `docker compose up -d --build` of the same repository, in turn with it. A round ends when the
first and the last of the changed files are new.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from itertools import count
from typing import Any

from bench import projects, report
from bench.browser import Browser
from bench.byhand import ByHand
from bench.pushing import Pushes, last_once_ended
from bench.stage import theatre
from tests.support.theatre import Theatre

ROUNDS = {1: 15, 10: 7, 100: 7, 1000: 7}  # by files changed
MOST_P50_S = 0.10  # of one file
MOST_P95_S = 0.25
LEAST_TIMES_FASTER = 20
_PATIENCE_S = 0.005
_BRANCH = "stage"
_BY_HAND = "by-hand"  # a branch of its own: no image of one side is in the other's cache


def run(rounds: Mapping[int, int] = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({"thousands": projects.served(watched=True)}) as stage:
        return _line(_Duel(stage).fight(rounds))


def _line(measured: dict[int, dict[str, Any]]) -> dict[str, Any]:
    one = measured[1]
    is_met = one["p50_s"] <= MOST_P50_S and one["p95_s"] <= MOST_P95_S and one["ratio"] * LEAST_TIMES_FASTER <= 1
    more = {
        str(files): {key: line[key] for key in ("n", "p50_s", "p95_s", "baseline_p50_s", "ratio", "spent_s")}
        for files, line in measured.items()
    }
    return {**one, "target_p50_s": MOST_P50_S, "target_p95_s": MOST_P95_S, "ok": is_met, "files": more}


class _Duel:
    """The same repository on stage and by hand; commits are made before the clock starts."""

    def __init__(self, stage: Theatre) -> None:
        self._stage = stage
        self._numbers = count(1)
        self._url = stage.git.url("thousands")
        for branch in (_BRANCH, _BY_HAND):
            stage.push("thousands", branch, {"index.html": f"{branch}\n"})
        self._place = ByHand(stage.agent.base_dir / "by-hand", self._url, _BY_HAND, web_port=8080)

    def fight(self, rounds: Mapping[int, int]) -> dict[int, dict[str, Any]]:
        """A line for each number of files."""
        host = self._stage.agent.host(self._stage.deploy("thousands", _BRANCH))
        ours = Browser(self._stage.agent.port, host, patience_s=_PATIENCE_S)
        theirs = self._place.browser(patience_s=_PATIENCE_S)
        try:
            self._place.clone()
            self._place.up("--wait")
            with closing(ours), closing(theirs):
                self._by_agent(1, ours, defaultdict(list))
                Pushes(self._stage, "thousands", _BRANCH).settled()  # every later push follows seconds by hand
                return {files: self._rounds(files, times, ours, theirs) for files, times in rounds.items()}
        finally:
            self._place.remove()

    def _rounds(self, files: int, rounds: int, ours: Browser, theirs: Browser) -> dict[str, Any]:
        spent: dict[str, list[float]] = defaultdict(list)
        subject, baseline = [], []
        for _ in range(rounds):
            subject.append(self._by_agent(files, ours, spent))
            baseline.append(self._by_hand(files, theirs))
            report.progress(f"push_sync {files} files: {subject[-1]:.3f} s, by hand {baseline[-1]:.2f} s")
        return report.line(
            "push_sync",
            subject,
            baseline="git pull, docker compose up -d --build",
            baseline_samples=baseline,
            target=1 / LEAST_TIMES_FASTER,
            spent_s={verb: round(statistics.median(took), 4) for verb, took in spent.items()},
        )

    def _by_agent(self, files: int, browser: Browser, spent: dict[str, list[float]]) -> float:
        text, paths, revision = self._change(_BRANCH, files)

        def push() -> None:
            assert self._stage.agent.webhook(self._url, _BRANCH, after=revision) == 202
            for path in dict.fromkeys((paths[0], paths[-1])):
                browser.until(text, f"/{path}")

        took = report.seconds(push)
        last = last_once_ended(self._stage, "thousands", _BRANCH)
        assert any("synced" in words for words in last["done"]), last
        for verb, seconds in last["timings"].items():
            spent[verb].append(seconds)
        return took

    def _by_hand(self, files: int, browser: Browser) -> float:
        text, paths, _ = self._change(_BY_HAND, files)

        def update() -> None:
            self._place.pull()
            self._place.up()
            for path in dict.fromkeys((paths[0], paths[-1])):
                browser.until(text, f"/{path}")

        return report.seconds(update)

    def _change(self, branch: str, files: int) -> tuple[str, list[str], str]:
        """Push a change of so many files; what they say now, which they are, and the revision."""
        text = f"CHANGE = {next(self._numbers)};"
        paths = sorted(projects.path(at) for at in range(files))
        return text, paths, self._stage.push("thousands", branch, dict.fromkeys(paths, f"{text}\n"))


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
