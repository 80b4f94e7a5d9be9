"""A push of one file that is copied, with 1, 10 and 50 environments on the host: it is to cost the same.

The baseline is the first of the three; the others are small sites that nobody looks at.
"""

from __future__ import annotations

import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from bench import projects, report
from bench.browser import Browser
from bench.pushing import Pushes
from bench.stage import theatre
from tests.support.samples import page, tiny
from tests.support.theatre import Theatre

ENVIRONMENTS = (1, 10, 50)
ROUNDS = 15
TARGET = 1.2
_PATIENCE_S = 0.005
_PROJECT, _BRANCH, _PATH = "thousands", "stage", projects.path(0)


def run(environments: tuple[int, ...] = ENVIRONMENTS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({_PROJECT: projects.served(watched=True), "tiny": tiny()}) as stage:
        pushes = Pushes(stage, _PROJECT, _BRANCH)
        pushes.push({"index.html": "stage\n"})
        host = stage.agent.host(stage.deploy(_PROJECT, _BRANCH))
        samples: dict[int, list[float]] = {}
        there = 1
        with closing(Browser(stage.agent.port, host, patience_s=_PATIENCE_S)) as browser:
            for number in environments:
                _fill(stage, there, number)
                there = number
                samples[number] = _rounds(pushes, browser, number, rounds)
    few, many = samples[environments[0]], samples[environments[-1]]
    return report.line(
        "push_scale",
        many,
        baseline=f"the same with {environments[0]} environment on the host",
        baseline_samples=few,
        target=TARGET,
        environments_p50_s={number: round(statistics.median(took), 4) for number, took in samples.items()},
    )


def _rounds(pushes: Pushes, browser: Browser, number: int, rounds: int) -> list[float]:
    """The first of them only warms up."""
    took = []
    for at in range(rounds + 1):
        pushes.settled()
        text = f"OF_{number} = {at};"
        revision = pushes.push({_PATH: f"{text}\n"})
        took.append(pushes.until_shown(browser, text, f"/{_PATH}"))
        pushes.ended(revision)
        done = pushes.stage.last(_PROJECT, _BRANCH)["done"]
        assert any("synced" in words for words in done), done
    report.progress(f"push_scale: {number} environments, {statistics.median(took[1:]):.3f} s")
    return took[1:]


def _fill(stage: Theatre, there: int, wanted: int) -> None:
    branches = [f"place-{number}" for number in range(there, wanted)]
    for branch in branches:
        stage.push("tiny", branch, page(branch))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda branch: stage.deploy("tiny", branch), branches))


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
