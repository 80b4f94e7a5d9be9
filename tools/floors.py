"""Runs the tests floor by floor, each in a pytest of its own or in several, and adds up what they said.

Three go side by side, for most of what a test above the unit floor does is to wait. A floor that ran no test is a
failure in CI: what nobody runs is not tested.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools import chromium, engine, hostimage, images, pebble
from tools.console import SetupError, say

ROOT = Path(__file__).resolve().parent.parent
REPORTS_DIR = ROOT / ".cache" / "floors"
# From what is cheapest to break to what is dearest to run.
FLOORS = ("unit", "contract", "integration", "attacks", "faults", "e2e", "browser")
LONGEST_FIRST = ("e2e", "faults", "integration")
# The longest go in several parts, or each alone would be as long as all the others together.
PARTS = {"e2e": 2, "faults": 2, "integration": 2}
AT_ONCE = 3
WITHOUT_DOCKER = ("unit",)
WITH_BROWSER = ("browser",)
WITH_CERTIFICATES = ("integration",)
WITH_HOST = ("faults",)
NO_TESTS_COLLECTED = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one floor did."""

    floor: str
    status: int
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def ran(self) -> int:
        """Return how many tests were really run."""
        return self.passed + self.failed

    def problem(self, *, in_ci: bool, narrowed: bool) -> str | None:
        """Return why this floor makes the whole fail, or None."""
        if self.status not in (0, NO_TESTS_COLLECTED):
            return f"{self.failed} failed" if self.failed else f"pytest ended with status {self.status}"
        if narrowed or self.ran:
            return None
        if in_ci:
            return "ran no test, which is a failure in CI"
        return None if self.status == 0 else "has no tests"


def existing(root: Path = ROOT) -> tuple[str, ...]:
    """Return the floors that have tests, in order."""
    return tuple(floor for floor in FLOORS if any((root / "tests" / floor).rglob("test_*.py")))


def chosen(wanted: str, floors: Sequence[str]) -> tuple[str, ...]:
    """Return the floors that `wanted` names, in order; an empty text names all."""
    names = [name for name in wanted.replace(",", " ").split() if name]
    unknown = [name for name in names if name not in floors]
    if unknown:
        raise SetupError(f"no floor is called {', '.join(unknown)}; there are {', '.join(floors)}")
    return tuple(floor for floor in floors if not names or floor in names)


def in_turn(floors: Sequence[str]) -> tuple[str, ...]:
    """Return in which order they begin: the longest, so that none is left alone at the end, then from the lowest."""
    long = [floor for floor in LONGEST_FIRST if floor in floors]
    return (*long, *(floor for floor in floors if floor not in long))


def parts_of(floor: str, root: Path = ROOT) -> tuple[tuple[str, ...], ...]:
    """Return what each pytest of a floor is given: the floor, or where it goes in parts the files that fall to each."""
    if floor not in PARTS:
        return ((f"tests/{floor}",),)
    files = sorted(str(file.relative_to(root)) for file in (root / "tests" / floor).rglob("test_*.py"))
    dealt = (tuple(files[first :: PARTS[floor]]) for first in range(PARTS[floor]))
    return tuple(part for part in dealt if part)


def whole(parts: Sequence[Result]) -> Result:
    """Add up the parts of one floor, which is as good as its worst part and took as long as its longest."""
    ended = [part.status for part in parts if part.status not in (0, NO_TESTS_COLLECTED)]
    return Result(
        parts[0].floor,
        ended[0] if ended else min(part.status for part in parts),
        passed=sum(part.passed for part in parts),
        failed=sum(part.failed for part in parts),
        skipped=sum(part.skipped for part in parts),
        seconds=max(part.seconds for part in parts),
    )


def closing_line(results: Iterable[Result], seconds: float) -> str:
    """Add all floors up in the words of pytest's own last line."""
    total = list(results)
    counts = {
        "failed": sum(each.failed for each in total),
        "passed": sum(each.passed for each in total),
        "skipped": sum(each.skipped for each in total),
    }
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no tests ran"
    return f" {words} in {seconds:.2f}s ".center(80, "=")


def set_up(floors: Sequence[str]) -> None:
    """Have what these floors need on this machine."""
    if any(floor not in WITHOUT_DOCKER for floor in floors):
        engine.ensure()
        images.ensure()
    if any(floor in WITH_BROWSER for floor in floors):
        chromium.ensure()
    if any(floor in WITH_CERTIFICATES for floor in floors):
        pebble.ensure()
    if any(floor in WITH_HOST for floor in floors):
        hostimage.ensure()


def run(floor: str, number: int, paths: Sequence[str], keyword: str) -> Result:
    """Run one floor, or the part of it with this number, and read its report."""
    REPORTS_DIR.mkdir(parents=True, exist_ok=True)
    name = f"{floor}-{number}" if floor in PARTS else floor
    report = REPORTS_DIR / f"{name}.xml"
    report.unlink(missing_ok=True)
    detail = "-q" if floor in WITHOUT_DOCKER else "-v"
    argv = [sys.executable, "-m", "pytest", *paths, detail, f"--junit-xml={report}", "--durations=5"]
    argv += ["-k", keyword] if keyword else []
    say("test", f"floor {name} ...")
    started = time.monotonic()
    with subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        for line in running.stdout or ():
            print(f"{name:<13} | {line}", end="", flush=True)  # one call: lines of two floors never mix
    return _read(floor, running.returncode, report, time.monotonic() - started)


def _read(floor: str, status: int, report: Path, seconds: float) -> Result:
    if not report.is_file():
        return Result(floor, status, seconds=seconds)
    suites = list(ET.parse(report).getroot().iter("testsuite"))

    def count(name: str) -> int:
        return sum(int(suite.get(name, "0")) for suite in suites)

    failed, skipped = count("failures") + count("errors"), count("skipped")
    passed = max(0, count("tests") - failed - skipped)
    return Result(floor, status, passed=passed, failed=failed, skipped=skipped, seconds=seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run by `make test`."""
    parser = argparse.ArgumentParser(prog="python -m tools.floors", description="Run the tests floor by floor.")
    parser.add_argument("--floor", default="", help="only these, separated by commas")
    parser.add_argument("-k", default="", help="only tests whose names match, as in pytest")
    options = parser.parse_args(arguments)
    try:
        floors = chosen(options.floor, existing())
        say("test", f"floors, {AT_ONCE} at a time: {', '.join(in_turn(floors)) or 'none has tests'}")
        set_up(floors)
    except SetupError as error:
        say("test", f"cannot go on: {error}")
        return 1
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        runs = [
            [pool.submit(run, floor, number, paths, options.k) for number, paths in enumerate(parts_of(floor), start=1)]
            for floor in in_turn(floors)
        ]
        results = [whole([part.result() for part in parts]) for parts in runs]
    seconds = time.monotonic() - started
    return _tell(results, seconds, in_ci=os.environ.get("CI", "") not in ("", "0", "false"), narrowed=bool(options.k))


def _tell(results: Sequence[Result], seconds: float, *, in_ci: bool, narrowed: bool) -> int:
    print()
    bad = not any(each.ran for each in results)
    for each in results:
        problem = each.problem(in_ci=in_ci, narrowed=narrowed)
        bad = bad or problem is not None
        counts = f"{each.passed:5} passed {each.failed:4} failed {each.skipped:4} skipped {each.seconds:8.1f} s"
        print(f"{each.floor:<12} {counts}  {problem or ('ok' if each.ran else 'nothing to run')}")
    print(closing_line(results, seconds), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
