"""What the agent itself costs: its memory at rest, and its processor time while twenty environments just run.

It and the programs that it keeps or starts are counted; neither dockerd nor Traefik is.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import report
from bench.stage import theatre
from tests.support.samples import page, tiny
from tests.support.theatre import Theatre

ENVIRONMENTS = 20
SECONDS = 60.0
MOST_RSS_MB = 90.0
MOST_CPU_PERCENT = 1.0
_REST_S = 10.0  # after the last deployment
_TICKS = os.sysconf("SC_CLK_TCK")


def run(environments: int = ENVIRONMENTS, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure; the line to print."""
    with theatre({"tiny": tiny()}) as stage:
        time.sleep(_REST_S)
        empty_mb = _rss_mb(stage.agent.pid)
        _fill(stage, environments)
        time.sleep(_REST_S)
        before, began = _cpu_s(stage.agent.pid), time.monotonic()
        time.sleep(seconds)
        percent = 100 * (_cpu_s(stage.agent.pid) - before) / (time.monotonic() - began)
        rss_mb = _rss_mb(stage.agent.pid)
        programs_mb = sum(_rss_mb(pid) for pid in _family(stage.agent.pid)[1:])
    return {
        "bench": "footprint",
        "n": environments,
        "baseline": "none: the targets are absolute",
        "rss_mb": round(rss_mb, 1),
        "rss_without_environments_mb": round(empty_mb, 1),
        "rss_of_kept_programs_mb": round(programs_mb, 1),
        "rss_target_mb": MOST_RSS_MB,
        "cpu_percent": round(percent, 2),
        "cpu_target_percent": MOST_CPU_PERCENT,
        "seconds": seconds,
        "ok": max(rss_mb, empty_mb) <= MOST_RSS_MB and percent <= MOST_CPU_PERCENT,
    }


def _fill(stage: Theatre, environments: int) -> None:
    branches = [f"place-{number}" for number in range(environments)]
    for branch in branches:
        stage.push("tiny", branch, page(branch))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda branch: stage.deploy("tiny", branch), branches))
    report.progress(f"footprint: {environments} environments are live")


def _cpu_s(pid: int) -> float:
    """Of the process, of the children that it still has, and of those that ended."""
    return sum(sum(int(field) for field in _stat(one)[11:15]) for one in _family(pid)) / _TICKS


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS:"))


def _family(pid: int) -> list[int]:
    """The process and everything below it."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children += [int(child) for child in (task / "children").read_text().split()]
    return [pid, *(one for child in children for one in _family(child))]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; 11 to 14 are user and system time, its own and of its children."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
