"""Twenty pushes to one branch in two seconds, each of which is built: how many deployments, and when the last is live.

Against one deployment for each push: twenty times what one takes, measured in the same run.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import Counter
from contextlib import closing
from typing import Any

from bench import projects, report
from bench.browser import Browser
from bench.pushing import Pushes
from bench.stage import theatre
from tests.support.theatre import Theatre

ROUNDS = 3
PUSHES = 20
SECONDS = 2.0
TARGET = 0.25
MOST_DEPLOYMENTS = 3
_PATIENCE_S = 0.01
_PROJECT, _BRANCH = "thousands", "stage"


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({_PROJECT: projects.served()}) as stage:
        pushes = Pushes(stage, _PROJECT, _BRANCH)
        pushes.push({"index.html": "stage\n"})
        host = stage.agent.host(stage.deploy(_PROJECT, _BRANCH))
        with closing(Browser(stage.agent.port, host, patience_s=_PATIENCE_S)) as browser:
            single = [_one(pushes, browser, f"single {number}.") for number in range(rounds)]
            storms = [_storm(pushes, browser, number) for number in range(rounds)]
    most = max(sum(phases.values()) - phases["superseded"] for _, phases in storms)
    line = report.line(
        "push_storm",
        [took for took, _ in storms],
        baseline=f"{PUSHES} deployments one after the other",
        baseline_samples=[PUSHES * took for took in single],
        target=TARGET,
        one_p50_s=round(statistics.median(single), 4),
        most_deployments=most,
        target_deployments=MOST_DEPLOYMENTS,
        superseded=[phases["superseded"] for _, phases in storms],
    )
    return line | {"ok": line["ok"] and most <= MOST_DEPLOYMENTS}


def _one(pushes: Pushes, browser: Browser, text: str) -> float:
    revision = pushes.push({"index.html": f"{text}\n"})
    took = pushes.until_shown(browser, text)
    pushes.ended(revision)
    report.progress(f"push_storm: one push {took:.2f} s")
    return took


def _storm(pushes: Pushes, browser: Browser, number: int) -> tuple[float, Counter[str]]:
    """Seconds from the first push until the last one is seen, and how the deployments of all ended."""
    first = _newest(pushes.stage)
    began = time.perf_counter()
    revision = ""
    for at in range(PUSHES):
        time.sleep(max(0.0, began + at * SECONDS / PUSHES - time.perf_counter()))
        revision = pushes.push({"index.html": f"storm {number}, push {at}.\n"})
        pushes.tell()
    browser.until(f"storm {number}, push {PUSHES - 1}.")
    took = time.perf_counter() - began
    pushes.ended(revision)
    slug = pushes.stage.slug(_PROJECT, _BRANCH)
    listed = pushes.stage.agent.ask(f"/environments/{slug}/deployments", limit="50")["deployments"]
    phases = Counter(str(one["phase"]) for one in listed if one["id"] > first)
    report.progress(f"push_storm: {took:.2f} s, {dict(phases)}")
    return took, phases


def _newest(stage: Theatre) -> int:
    return int(stage.last(_PROJECT, _BRANCH)["id"])


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
