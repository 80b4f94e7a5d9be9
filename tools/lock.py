"""Resolves `requirements/*.in` into `*.txt` with a version and hashes for everything, and no address of any index."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tools.console import say

REQUIREMENTS_DIR = Path(__file__).resolve().parent.parent / "requirements"
# Each may use the one before it as its constraint.
NAMES = ("runtime", "dev", "bootstrap")


def address_in(text: str) -> str | None:
    """Return the first line that names a host, which a lock must never do, or None."""
    return next(
        (line for line in text.splitlines() if re.search(r"\w+://|^--(index|extra-index|find-links)", line)), None
    )


def main() -> int:
    """Run by `make lock` in the virtual environment."""
    for name in NAMES:
        say("lock", f"requirements/{name}.in -> {name}.txt")
        argv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--upgrade", "--universal"]
        argv += ["--python-version", "3.11", "--generate-hashes", "--no-header", "-o", f"{name}.txt", f"{name}.in"]
        done = subprocess.run(argv, cwd=REQUIREMENTS_DIR, env={**os.environ, "UV_NO_CONFIG": "1"}, check=False)
        if done.returncode != 0:
            return done.returncode
        bad = address_in((REQUIREMENTS_DIR / f"{name}.txt").read_text(encoding="utf-8"))
        if bad:
            say("lock", f"{name}.txt names a host, which must not be committed: {bad}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
