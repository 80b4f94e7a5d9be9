"""Both builders make the same image, and fail in the same cases: the Engine API, and the Compose plugin.

Each case is built twice, some three times: the first build of a repository, one with a few changes and one in
which something went take different ways through the Engine API.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.errors import AgentError, DeployError, OutsideError, SessionNeeded
from tests.support.builders import Builders, Content, Link, Program, Repository

pytestmark = pytest.mark.docker

BASE = "FROM busybox:1.37\n"
COMMON: Mapping[str, Content] = {
    **{f"app/part{at:02d}.txt": f"part {at}\n" for at in range(16)},
    "app/main.txt": "main\n",
    "app/other.txt": "other\n",
    "app/deep/er/file.txt": "deep\n",
    "package.json": "{}\n",
    "run.sh": Program("#!/bin/sh\necho run\n"),
    "notes.log": "a log\n",
}
CHANGED: Mapping[str, Content] = {
    "app/main.txt": "main, changed\n",
    "app/deep/new.txt": "new\n",
    "run.sh": Program("#!/bin/sh\n"),
}
REMOVED: Mapping[str, Content] = {"app/other.txt": None, "app/part03.txt": "three\n"}


@dataclass(frozen=True)
class Case:
    """A Dockerfile, what else the repository holds, and the compose file's `build:` section."""

    dockerfile: str = ""
    files: Mapping[str, Content] = field(default_factory=dict)
    build: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "copies-everything": Case(BASE + "WORKDIR /srv\nCOPY . .\n"),
    "copies-step-by-step": Case(
        BASE
        + "WORKDIR /srv\nCOPY package.json ./\nRUN wc -c package.json > size\nCOPY app app\n"
        + "COPY run.sh /bin/run\nRUN ls app > list\n"
    ),
    "several-stages": Case(
        BASE.replace("\n", " AS make\n")
        + "COPY app /app\nRUN cat /app/*.txt > /all\n"
        + "FROM busybox:1.37\nCOPY --from=make /all /srv/all\nCOPY run.sh /srv/\n"
    ),
    "a-target": Case(
        "FROM busybox:1.37 AS first\nCOPY app /app\nFROM first AS second\nRUN touch /second\nFROM second\n"
        "RUN touch /third\n",
        build={"target": "second"},
    ),
    "stages-by-number": Case(
        "FROM busybox:1.37\nCOPY app /app\nFROM busybox:1.37\nCOPY --from=0 /app/main.txt /\nCOPY . /all\n"
    ),
    "arguments": Case(
        "ARG BASE=busybox:1.37\nFROM $BASE\nARG WHO=nobody\nARG WHERE\nENV WHO=$WHO\nRUN echo $WHO > /who\n"
        "COPY app $WHERE/\n",
        build={"args": {"WHO": "everybody", "WHERE": "/there"}},
    ),
    "a-variable-source": Case(BASE + "ARG WHAT=app\nCOPY $WHAT /what\n", build={"args": {"WHAT": "app/deep"}}),
    "a-cache-mount": Case(
        BASE
        + "COPY package.json /\nRUN --mount=type=cache,target=/cache \\\n    cat /package.json > /seen\nCOPY . /srv\n"
    ),
    "a-bind-mount": Case(
        BASE
        + "WORKDIR /srv\nRUN --mount=type=bind,source=package.json,target=package.json \\\n"
        + "    --mount=type=bind,source=app,target=/mnt \\\n    cat package.json /mnt/main.txt > seen\n"
        + "COPY --chown=1000:1000 . .\n"
    ),
    "heredocs": Case(
        BASE
        + "RUN <<EOF\necho one > /one\necho two > /two\nEOF\nCOPY <<one.txt <<two.txt /made/\nfirst\none.txt\n"
        + "second\ntwo.txt\nCOPY . /srv\n"
    ),
    "copy-link": Case(BASE + "COPY --link app /app\nCOPY --link run.sh package.json /srv/\n"),
    "copy-chmod-and-chown": Case(
        BASE + "COPY --chmod=0700 run.sh /bin/run\nCOPY --chown=33:44 app /app\nCOPY --chown=daemon . /srv\n"
    ),
    "wildcards": Case(BASE + "COPY app/*.txt /texts/\nCOPY pack*.json run.s? /srv/\n"),
    "the-json-form": Case(
        BASE
        + 'COPY ["app", "/with space/app"]\nCOPY ["package.json", "run.sh", "/srv/"]\n'
        + 'ENTRYPOINT ["/srv/run.sh"]\nCMD ["a", "b"]\n'
    ),
    "dockerignore": Case(BASE + "COPY . /srv\n", {".dockerignore": "*.log\napp/deep\n# nothing\n\n/package.json\n"}),
    "dockerignore-with-exceptions": Case(
        BASE + "COPY . /srv\n",
        {
            ".dockerignore": "**\n!app\napp/*\n!app/part0?.txt\n!app/main.txt\n!run.sh\n!**/file.txt\napp/part01.txt\n",
            "app/.hidden": "x\n",
            "App/Main.txt": "another case\n",
        },
    ),
    "the-dockerfiles-own-dockerignore": Case(
        files={
            "docker/web.Dockerfile": BASE + "COPY . /srv\n",
            "docker/web.Dockerfile.dockerignore": "app/part*\n!app/part11.txt\n",
            ".dockerignore": "run.sh\n",
        },
        build={"dockerfile": "docker/web.Dockerfile"},
    ),
    "an-ignored-dockerfile": Case(
        BASE + "COPY . /srv\nRUN ls -a /srv > /listed\n",
        {".dockerignore": "**/Dockerfile*\n**/.dockerignore\n**/compose.y*ml\n**/.git\n.git*\n", "compose.yaml": "x"},
    ),
    "an-inline-dockerfile": Case(
        build={"dockerfile_inline": BASE + "COPY . /srv\nRUN cat /srv/app/main.txt > /seen\n"}
    ),
    "links-modes-and-long-names": Case(
        BASE + "COPY . /srv\n",
        {
            "app/link": Link("main.txt"),
            "app/dangling": Link("../nowhere"),
            "to-deep": Link("app/deep"),
            "bin/tool": Program("#!/bin/sh\n"),
            "grüße/naïve file.txt": "ü\n",
            "/".join(["a-rather-long-folder-name"] * 8) + "/and-a-file-with-a-long-name-in-it.txt": "long\n",
            "n" * 200: "a long name\n",
            "long-link": Link("x" * 150),
        },
    ),
    "a-context-below-the-root": Case(
        files={
            "web/Dockerfile": BASE + "COPY . /srv\n",
            "web/index.txt": "hello\n",
            "web/.dockerignore": "*.tmp\n",
            "web/a.tmp": "x",
        },
        build={"context": "web"},
    ),
    "everything-that-configures": Case(
        BASE
        + 'ENV A=1 B="two words"\nLABEL some.label="of mine"\nEXPOSE 80 53/udp\nVOLUME /data\nUSER daemon\n'
        + "WORKDIR /srv\nSTOPSIGNAL SIGQUIT\n"
        + "HEALTHCHECK --interval=5s --retries=2 CMD true\nONBUILD COPY . /onbuild\n"
        + 'SHELL ["/bin/sh", "-ec"]\nCMD echo hello\nCOPY app /app\n'
    ),
    "add-unpacks": Case(BASE + "ADD app /app\nADD package.json /srv/\n"),
    "comments-and-continuations": Case(
        "# escape=\\\n# a comment\nFROM busybox:1.37\n\nRUN echo a && \\\n  # in between\n\n  echo b > /b\n"
        "copy app \\\n  /app\n"
    ),
    "from-scratch": Case("FROM scratch\nCOPY app /\nCOPY run.sh /bin/run\n"),
}

