"""A file saved on the host to new bytes through Traefik, one of 2,000, where `develop.watch` says: copy what changes.

Against `docker compose watch` over a clone of the same repository, in turn with it.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from bench import projects, report
from bench.browser import Browser
from bench.byhand import ByHand
from bench.stage import theatre
from tests.support.eventually import eventually
from tests.support.theatre import Theatre

ROUNDS = 15
LEAST_TIMES_FASTER = 4
_PATIENCE_S = 0.005
_BRANCH = "stage"
_BY_HAND = "by-hand"


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({"thousands": projects.served(watched=True)}) as stage:
        return _fight(stage, rounds)


def _fight(stage: Theatre, rounds: int) -> dict[str, Any]:
    for branch in (_BRANCH, _BY_HAND):
        stage.push("thousands", branch, {"index.html": f"{branch}\n"})
    place = ByHand(stage.agent.base_dir / "by-hand", stage.git.url("thousands"), _BY_HAND, web_port=8080)
    slug = stage.deploy("thousands", _BRANCH)
    edited = stage.agent.state_dir / "checkouts" / slug
    ours = Browser(stage.agent.port, stage.agent.host(slug), patience_s=_PATIENCE_S)
    theirs = place.browser(patience_s=_PATIENCE_S)
    spent: dict[str, list[float]] = defaultdict(list)
    subject, baseline = [], []
    numbers = count(1)
    try:
        place.clone()
        place.up("--wait")
        with closing(ours), closing(theirs), place.watching() as clone:
            for folder, browser in ((edited, ours), (clone, theirs)):  # the first edit of each makes things ready
                _save(folder, browser, next(numbers))
            for _ in range(rounds):
                _settled(stage)
                subject.append(_save(edited, ours, next(numbers)))
                for verb, took in _settled(stage)["timings"].items():
                    spent[verb].append(took)
                baseline.append(_save(clone, theirs, next(numbers)))
                report.progress(f"edit_sync: {subject[-1]:.3f} s, docker compose watch {baseline[-1]:.3f} s")
    finally:
        place.remove()
    return report.line(
        "edit_sync",
        subject,
        baseline="docker compose watch",
        baseline_samples=baseline,
        target=1 / LEAST_TIMES_FASTER,
        spent_s={verb: round(statistics.median(took), 4) for verb, took in spent.items()},
    )


def _save(folder: Path, browser: Browser, number: int) -> float:
    """Seconds from the end of a save to the new bytes."""
    text, path = f"CHANGE = {number};", projects.path(number)
    (folder / path).write_text(f"{text}\n")
    return report.seconds(lambda: browser.until(text, f"/{path}"))


def _settled(stage: Theatre) -> dict[str, Any]:
    def ended() -> dict[str, Any]:
        last = stage.last("thousands", _BRANCH)
        assert last["finished_at"], last["phase"]
        return last

    return eventually(ended, 60, pause_s=0.02)


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
