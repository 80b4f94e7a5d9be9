"""`.dockerignore`, as a table; `tests/contract/test_dockerignore.py` holds the same code to Docker."""

import pytest

from agent.adapters.docker.ignore import Ignore, kept
from agent.errors import DeployError


@pytest.mark.parametrize(
    ("ignore", "path", "excluded"),
    [
        ("*.log", "a.log", True),
        ("*.log", "b/a.log", False),
        ("**/*.log", "b/c/a.log", True),
        ("**/*.log", "a.log", True),
        ("src", "src/deep/file", True),
        ("src", "src.txt", False),
        ("/src/", "src/file", True),
        ("src/**", "src", False),
        ("src/**", "src/file", True),
        ("src\n!src/keep", "src/keep/file", False),
        ("!src/keep\nsrc", "src/keep/file", True),
        ("*\n!*.md\nREADME.md", "README.md", True),
        ("*.TXT", "a.txt", False),
        ("# a.txt", "a.txt", False),
        ("\ufeffa.txt\r\n", "a.txt", True),
        (".dockerignore\nDockerfile", "Dockerfile", True),
        ("a/../b", "b", True),
        (".", "a", False),
        ("fo[a-o]", "foo", True),
        ("fo[^a-n]", "foo", True),
        ("f.o", "foo", False),
    ],
)
def test_a_pattern_excludes_what_docker_excludes(ignore: str, path: str, excluded: bool) -> None:
    assert Ignore(ignore).excludes(path) is excluded


def test_folders_above_what_is_kept_are_kept_with_it() -> None:
    ignore = Ignore("**\n!src/deep/keep.txt")
    assert kept(["src", "src/deep", "src/deep/keep.txt", "src/deep/drop.txt", "docs"], ignore) == {
        "src",
        "src/deep",
        "src/deep/keep.txt",
    }


@pytest.mark.parametrize("ignore", ["!", "[a-", "a\n!  \n"])
def test_a_file_that_docker_refuses_is_refused_by_name(ignore: str) -> None:
    with pytest.raises(DeployError, match=r"web\.dockerignore"):
        Ignore(ignore, file="web.dockerignore")
