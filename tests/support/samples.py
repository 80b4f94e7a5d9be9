"""The sample projects as files of a repository, and smaller ones where many environments or one defect are needed."""

from __future__ import annotations

from pathlib import Path

from tests.support.gitserver import Content
from tests.support.run import run_id

SAMPLES_DIR = Path(__file__).resolve().parents[1] / "samples"

_HTTPD = "httpd -f -p 8080 -h /www"
_RESTARTING = """\
services:
  web:
    build: .
    ports: ['8080']
    develop:
      watch:
        - {path: ./www, target: /www, action: sync+restart}
        - {path: ./live, target: /live, action: sync}
"""
_READS_ONCE = """\
FROM busybox:1.37
COPY www /www
COPY live /live
CMD ["sh", "-c", "mkdir /read && cp -r /www/. /read && exec httpd -f -p 8080 -h /read"]
"""


def sample(name: str) -> dict[str, Content]:
    """Every file of one sample project: `classic`, `team` or `site`."""
    root = SAMPLES_DIR / name
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def tiny(page: str = "one", *, compose: str = "", dockerfile: str = "", service: str = "") -> dict[str, Content]:
    """The smallest site: busybox serves one file. `service` is more YAML for its only service, indented by four."""
    return {
        "compose.yaml": compose or f"services:\n  web:\n    build: .\n    ports: ['8080']\n{service}",
        "Dockerfile": dockerfile or f"FROM busybox:1.37\nCOPY www /www\nCMD {_as_list(_HTTPD)}\n",
        "www/index.html": f"{page}\n",
    }


def slow_dockerfile(seconds: int) -> dict[str, Content]:
    """The Dockerfile of `tiny` whose build takes so long: also where an earlier run left its steps in the cache."""
    step = f"sleep {seconds} # {run_id()}"
    return {"Dockerfile": f"FROM busybox:1.37\nCOPY www /www\nRUN {step}\nCMD {_as_list(_HTTPD)}\n"}


def restarting() -> dict[str, Content]:
    """A site that reads its page once, so that only a restart shows another; its rules ask for one."""
    files = tiny("one", compose=_RESTARTING, dockerfile=_READS_ONCE)
    return {**files, "live/a.txt": "one\n", ".dockerignore": "*.md\n"}


def page(text: str) -> dict[str, Content]:
    """The change of `tiny` that people push."""
    return {"www/index.html": f"{text}\n"}


def _as_list(command: str) -> str:
    return "[" + ", ".join(f'"{word}"' for word in command.split()) + "]"
