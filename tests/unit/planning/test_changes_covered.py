"""Source that goes into an image and is mounted over it: what needs no build, and what does in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.model.release import Reload
from tests.support.changing import DEV, DOUBT, NODE, THERE, Case, built, case, mount


def dev(dockerfile: str, **known: object) -> Mapping[str, object]:
    return {"dockerfiles": {"dev": dockerfile}, **known}


COVERED = (
    case(
        "source that is copied last, where it is mounted", DEV, "M src/a.js", **dev(NODE), plan=THERE.format("src/a.js")
    ),
    case("new source", DEV, "A src/b.js", **dev(NODE), plan=THERE.format("src/b.js")),
    case("deleted source", DEV, "D src/b.js", **dev(NODE), plan=THERE.format("src/b.js")),
    case("what a step reads", DEV, "M package.json", **dev(NODE), plan=DOUBT.format("package.json")),
    case(
        "what a wildcard before a step reads",
        DEV,
        "M package-lock.json",
        **dev(NODE),
        plan=DOUBT.format("package-lock.json"),
    ),
    case(
        "a wildcard reads no folder below",
        DEV,
        "M src/package.json",
        **dev(NODE),
        plan=THERE.format("src/package.json"),
    ),
    case(
        "everything, and then a step",
        DEV,
        "M src/a",
        **dev("FROM a\nWORKDIR /app\nCOPY . .\nRUN make"),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a step that mounts the context",
        DEV,
        "M src/a",
        **dev("FROM a\nRUN --mount=type=bind,target=/x make\nWORKDIR /app\nCOPY . ."),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a step that mounts another file of it",
        DEV,
        "M src/a",
        **dev("FROM a\nRUN --mount=type=bind,source=go.mod,target=go.mod make\nWORKDIR /app\nCOPY . ."),
        plan=THERE.format("src/a"),
    ),
    case(
        "a step that mounts a cache",
        DEV,
        "M src/a",
        **dev("FROM a\nWORKDIR /app\nRUN --mount=type=cache,target=/root/.npm make\nCOPY . ."),
        plan=THERE.format("src/a"),
    ),
    case(
        "another stage that is copied from",
        DEV,
        "M src/a",
        **dev("FROM a AS b\nCOPY . /src\nRUN make\nFROM a\nCOPY --from=b /src/out /out"),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "another stage that is copied from, which reads something else",
        DEV,
        "M src/a",
        **dev("FROM a AS b\nCOPY go.mod /src/\nRUN make\nFROM a\nCOPY --from=b /src/out /out\nCOPY . /app"),
        plan=THERE.format("src/a"),
    ),
    case(
        "a stage that is copied from and is a base as well",
        DEV,
        "M src/a",
        **dev("FROM a AS b\nCOPY . /app\nFROM b AS c\nRUN make\nFROM b\nCOPY --from=c /out /out"),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a stage that nobody needs",
        DEV,
        "M src/a",
        **dev("FROM a AS test\nCOPY . /app\nRUN make test\nFROM a\nCOPY . /app"),
        plan=THERE.format("src/a"),
    ),
    case(
        "an earlier target",
        built("dev", binds=DEV.binds, build={"target": "DEV"}),
        "M src/a",
        **dev("FROM a AS dev\nWORKDIR /app\nCOPY . .\nFROM dev AS prod\nRUN make"),
        plan=THERE.format("src/a"),
    ),
    case(
        "a target that is not there",
        built("dev", binds=DEV.binds, build={"target": "x"}),
        "M src/a",
        **dev("FROM a\nCOPY . /app"),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "copied twice, once outside",
        DEV,
        "M src/a",
        **dev("FROM a\nCOPY . /app\nCOPY src /srv"),
        plan="rebuild dev\n  src/a: it goes into the image, outside of what is mounted",
    ),
    case(
        "copied to where a volume lies over the mount",
        DEV,
        "M mods/a",
        **dev("FROM a\nCOPY . /app\nCOPY mods /app/node_modules"),
        plan="rebuild dev\n  mods/a: it goes into the image, outside of what is mounted",
    ),
    case("a single file to a name", DEV, "M a.py", **dev("FROM a\nCOPY a.py /app/b.py"), plan=THERE.format("a.py")),
    case(
        "a single file to a folder",
        DEV,
        "M a.py",
        **dev("FROM a\nWORKDIR /app\nCOPY a.py b.py ./"),
        plan=THERE.format("a.py"),
    ),
    case(
        "a single file, perhaps beside the mount",
        built("dev", binds=(mount("./src -> /app"),)),
        "M src/a",
        **dev("FROM a\nCOPY src/a /"),
        plan="rebuild dev\n  src/a: it goes into the image, outside of what is mounted",
    ),
    case(
        "a working folder that the base image sets",
        DEV,
        "M src/a",
        **dev("FROM a\nCOPY . ."),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a working folder in parts",
        DEV,
        "M src/a",
        **dev("FROM scratch\nWORKDIR app\nCOPY . ."),
        plan=THERE.format("src/a"),
    ),
    case(
        "a variable in the destination",
        DEV,
        "M src/a",
        **dev("FROM a\nARG D=/app\nCOPY . $D"),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a variable in the source", DEV, "M src/a", **dev("FROM a\nARG D=x\nCOPY $D /app"), plan=DOUBT.format("src/a")
    ),
    case(
        "a variable in the working folder",
        DEV,
        "M src/a",
        **dev("FROM a\nWORKDIR /$D\nCOPY . ."),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a variable in the base",
        DEV,
        "M src/a",
        **dev("ARG V=3\nFROM python:${V:-3}-slim\nCOPY . /app"),
        plan=THERE.format("src/a"),
    ),
    case(
        "a variable that may be a stage",
        DEV,
        "M src/a",
        **dev("ARG B=x\nFROM a AS x\nCOPY . /y\nFROM ${B:-x}\nCOPY . /app"),
        plan=DOUBT.format("src/a"),
    ),
    case("a base with triggers", DEV, "M src/a", **dev("FROM python:3-onbuild"), plan=DOUBT.format("src/a")),
    case(
        "a base of ours with triggers",
        DEV,
        "M src/a",
        **dev("FROM a AS b\nONBUILD COPY . /x\nFROM b"),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a volume of the image under the mount",
        DEV,
        "M data/a",
        **dev("FROM a\nVOLUME /app/data\nCOPY . /app"),
        plan=DOUBT.format("data/a"),
    ),
    case("ADD may unpack a file", DEV, "M a.tgz", **dev("FROM a\nADD a.tgz /app/"), plan=DOUBT.format("a.tgz")),
    case("ADD of a folder copies", DEV, "M src/a", **dev("FROM a\nADD . /app"), plan=THERE.format("src/a")),
    case(
        "ADD of an address reads no file",
        DEV,
        "M src/a",
        **dev("FROM a\nADD https://example.com/a /app/\nCOPY . /app"),
        plan=THERE.format("src/a"),
    ),
    case(
        "a flag that is not known", DEV, "M src/a", **dev("FROM a\nCOPY --parents src /app"), plan=DOUBT.format("src/a")
    ),
    case(
        "owner and mode do not matter",
        DEV,
        "M src/a",
        **dev("FROM a\nCOPY --chown=1:1 --chmod=755 . /app"),
        plan=THERE.format("src/a"),
    ),
    case("the list form", DEV, "M src/a", **dev('FROM a\nCOPY ["src", "/app/src"]'), plan=THERE.format("src/a")),
    case(
        "a heredoc reads no file",
        DEV,
        "M src/a",
        **dev("FROM a\nCOPY <<EOF /app/x\nhello\nEOF\nCOPY . /app"),
        plan=THERE.format("src/a"),
    ),
    case(
        "a step in continued lines",
        DEV,
        "M src/a",
        **dev("FROM a\nCOPY . \\\n  /app\nRUN \\\n  make"),
        plan=DOUBT.format("src/a"),
    ),
    case(
        "a source that is a link to elsewhere",
        DEV,
        "M real/a",
        links=("cur",),
        **dev("FROM a\nCOPY cur /app/cur\nRUN make"),
        plan=DOUBT.format("real/a"),
    ),
    case("an instruction that nobody knows", DEV, "M src/a", **dev("FROM a\nINCLUDE x"), plan=DOUBT.format("src/a")),
    case("no FROM", DEV, "M src/a", **dev("COPY . /app"), plan=DOUBT.format("src/a")),
    case("an empty Dockerfile", DEV, "M src/a", **dev(""), plan=DOUBT.format("src/a")),
    case("a Dockerfile that cannot be had", DEV, "M src/a", plan=DOUBT.format("src/a")),
    case(
        "what is mounted and left out of the image",
        DEV,
        "M docs/a.md",
        dockerignore="docs",
        plan=THERE.format("docs/a.md"),
    ),
    case(
        "what goes in, but is hidden in the mount by a volume",
        DEV,
        "M node_modules/a",
        **dev("FROM a"),
        plan=DOUBT.format("node_modules/a"),
    ),
    case(
        "a mount beside the context",
        built("dev", context="app", binds=(mount("./conf -> /app/conf"),)),
        "M conf/a",
        plan="check out 1 file that dev mounts\n  conf/a: already there: the checkout is mounted at /app/conf",
    ),
    case(
        "a context inside of the mount",
        built("dev", context="app", binds=(mount(". -> /code"),)),
        "M app/a",
        **dev("FROM a\nCOPY . /code/app"),
        plan="check out 1 file that dev mounts\n  app/a: already there: the checkout is mounted at /code",
    ),
    case(
        "an additional context in the mount",
        built("dev", binds=DEV.binds, build={"raw": {"additional_contexts": {"l": "lib"}}}),
        "M lib/a",
        **dev("FROM a\nCOPY . /app"),
        plan=DOUBT.format("lib/a"),
    ),
    case(
        "a mounted file that goes into the image at the same place",
        built("dev", binds=(mount("file ./a.ini -> /etc/a.ini"),)),
        "M a.ini",
        **dev("FROM a\nCOPY a.ini /etc/a.ini"),
        plan="recreate dev\n  a.ini: it is mounted at /etc/a.ini, and a checkout replaces it",
    ),
    case(
        "a restart for source that is copied last",
        replace(DEV, reload=Reload.RESTART),
        "M src/a.js",
        **dev(NODE),
        plan="restart dev\n  src/a.js: already there: the checkout is mounted at /app",
    ),
)


@pytest.mark.parametrize("given", COVERED, ids=lambda given: given.title)
def test_a_build_is_saved_only_where_nothing_can_depend_on_it_for(given: Case) -> None:
    assert given.decision == given.plan
