"""The one form in which every benchmark answers: seconds, the ratio to a baseline, and whether it met its target."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_STEAL = 7  # the eighth number of the line, proc_stat(5)


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample that `share` of them (0 to 1) do not exceed; the nearest rank, so always one that was measured."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def seconds(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def progress(text: str) -> None:
    """For whoever waits; standard output is for the lines alone."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def processor_ticks() -> tuple[int, int]:
    """(stolen, all) so far, of all cores: what the hypervisor gave to other machines while this one had work to do."""
    _, *ticks = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(ticks[_STEAL]), sum(map(int, ticks[: _STEAL + 1]))


def line(
    bench: str,
    samples: Sequence[float],
    *,
    baseline: str,
    baseline_samples: Sequence[float],
    target: float,
    **more: Any,
) -> dict[str, Any]:
    """One benchmark's line; met when the ratio of the medians is at most `target`."""
    p50, against = statistics.median(samples), statistics.median(baseline_samples)
    return {
        "bench": bench,
        "n": len(samples),
        "p50_s": round(p50, 4),
        "p95_s": round(percentile(samples, 0.95), 4),
        "baseline": baseline,
        "baseline_p50_s": round(against, 4),
        "ratio": round(p50 / against, 3),
        "target": target,
        "ok": p50 / against <= target,
        **more,
    }
