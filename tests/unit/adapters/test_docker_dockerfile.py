"""A Dockerfile's grammar as far as we need it, and what it becomes without its context."""

import pytest

from agent.adapters.docker.detach import StaleBase, TooHard, Tree, detach
from agent.adapters.docker.dockerfile import line_of, reads_context, scan

NOTHING = Tree()
BASE = Tree.of(["app/main.py", "app/other.py", "package.json", "link"], links=["link"])


def detached(text: str, *changed: str) -> str:
    return detach(text, context=BASE, delta=Tree.of(changed)).text


def test_instructions_are_found_across_continuations_comments_and_heredocs() -> None:
    text = "# syntax=x\nFROM a AS b\nRUN one \\\n  # no\n\n  two\nRUN <<END\nCOPY not me\nEND\ncopy --link x y\n"
    assert [(found.keyword, found.first + 1, found.last + 1) for found in scan(text)] == [
        ("FROM", 2, 2),
        ("RUN", 3, 6),
        ("RUN", 7, 9),
        ("COPY", 10, 10),
    ]


def test_another_escape_character_is_honoured() -> None:
    assert [found.keyword for found in scan("# escape=`\nFROM a\nRUN x `\n  COPY\nCMD y\n")] == ["FROM", "RUN", "CMD"]


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("[2/4] COPY app /app", 2),
        ("[3/4] RUN make it", 4),
        ("[3/4] COPY something", None),
        ("[internal] load metadata for x", None),
        ("exporting to image", None),
    ],
)
def test_a_step_is_found_by_its_number(step: str, line: int | None) -> None:
    assert line_of("FROM a\nCOPY app /app\nENV A=1\nRUN make it\nWORKDIR /x\n", step) == line


def test_a_step_of_a_stage_is_counted_in_its_stage() -> None:
    text = "FROM a AS build\nRUN one\nRUN two\nFROM b\nRUN three\nFROM build\nRUN four\n"
    assert line_of(text, "[build 3/3] RUN two") == 3
    assert line_of(text, "[stage-1 2/2] RUN three") == 5
    assert line_of(text, "[stage-2 1/1] RUN four") == 7


@pytest.mark.parametrize(
    ("instruction", "reads"),
    [
        ("COPY . .", True),
        ("COPY ./ /x", True),
        ("COPY Dockerfile /x", True),
        ("COPY Docker* /x", True),
        ("COPY $WHAT /x", True),
        ('COPY ["sub", "Dockerfile", "/x/"]', True),
        ("ADD . /x", True),
        ("RUN --mount=type=bind,target=/src ls", True),
        ("ONBUILD COPY . .", True),
        ("COPY app /x", False),
        ("COPY --from=other . .", False),
        ("RUN --mount=type=cache,target=/c ls", False),
        ("RUN --mount=type=bind,from=a,target=/src ls", False),
        ("ADD https://example.org/Dockerfile /x", False),
        ("COPY <<EOF /x\nCOPY . .\nEOF", False),
    ],
)
def test_who_would_read_the_dockerfile_is_known(instruction: str, reads: bool) -> None:
    assert reads_context(scan(f"FROM a\n{instruction}\n"), "Dockerfile") is reads


def test_a_detached_dockerfile_reads_a_stage() -> None:
    text = "# escape=\\\nARG V=1\nFROM a:$V\nCOPY . /x\nRUN --mount=type=bind,target=/y ls\nCOPY --from=b /c /d\n"
    assert detached(text).split("\n") == [
        "# escape=\\",
        "ARG V=1",
        "FROM scratch AS butai-context",
        "ADD context.tar /",
        "FROM a:$V",
        "COPY --from=butai-context . /x",
        "RUN --mount=type=bind,target=/y,from=butai-context ls",
        "COPY --from=b /c /d",
        "",
    ]


def test_changes_are_copied_over_where_they_were_copied() -> None:
    text = "FROM a\nCOPY package.json ./\nRUN install\nCOPY --chown=1:1 app \\\n  /app\nRUN build\n"
    assert detached(text, "app/main.py").split("\n")[2:] == [
        "FROM scratch AS butai-delta",
        "ADD delta.tar /",
        "FROM a",
        "COPY --from=butai-context package.json ./",
        "RUN install",
        "COPY --from=butai-context --chown=1:1 app \\",
        "  /app",
        "COPY --from=butai-delta --chown=1:1 app /app",
        "RUN build",
        "",
    ]


def test_only_the_changed_ones_of_several_sources_are_copied_over() -> None:
    assert 'COPY --from=butai-delta ["app", "/my files/"]' in detached(
        'FROM a\nCOPY ["package.json", "app", "/my files/"]\n', "app/main.py"
    )


@pytest.mark.parametrize(
    "instruction",
    [
        "COPY app/*.py /x",
        "COPY $WHAT /x",
        "COPY app app/new.py /x/",
        "COPY link /x",
        "COPY --parents app /x",
        "COPY --exclude=*.md app /x",
        "COPY app <<EOF /x/\nEOF",
        "RUN --mount=type=bind,source=app,target=/x ls",
        "\n".join(f"COPY app /copy{at}" for at in range(40)),
    ],
)
def test_what_changes_cannot_be_put_over_is_sent_whole(instruction: str) -> None:
    text = f"FROM a\n{instruction}\n"
    with pytest.raises(StaleBase):
        detached(text, "app/main.py", "app/new.py")
    assert detached(text)  # without changes it is no trouble


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FROM a\nADD app /x\n",
        "FROM a\nONBUILD COPY . .\n",
        "FROM a\nFROM b\nCOPY --from=0 /x /y\n",
        "FROM a AS butai-context\n",
        "FROM a\nRUN --mount=type=bind,target=/x echo type=bind,target=/x\n",
    ],
)
def test_a_dockerfile_that_might_change_its_meaning_stays_as_it_is(text: str) -> None:
    with pytest.raises(TooHard):
        detach(text, context=NOTHING, delta=NOTHING)


def test_every_line_knows_where_the_author_wrote_it() -> None:
    found = detach("FROM a\nCOPY app /app\nRUN x\n", context=BASE, delta=Tree.of(["app/main.py"]))
    assert [found.origins[at] for at, line in enumerate(found.lines) if line in ("FROM a", "RUN x")] == [0, 2]
