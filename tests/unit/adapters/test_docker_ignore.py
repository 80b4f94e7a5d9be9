"""`.dockerignore`, as a table; `tests/contract/test_dockerignore.py` holds the same code to Docker."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.docker.ignore import Ignore, _tokens, _walk, kept
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


_pieces = st.lists(st.sampled_from(["a", "b", "*", "**", "/", "?", "."]), min_size=1, max_size=9).map("".join)
_paths = st.lists(st.sampled_from(["a", "b", "/", "."]), min_size=1, max_size=9).map("".join)


@given(_pieces, _paths)
def test_the_walk_for_many_wildcards_matches_as_the_regular_expression_does(pattern: str, path: str) -> None:
    tokens, _ = _tokens(pattern)
    assert _walk(tokens, path) is (re.fullmatch("".join(tokens), path) is not None)


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*a*a*a*a*b", "**/a/**/a/**/a/**/a/**/a/**/b", "**/" * 20 + "b"])
def test_a_hostile_pattern_costs_no_more_than_its_length(pattern: str) -> None:
    started = time.thread_time()
    assert not Ignore(pattern).excludes("a" * 200 + "/a" * 100)
    assert time.thread_time() - started < 2
