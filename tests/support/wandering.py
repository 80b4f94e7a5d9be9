"""A repository that somebody changes at random, in every way that git can tell apart; the same seed, the same history.

Rules of `develop.watch` are always true ones: they copy files to where the Dockerfile copies them too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.gitserver import Content, Program, Symlink

File = Content | Symlink | Program

BROKEN = "src/broken"  # where this is, `web` does not start
KEPT = "conf/keep.ini"  # mounted by itself

_PATHS = (
    "src/a.py",
    "src/b.tmp",
    "src/lib/c.txt",
    "src/lib/deep/d.txt",
    "src/lib",
    "src/odd ' name\".txt",
    "src/ünder.txt",
    "conf/x.ini",
    "conf/run.sh",
    "conf/d/odd ' name\".ini",
    "assets/app.css",
    "assets/img/logo.bin",
    "assets",
    "notes.md",
)
_LINKS = ("a.py", "lib", "lib/c.txt", "nowhere", "../conf/x.ini", "../notes.md")
_NEVER_GONE = frozenset({"compose.yaml", "Dockerfile", ".dockerignore", "pkg.json", "src/keep.txt", KEPT})

_IGNORES = (
    "",
    "*.md\n",
    "**/*.tmp\n",
    "src/lib\n!src/lib/c.txt\n",
    "assets/*\n.dockerignore\n",
    "Dockerfile\n**/*.ini\n!conf/keep.ini\n",
)
_TUNED: dict[str, Any] = {"action": "sync+restart", "path": "./conf", "target": "/app/conf"}
_RULES: tuple[dict[str, Any], ...] = (
    {"action": "sync", "path": "./src", "target": "/app/src"},
    {"action": "sync", "path": "./src", "target": "/app/src", "ignore": ["lib/"]},
    {"action": "sync", "path": "./src", "target": "/app/src/", "ignore": ["*.tmp", "**/d.txt"]},
    _TUNED,
    {"action": "sync+restart", "path": f"./{KEPT}", "target": f"/app/{KEPT}"},
    {"action": "rebuild", "path": "./pkg.json"},
    {"action": "sync+restart", "path": "./src/", "target": "/app/src/"},
)
_WHOLE_RULES: tuple[dict[str, Any], ...] = (
    {"action": "sync", "path": ".", "target": "/app"},
    {"action": "sync", "path": ".", "target": "/app", "ignore": ["pkg.json", "conf/"]},
    {"action": "sync", "path": "./assets", "target": "/app/assets"},
)
_WHOLE = (
    "WORKDIR /app\nCOPY . .\n",
    "WORKDIR /app/src\nCOPY . /app\n",
    "COPY pkg.json /app/\nRUN cp /app/pkg.json /built.json\nCOPY . /app/\n",
    "COPY conf /app/conf\nCOPY . /app\nRUN cat /app/pkg.json > /built.json\n",
    "WORKDIR /app\nCOPY --chown=1000:1000 . .\n",
    "COPY --chmod=0755 . /app\n",
    "COPY . /in\nFROM busybox:1.37\nCOPY --from=first /in /app\n",
)
_PARTIAL = (
    "COPY src /app/src\nCOPY conf /app/conf/\nCOPY pkg.json /app/\n",
    "WORKDIR /app\nCOPY pkg.json ./\nRUN mkdir src && echo made > src/made.txt\nCOPY src src\nCOPY conf/ conf\n",
)


@dataclass
class Wanderer:
    """`files` is the repository now. `whole`: all of it goes into the image, not only some folders."""

    random: random.Random
    whole: bool
    files: dict[str, File] = field(default_factory=dict)
    _past: list[dict[str, File]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.files = {"src/keep.txt": "kept\n", KEPT: "kept\n", "pkg.json": "{}\n"}
        for change in (self._dockerfile, self._ignore, self._rules, self._write):
            change()

    def wander(self) -> str:
        """Change something, now and then more than that; in words, what."""
        self._past.append(dict(self.files))
        moves: dict[Callable[[], str], int] = {
            self._write: 8,
            self._tune: 8,
            self._delete: 4,
            self._toggle: 3,
            self._rename: 3,
            self._link: 3,
            self._empty: 2,
            self._return: 2,
            self._break: 1,
            self._ignore: 1,
            self._dockerfile: 1,
            self._rules: 1,
        }
        chosen = self.random.choices(list(moves), list(moves.values()), k=self.random.choice((1, 1, 2, 3)))
        if BROKEN in self.files:
            del self.files[BROKEN]
        return "; ".join(move() for move in chosen)

    # -- one change each ---------------------------------------------------------------------------------------

    def _write(self) -> str:
        paths = self.random.sample(_PATHS, k=self.random.choice((1, 1, 2, 4)))
        for path in paths:
            self._put(path, self._content())
        return f"write {paths}"

    def _tune(self) -> str:
        """Nothing but what `web`, which people reach, is restarted for."""
        paths = self.random.sample([path for path in _PATHS if path.startswith("conf/")], k=self.random.choice((1, 2)))
        for path in paths:
            self._put(path, self._content())
        return f"tune {paths}"

    def _delete(self) -> str:
        there = self._loose()
        paths = self.random.sample(there, k=min(len(there), self.random.choice((1, 2))))
        for path in paths:
            del self.files[path]
        return f"delete {paths}"

    def _toggle(self) -> str:
        """Only the mode."""
        paths = [path for path in self._loose() if isinstance(self.files[path], str | Program)]
        if not paths:
            return "nothing to make executable"
        path = self.random.choice(paths)
        file = self.files[path]
        self.files[path] = file.text if isinstance(file, Program) else Program(str(file))
        return f"toggle {path}"

    def _rename(self) -> str:
        there = self._loose()
        if not there:
            return "nothing to rename"
        path, to = self.random.choice(there), self.random.choice(_PATHS)
        self._put(to, self.files.pop(path))
        return f"rename {path} to {to}"

    def _link(self) -> str:
        path, to = self.random.choice([path for path in _PATHS if path.startswith("src/")]), self.random.choice(_LINKS)
        if path.count("/") > 1:
            to = "c.txt"
        self._put(path, Symlink(to))
        return f"link {path} to {to}"

    def _empty(self) -> str:
        folder = self.random.choice(("src/lib", "assets", "assets/img", "src", "conf"))
        for path in [path for path in self._loose() if path.startswith(f"{folder}/")]:
            del self.files[path]
        return f"empty {folder}"

    def _return(self) -> str:
        self.files = dict(self.random.choice(self._past[-4:]))
        self.files.pop(BROKEN, None)
        return "return to what was"

    def _break(self) -> str:
        self.files[BROKEN] = "so that a service fails\n"
        return "break"

    def _ignore(self) -> str:
        self.files[".dockerignore"] = self.random.choice(_IGNORES)
        return f"ignore {self.files['.dockerignore']!r}"

    def _dockerfile(self) -> str:
        steps = self.random.choice(_WHOLE if self.whole else _PARTIAL)
        self.files["Dockerfile"] = f"FROM busybox:1.37 AS first\n{steps}"
        return f"build {steps!r}"

    def _rules(self) -> str:
        known = (*_RULES, *(_WHOLE_RULES if self.whole else ()))
        chosen = {name: self.random.sample(known, k=self.random.choice((1, 1, 2, 3))) for name in ("web", "job")}
        if _TUNED not in chosen["web"]:
            chosen["web"].append(_TUNED)
        self.files["compose.yaml"] = _compose(chosen)
        return f"rules {json.dumps(chosen)}"

    # -- details -----------------------------------------------------------------------------------------------

    def _loose(self) -> list[str]:
        return sorted(set(self.files) - _NEVER_GONE)

    def _put(self, path: str, file: File) -> None:
        """Folders and files make room for each other, but for what must stay."""
        if any(other.startswith(f"{path}/") for other in _NEVER_GONE):
            return
        for other in list(self.files):
            if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
                del self.files[other]
        self.files[path] = file

    def _content(self) -> File:
        self._count += 1
        text = f"take {self._count}\n"
        return self.random.choice((text, text, text, Program(f"#!/bin/sh\n# {text}"), "", text * 20_000))


def lay_out(files: Mapping[str, File], folder: Path) -> None:
    """As a clone lays a revision out, for whoever builds by hand."""
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file, Symlink):
            path.symlink_to(file.target)
            continue
        data = file.text if isinstance(file, Program) else file
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(0o755 if isinstance(file, Program) else 0o644)


def _compose(rules: Mapping[str, list[dict[str, Any]]]) -> str:
    """JSON is YAML."""
    built = {"build": ".", "init": True}
    services = {
        "web": {
            **built,
            "command": ["sh", "-c", f"test ! -e /app/{BROKEN} && exec httpd -f -p 8080 -h /app"],
            "ports": ["8080"],
        },
        "job": {**built, "command": "sleep infinity"},
        "mounted": {
            "image": "busybox:1.37",
            "init": True,
            "command": "sleep infinity",
            "volumes": ["./src:/src", f"./{KEPT}:/etc/keep.ini"],
        },
    }
    for name, chosen in rules.items():
        if chosen:
            services[name]["develop"] = {"watch": chosen}
    return json.dumps({"services": services}, indent=1) + "\n"
