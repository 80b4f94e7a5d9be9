"""Changes, and facts about a revision, in few words: "M app/a.py" instead of a dataclass with five fields."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent.adapters.docker.dockerfile import scan
from agent.adapters.docker.ignore import Ignore
from agent.model.change import FOLDER, SUBMODULE, SYMLINK, Change, Kind
from agent.model.release import BindMount, BuildSpec, ExecHook, Release, ServiceSpec, WatchAction, WatchRule
from agent.planning.changes import Facts, decide
from tests.support.plans import release, service

FILE = "100644"
PROGRAM = "100755"


def change(text: str) -> Change:
    """One line.

    "A p", "M p" and "D p" are git's letters; "x p" makes it executable; "L p -> to" adds a link; "T p -> to" turns a
    file into one; "U p" turns a link into a file; "G p" moves a submodule, "-G p" removes one, "+G p" adds one.
    """
    letter, _, rest = text.partition(" ")
    path, _, _ = rest.partition(" -> ")
    blob = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    kind, mode, old_mode = {
        "A": (Kind.ADDED, FILE, ""),
        "M": (Kind.MODIFIED, FILE, FILE),
        "x": (Kind.MODIFIED, PROGRAM, FILE),
        "D": (Kind.DELETED, "", FILE),
        "L": (Kind.ADDED, SYMLINK, ""),
        "-L": (Kind.DELETED, "", SYMLINK),
        "T": (Kind.RETYPED, SYMLINK, FILE),
        "U": (Kind.RETYPED, FILE, SYMLINK),
        "G": (Kind.MODIFIED, SUBMODULE, SUBMODULE),
        "+G": (Kind.ADDED, SUBMODULE, ""),
        "-G": (Kind.DELETED, "", SUBMODULE),
    }[letter]
    return Change(path, kind, mode, blob if mode else "", old_mode)


@functools.cache
def _ignore(patterns: tuple[str, ...]) -> Ignore:
    return Ignore("\n".join(patterns))


def matches(patterns: tuple[str, ...], path: str) -> bool:
    """As Docker reads `.dockerignore`."""
    return _ignore(patterns).excludes(path)


def facts(
    *texts: str,
    dockerfiles: Mapping[str, str] | None = None,
    dockerignore: str = "",
    folders: tuple[str, ...] = (),
    links: tuple[str, ...] = (),
    stood: tuple[str, ...] = (),
) -> Facts:
    """What the wanted revision says. `texts` are the changes: links among them say where they lead."""
    leads = {text.split(" ")[1]: text.partition(" -> ")[2] for text in texts if " -> " in text}
    ignore = Ignore(dockerignore)

    def mode(path: str) -> str:
        return FOLDER if path in folders else SYMLINK if path in links else FILE

    def recipe(name: str) -> tuple[object, ...] | None:
        text = (dockerfiles or {}).get(name)
        return scan(text) if text is not None else None

    return Facts(
        ignored=lambda _, path: ignore.excludes(path),
        dockerfile=recipe,  # type: ignore[arg-type]
        matches=matches,
        mode=mode,
        readlink=lambda path: leads[path],
        stood=lambda folder: folder in stood,
    )


def stack(*services: ServiceSpec, inputs: tuple[str, ...] = ("compose.yaml", ".env")) -> Release:
    return replace(release(*services), inputs=inputs)


def built(
    name: str,
    *rules: WatchRule,
    context: str = ".",
    build: Mapping[str, object] | None = None,
    **changes: object,
) -> ServiceSpec:
    """A service with a build. `build` are fields of BuildSpec, `changes` fields of ServiceSpec."""
    spec = BuildSpec(context=context, dockerfile="Dockerfile", raw={"context": context})
    return service(name, build=replace(spec, **(build or {})), watch=rules, **changes)  # type: ignore[arg-type]


def rule(text: str, **changes: object) -> WatchRule:
    """ "sync ./app -> /srv/app" or "rebuild ./package.json"."""
    action, _, rest = text.partition(" ")
    path, _, target = rest.partition(" -> ")
    found = WatchRule(path.removeprefix("./") or ".", WatchAction(action), target)
    hook = ExecHook(("npm", "run", "css")) if action == "sync+exec" else None
    return replace(found, **{"exec": hook, **changes})  # type: ignore[arg-type]


def mount(text: str) -> BindMount:
    """ "./src -> /app", with "file " before it for a single file."""
    is_file = text.startswith("file ")
    source, _, target = text.removeprefix("file ").partition(" -> ")
    return BindMount(source.removeprefix("./") or ".", target, is_file)


@dataclass(frozen=True)
class Case:
    """One row of a table: what changed, and the plan as it is to print."""

    title: str
    services: tuple[ServiceSpec, ...]
    changes: tuple[str, ...]
    plan: str
    facts: Mapping[str, object]

    @property
    def decision(self) -> str:
        known = facts(*self.changes, **self.facts)  # type: ignore[arg-type]
        return str(decide([change(text) for text in self.changes], stack(*self.services), known))


def case(
    title: str, services: ServiceSpec | tuple[ServiceSpec, ...], *changes: str, plan: str, **known: object
) -> Case:
    """`known` is what `facts` takes."""
    return Case(title, services if isinstance(services, tuple) else (services,), changes, plan, known)


# What plans say of the examples below.
SYNC = "sync 1 file to web\n  {}: watch rule ./app -> /srv/app"
BUILD = "rebuild {}\n  {}: it goes into the image"
AGAIN = "{}: the compose model is read again\n"
THERE = "check out 1 file that dev mounts\n  {}: already there: the checkout is mounted at /app"
DOUBT = "rebuild dev\n  {}: it goes into the image, and a step of the build may read it"

WEB = built(
    "web",
    rule("sync ./app -> /srv/app", ignore=("node_modules/", "**/*.tmp")),
    rule("sync+restart ./config -> /srv/config"),
    rule("sync+exec ./css -> /srv/css"),
    rule("rebuild ./requirements.txt"),
    rule("restart ./motd"),
)
API = built("api", context="api")
NODE = """\
FROM node:20-slim AS base
WORKDIR /app
COPY package*.json ./
RUN npm ci
FROM base
COPY . .
CMD ["npm", "run", "dev"]
"""
DEV = built("dev", binds=(mount(". -> /app"),), other_mounts=("/app/node_modules",))
PHP = service("php", binds=(mount("./src -> /var/www/html"), mount("file ./php.ini -> /etc/php.ini")))
DB = service("db", binds=(mount("./sql -> /docker-entrypoint-initdb.d"),), other_mounts=("/var/lib/mysql",))