AND_SOMETHING_WENT = (
    "copies-everything",
    "copies-step-by-step",
    "an-ignored-dockerfile",
    "dockerignore-with-exceptions",
)


@pytest.fixture
def builders(tmp_path: Path) -> Iterator[Builders]:
    with Builders(tmp_path / "scratch") as builders:
        yield builders


@pytest.mark.parametrize("name", CASES)
def test_both_builders_make_the_same_image(builders: Builders, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    repository = Repository(tmp_path / "repository")
    dockerfile = {"Dockerfile": case.dockerfile} if case.dockerfile else {}
    removed = [REMOVED] if name in AND_SOMETHING_WENT else []
    for change in ({**COMMON, **case.files, **dockerfile}, CHANGED, *removed):
        repository.commit(change)
        ours = builders.image(builders.by_engine(repository, case.build))
        theirs = builders.image(builders.by_compose(repository, case.build))
        assert ours.files == theirs.files
        assert ours.config == theirs.config


def test_a_build_after_a_small_change_copies_only_what_changed(builders: Builders, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({**COMMON, "Dockerfile": BASE + "COPY . /srv\n"})
    builders.by_engine(repository)
    repository.commit({"app/main.txt": f"changed {secrets.token_hex(8)}\n"})  # BuildKit remembers other runs
    builders.by_engine(repository)
    everything, changed = (number for number in _numbers(builders.lines, "COPY . /srv"))
    assert f"{everything} CACHED" in builders.lines
    assert f"{changed} CACHED" not in builders.lines


def _numbers(lines: list[str], step: str) -> list[str]:
    return [line.partition(" ")[0] for line in lines if line.endswith(step)]


@pytest.mark.parametrize(
    ("dockerfile", "message", "line", "tail"),
    [
        (BASE + "COPY app /app\nRUN echo first; echo last words; exit 3\n", "exit code:? 3", "line 3", "last words"),
        (BASE + "COPY app /app\nRAN true\n", "unknown instruction: RAN", "", ""),
        (BASE + "COPY not-there /\n", "not-there", "line 2", ""),
        ("FROM busybox:0.0.1-missing\nCOPY app /app\n", "busybox:0.0.1-missing", "", ""),
    ],
    ids=["a-failing-step", "a-syntax-error", "a-missing-file", "a-missing-base-image"],
)
def test_both_builders_fail_alike_and_say_why(
    builders: Builders, tmp_path: Path, dockerfile: str, message: str, line: str, tail: str
) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({**COMMON, "Dockerfile": dockerfile})
    failures: list[AgentError] = []
    for build in (builders.by_engine, builders.by_compose):
        with pytest.raises((DeployError, OutsideError)) as caught:
            build(repository)
        failures.append(caught.value)
    ours, theirs = failures
    assert type(ours) is type(theirs)
    assert re.search(message, ours.message)
    assert re.search(message, theirs.message + "".join(getattr(theirs, "log_tail", ())))
    assert line in ours.hint
    if tail:
        assert isinstance(ours, DeployError)
        assert ours.log_tail[-1] == tail
    assert builders.engine.image_id(f"{builders.name}:engine") is None


@pytest.mark.parametrize(
    ("dockerfile", "files", "build"),
    [
        (BASE + "RUN --mount=type=secret,id=token cat /run/secrets/token\n", {}, {}),
        (BASE + "ADD . /srv\n", {".dockerignore": "Dockerfile\n"}, {}),
        (
            "",
            {"web/index.txt": "x", "Dockerfile": BASE + "COPY . /srv\n"},
            {"context": "web", "dockerfile": "../Dockerfile"},
        ),
    ],
    ids=["a-secret", "an-ignored-dockerfile-that-is-added", "a-dockerfile-outside"],
)
def test_what_only_compose_can_build_is_handed_over(
    builders: Builders, tmp_path: Path, dockerfile: str, files: Mapping[str, Content], build: Mapping[str, Any]
) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({**COMMON, **({"Dockerfile": dockerfile} if dockerfile else {}), **files})
    with pytest.raises(SessionNeeded):
        builders.by_engine(repository, build)
