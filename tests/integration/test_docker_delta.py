"""A delta image is the image that a build of the same files gives, or it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.errors import CancelledError, NeedsRebuild
from agent.model.sync import FileContent
from agent.runtime.cancel import CancelToken
from tests.support.builders import Builders, Content, Image, Link, Program, Repository
from tests.support.synced import file, gone, link

pytestmark = pytest.mark.docker

RECIPE = """\
FROM busybox:1.37
RUN mkdir -m 700 /app && mkdir -m 770 /app/kept && chown 7:8 /app/kept
VOLUME /data
WORKDIR /app
COPY . .
ENV GREETING="hello world"
USER 1000:1000
EXPOSE 8080
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s CMD ["true"]
ENTRYPOINT ["httpd", "-f"]
CMD ["-p", "8080"]
"""
BEFORE: dict[str, Content] = {
    "Dockerfile": RECIPE,
    "a.txt": "a\n",
    "kept/a.txt": "a\n",
    "lib/run.sh": "#!/bin/sh\n",
    "lib/link": Link("run.sh"),
    "lib/turned": Link("run.sh"),
}
ODD = ("odd ' name\".txt", "ünder.txt", "$HOME", "back\\slash", "-dash", f"{'long' * 40}/{'name' * 40}.txt")


@pytest.fixture
def builders(tmp_path: Path) -> Iterator[Builders]:
    with Builders(tmp_path / "scratch") as builders:
        yield builders


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def contents(files: Mapping[str, Content]) -> list[FileContent]:
    found = []
    for name, content in files.items():
        if isinstance(content, Link):
            found.append(link(f"/app/{name}", content.target))
        elif isinstance(content, Program):
            found.append(file(f"/app/{name}", content.text, program=True))
        else:
            found.append(file(f"/app/{name}", content or ""))
    return found


def delta(builders: Builders, base: str, files: list[FileContent], *, cancel: CancelToken | None = None) -> str:
    tag = f"{builders.name}:delta"
    builders.engine.delta(base, files, tag=tag, cancel=cancel or CancelToken(), timeout_s=60)
    return tag


def both(builders: Builders, repository: Repository, *steps: Mapping[str, Content]) -> tuple[Image, Image]:
    """What a delta image on the build of the first files is, one on top of the other, and what a build is."""
    repository.commit(BEFORE)
    base = builders.by_engine(repository)
    for number, files in enumerate(steps):
        base = delta(builders, base, contents(files))
        builders.client.tag(base, builders.name, f"step{number}")
        base = f"{builders.name}:step{number}"
        repository.commit(files)
    return builders.image(base), builders.image(builders.by_engine(repository))


def test_it_is_what_a_build_gives(builders: Builders, repository: Repository) -> None:
    """Folders that were there keep owner and mode, those that were not are as `COPY` makes them."""
    changed: dict[str, Content] = {
        "a.txt": "other\n" * 100_000,
        "kept/a.txt": "",
        "lib/run.sh": Program("#!/bin/sh\ntrue\n"),
        "lib/link": Link("../a.txt"),
        "lib/turned": "a file now\n",
        "a-link": Link("nowhere at all"),
        "new/deep/er.txt": "new\n",
        **dict.fromkeys(ODD, "odd\n"),
    }
    found, wanted = both(builders, repository, changed)
    assert found.files == wanted.files
    assert found.config == wanted.config


def test_one_can_stand_on_another(builders: Builders, repository: Repository) -> None:
    found, wanted = both(builders, repository, {"a.txt": "b\n", "b/c.txt": "b\n"}, {"a.txt": "c\n", "b/d.txt": "c\n"})
    assert found.files == wanted.files
    assert found.config == wanted.config


def test_a_program_that_no_longer_is_one(builders: Builders, repository: Repository) -> None:
    found, wanted = both(builders, repository, {"lib/run.sh": Program("x\n")}, {"lib/run.sh": "x\n"})
    assert found.files == wanted.files


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([gone("/app/a.txt")], "goes away"),
        ([file("/data/a.txt", "a")], "in a volume"),
        ([file("/app/../a.txt", "a")], "is no path"),
    ],
)
def test_what_a_layer_cannot_hold_is_refused(
    builders: Builders, repository: Repository, files: list[FileContent], why: str
) -> None:
    repository.commit(BEFORE)
    base = builders.by_engine(repository)
    with pytest.raises(NeedsRebuild, match=why):
        delta(builders, base, files)


def test_a_base_whose_triggers_a_build_would_run_is_refused(builders: Builders, repository: Repository) -> None:
    repository.commit({"Dockerfile": "FROM busybox:1.37\nONBUILD RUN touch /triggered\n"})
    base = builders.by_engine(repository)
    with pytest.raises(NeedsRebuild, match="ONBUILD"):
        delta(builders, base, [file("/a.txt", "a")])


def test_a_base_that_is_not_there_is_refused(builders: Builders) -> None:
    with pytest.raises(NeedsRebuild, match="There is no image"):
        delta(builders, f"{builders.name}:absent", [file("/a.txt", "a")])


def test_a_folder_in_the_way_is_refused(builders: Builders, repository: Repository) -> None:
    """Below a file there is no place for another."""
    repository.commit(BEFORE)
    base = builders.by_engine(repository)
    with pytest.raises(NeedsRebuild):
        delta(builders, base, [file("/app/a.txt/b.txt", "a")])


def test_a_cancelled_one_leaves_no_image(builders: Builders, repository: Repository) -> None:
    repository.commit(BEFORE)
    base = builders.by_engine(repository)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(CancelledError):
        delta(builders, base, [file("/app/a.txt", "b")], cancel=cancel)
    assert builders.engine.image_id(f"{builders.name}:delta") is None
