"""Checks what the documents promise against what is there: links inside the repository, and `make` commands."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def documents(root: Path = ROOT) -> tuple[Path, ...]:
    """Return the documents of the repository: those at its top, in docs/, and beside what they describe."""
    folders = ("docs", "systemd", "tests", "bench")
    found = [*root.glob("*.md"), *(path for folder in folders for path in (root / folder).rglob("*.md"))]
    return tuple(sorted(found))


def targets(makefile: str) -> frozenset[str]:
    """Return the commands that the Makefile offers."""
    return frozenset(re.findall(r"^([a-z]+):.*##", makefile, flags=re.MULTILINE))


def problems(document: Path, text: str, commands: frozenset[str]) -> tuple[str, ...]:
    """Return one line for each link to a file that is not there and each `make` command that does not exist."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if not re.match(r"[a-z]+:", link) and not (document.parent / link).exists():
                found.append(f"{document}:{number}: the link {link} leads nowhere")
        for command in re.findall(r"`make ([a-z]+)", line):
            if command not in commands:
                found.append(f"{document}:{number}: there is no `make {command}`")
    return tuple(found)


def main() -> int:
    """Run by `make check`."""
    commands = targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    pages = documents()
    found = [line for page in pages for line in problems(page, page.read_text(encoding="utf-8"), commands)]
    print("\n".join(found) or f"{len(pages)} documents hold what they promise")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
