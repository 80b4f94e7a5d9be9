"""Runs every check that needs no Docker, all of them even when one fails, and says how long each took."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tools.console import say

ROOT = Path(__file__).resolve().parent.parent
BUDGET_S = 30
_FOLDERS = (("adapters",), ("runtime",), ("planning", "web"))


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One check, and what repairs what it finds."""

    name: str
    module: Sequence[str]
    repair: str = ""
    tells: bool = False


def _unit_tests() -> tuple[tuple[str, list[str]], ...]:
    """In parts: to hand single tests to workers, each of which reads all, takes longer; each part costs its start."""
    apart = [f"--ignore=tests/unit/{name}" for names in _FOLDERS for name in names]
    parts = [(", ".join(names), [f"tests/unit/{name}" for name in names]) for names in _FOLDERS]
    return (*parts, ("all else, layers too", ["tests/unit", *apart]))


CHECKS = (
    *(Check(f"unit tests of {words}", ["pytest", "-q", *where], tells=True) for words, where in _unit_tests()),
    Check("types", ["mypy", "--no-error-summary"]),
    Check("format", ["ruff", "format", "--check", "--output-format=concise", "."], "`.venv/bin/ruff format .`"),
    Check("lint", ["ruff", "check", "--output-format=concise", "."], "`.venv/bin/ruff check --fix .` for part of it"),
    Check("docs", ["tools.docs_check"], tells=True),
)


def run(check: Check) -> tuple[Check, int, str, float]:
    """Run one check and return its status, what it printed and how long it took."""
    started = time.monotonic()
    argv = [sys.executable, "-m", *check.module]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={"EXAMPLES": "20", **os.environ},  # a random search goes on for longer in `make test`
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return check, done.returncode, done.stdout, time.monotonic() - started


def main() -> int:
    """Run by `make check`; six at a time, for most wait now and then."""
    say("check", f"{', '.join(check.name for check in CHECKS)} ...")
    failed: list[str] = []
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=6) as pool:
        for future in as_completed([pool.submit(run, check) for check in CHECKS]):
            check, status, printed, seconds = future.result()
            if status != 0:
                failed.append(check.name)
                print(printed, flush=True)
            repair = f"; repair: {check.repair}" if status and check.repair else ""
            last = printed.strip().splitlines()[-1:] if check.tells and not status else []
            verdict = f"FAILED, status {status}{repair}" if status else ": ".join(["ok", *last])
            say("check", f"{check.name}: {verdict} ({seconds:.1f} s)")
    total = time.monotonic() - began
    say("check", f"{'failed: ' + ', '.join(failed) if failed else 'all is well'} ({total:.1f} s of {BUDGET_S} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
