"""The repository of 2,000 files that benchmarks use, about 10 MB: large enough that what grows with it shows."""

from __future__ import annotations

FILES = 2000
FOLDERS = 40
_SIZE = 5200


def modules() -> dict[str, str]:
    """Its source files."""
    return {path(at): f"VALUE_{at} = {at}\n" * (_SIZE // len(f"VALUE_{at} = {at}\n")) for at in range(FILES)}


def path(at: int) -> str:
    return f"pkg{at % FOLDERS:02d}/module{at:04d}.py"


def served(*, watched: bool = False) -> dict[str, str]:
    """A site on busybox that shows its own source; `watched`: with a rule that changed files are copied.

    With an init, for busybox alone as process 1 hears no SIGTERM: by hand, each replacement would wait ten seconds.
    """
    watch = "    develop: {watch: [{action: sync, path: ., target: /www}]}\n" if watched else ""
    return {
        **modules(),
        "index.html": "one\n",
        "compose.yaml": f"services:\n  web:\n    build: .\n    init: true\n    ports: ['8080']\n{watch}",
        "Dockerfile": 'FROM busybox:1.37\nCOPY . /www\nCMD ["httpd", "-f", "-p", "8080", "-h", "/www"]\n',
        ".dockerignore": ".git\n",
    }
