"""`python -m bench [NAME ...]`: one JSON line per benchmark on standard output, everything else on standard error.

Each line says which share of the processors' time was `stolen` meanwhile: it tells a busy neighbour from slow code.
Every module of this package with a `run()` is a benchmark. Exit status 1 when one misses its target or breaks.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import bench
from bench import report

Run = Callable[[], dict[str, Any]]


def main(names: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what a benchmark made is removed
    known = benchmarks()
    unknown = [name for name in names if name not in known]
    if unknown:
        report.progress(f"No benchmark is called {', '.join(unknown)}. There are: {', '.join(known)}.")
        return 2
    met = [_measure(name, known[name]) for name in names or known]
    return int(not all(met))


def benchmarks() -> dict[str, Run]:
    """Name and `run` of each, by name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name != "__main__")
    found = {name: getattr(importlib.import_module(f"bench.{name}"), "run", None) for name in modules}
    return {name: run for name, run in found.items() if run is not None}


def _measure(name: str, run: Run) -> bool:
    """Whether it met its target."""
    report.progress(f"{name} ...")
    began, (stolen, ticks) = time.monotonic(), report.processor_ticks()
    try:
        line = run()
    except Exception:  # noqa: BLE001 - the others are still worth their time
        traceback.print_exc()
        line = {"bench": name, "ok": False, "error": traceback.format_exc(limit=0).strip().splitlines()[-1]}
    stolen_now, ticks_now = report.processor_ticks()
    line["stolen"] = round((stolen_now - stolen) / max(1, ticks_now - ticks), 3)
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    verdict = "met" if line["ok"] else "MISSED"
    report.progress(f"{name}: target {verdict} ({time.monotonic() - began:.0f} s)")
    return bool(line["ok"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
