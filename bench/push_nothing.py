"""A push that touches only what `.dockerignore` leaves out: from its webhook to the end of its deployment.

Against the same push by hand: `git pull` and `docker compose up -d --build`, which finds out that nothing changed.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from itertools import count
from typing import Any

from bench import projects, report
from bench.byhand import ByHand
from bench.pushing import Pushes, instant
from bench.stage import theatre
from tests.support.theatre import Theatre

ROUNDS = 15
BY_HAND_ROUNDS = 3
MOST_P50_S = 0.1
_IGNORED = {".dockerignore": ".git\nnotes\n"}


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({"thousands": projects.served(watched=True) | _IGNORED}) as stage:
        ours, touched, spent = _by_agent(stage, rounds)
        theirs = _by_hand(stage)
    line = report.line(
        "push_nothing",
        ours,
        baseline="git pull, docker compose up -d --build",
        baseline_samples=theirs,
        target=MOST_P50_S,
        target_p50_s=MOST_P50_S,
        containers_touched=touched,
        spent_s=spent,
    )
    return line | {"ok": line["p50_s"] <= MOST_P50_S and touched == 0}


def _by_agent(stage: Theatre, rounds: int) -> tuple[list[float], int, dict[str, float]]:
    """Seconds of each push, how many containers are not what they were before, and what the time went to."""
    pushes = Pushes(stage, "thousands", "stage")
    pushes.push({"index.html": "stage\n"})
    slug = stage.deploy("thousands", "stage")
    before = instant(stage, slug)
    samples: list[float] = []
    spent: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        pushes.settled()
        revision = pushes.push({"notes/today.md": f"note {number}\n"})
        samples.append(pushes.until_ended(revision))
        for verb, seconds in stage.last("thousands", "stage")["timings"].items():
            spent[verb].append(seconds)
        report.progress(f"push_nothing: {samples[-1]:.3f} s")
    medians = {verb: round(statistics.median(took), 4) for verb, took in spent.items()}
    return samples[1:], len(before ^ instant(stage, slug)), medians


def _by_hand(stage: Theatre) -> list[float]:
    url, numbers = stage.git.url("thousands"), count(1)
    stage.push("thousands", "by-hand", {"index.html": "by-hand\n"})
    place = ByHand(stage.agent.base_dir / "by-hand", url, "by-hand", web_port=8080)

    def update() -> None:
        place.pull()
        place.up()

    try:
        place.clone()
        place.up("--wait")
        samples = []
        for _ in range(BY_HAND_ROUNDS):
            stage.push("thousands", "by-hand", {"notes/today.md": f"note {next(numbers)}\n"})
            samples.append(report.seconds(update))
        return samples
    finally:
        place.remove()


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
