"""Runs every check that needs no Docker, all of them even when one fails, and says how long each took."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.console import say

ROOT = Path(__file__).resolve().parent.parent
BUDGET_S = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One check, and what repairs what it finds."""

    name: str
    module: Sequence[str]
    repair: str = ""


CHECKS = (
    Check("format", ["ruff", "format", "--check", "--output-format=concise", "."], "`.venv/bin/ruff format .`"),
    Check("lint", ["ruff", "check", "--output-format=concise", "."], "`.venv/bin/ruff check --fix .` for part of it"),
    Check("types", ["mypy", "--no-error-summary"]),
    Check("layers and unit tests", ["pytest", "-q", "tests/unit"]),
    Check("docs", ["tools.docs_check"]),
)


def main() -> int:
    """Run by `make check`."""
    failed: list[str] = []
    began = time.monotonic()
    for check in CHECKS:
        started = time.monotonic()
        status = subprocess.run([sys.executable, "-m", *check.module], cwd=ROOT, check=False).returncode
        said = (
            "ok" if status == 0 else f"FAILED, status {status}" + (f"; repair: {check.repair}" if check.repair else "")
        )
        say("check", f"{check.name}: {said} ({time.monotonic() - started:.1f} s)")
        failed += [check.name] if status else []
    total = time.monotonic() - began
    say("check", f"{'failed: ' + ', '.join(failed) if failed else 'all is well'} ({total:.1f} s of {BUDGET_S} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
