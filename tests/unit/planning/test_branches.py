"""Names of branches: everything git accepts and nothing that a program could mistake for an option."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import RequestError
from agent.planning.branches import check_branch, matches, nearest

ACCEPTED = [
    "main",
    "feature/x",
    "main;touch${IFS}x",
    "$(touch${IFS}x)",
    "`id>x`",
    "a&b",
    "a|b",
    "a'b",
    'a"b',
    "a{b}",
    "a!b",
    "a#b",
    "HEAD",
    "FETCH_HEAD",
    "origin/main",
    "${HOME}",
    "{{7-7}}",
    "%s%n",
    "{0.__class__}",
    "<script>alert(1)</script>",
    "<!channel>",
    "<https>evil|main>",
    "a\u202eb",
    "m\u0430in",
    "a\u200db",
    "日本",
    "🚀",
    "___",
    "Feature/X",
    "x" * 244,
    "www",
    "1234",
    "true",
    "null",
    "1e3",
    "a-b",
    "a/-b",
    "a@b",
    "@",
    "lock",
    "a.lock.b",
]

REFUSED = [
    "",
    "--upload-pack=touch x",
    "--upload-pack=x",
    "-x",
    "--",
    "-c core.sshCommand=id",
    "*",
    "{{7*7}}",
    "feature/*",
    "..",
    "a..b",
    "../../etc/passwd",
    "main.lock",
    "main.lock/x",
    "a@{1}",
    "a~1",
    "a^",
    "a:b",
    "<https://evil|main>",
    "a?b",
    "a[b",
    "a\\b",
    "a b",
    "/a",
    "a/",
    "a//b",
    ".a",
    "a/.b",
    "a.",
    "main\n",
    "\nmain",
    "main\0",
    "main\x1b[2J",
    "main\x7f",
    "main\x9b2J",
    "main\ud800",
    "x" * 256,
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_git_accepts_is_a_branch(text: str) -> None:
    assert check_branch(text) == text


@pytest.mark.parametrize("text", REFUSED)
def test_what_git_or_a_terminal_could_misread_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_branch(text)
    assert caught.value.code == "bad-branch"
    assert caught.value.message.isprintable()
    assert caught.value.message.isascii()
    assert caught.value.hint


@given(st.text())
def test_a_checked_name_is_inert(text: str) -> None:
    try:
        check_branch(text)
    except RequestError:
        return
    assert not text.startswith("-")
    assert ".." not in text
    assert not set(text) & set(" \t\r\n\0\x1b:*?[\\~^")


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("main", "main"),
        ("MAIN", "main"),
        ("origin/main", "main"),
        ("login", "feature/login"),
        ("feature/logn", "feature/login"),
        ("feature/logi", "feature/login"),
        ("mian", "main"),
        ("faeture/checkout", "feature/checkout"),
    ],
)
def test_the_branch_that_was_meant_comes_first(text: str, best: str) -> None:
    names = ["develop", "feature/checkout", "feature/login", "fix/login-page", "main"]
    assert nearest(text, names)[0] == best


def test_nothing_like_it_suggests_nothing() -> None:
    assert nearest("zzzzzz", ["main", "develop"]) == ()


def test_an_empty_text_lists_the_first_names() -> None:
    assert nearest("", ["c", "b", "a"], limit=2) == ("a", "b")


def test_a_long_text_over_two_thousand_branches_is_answered_quickly() -> None:
    names = [f"feature/team-{number % 7}/ticket-{number}-some-words" for number in range(2000)]
    started = time.perf_counter()
    assert len(nearest("ticket-1999", names)) >= 1
    nearest("feature/" + "words-" * 500, names, limit=100)
    assert time.perf_counter() - started < 2.5


@pytest.mark.parametrize(
    ("patterns", "branch", "wanted"),
    [
        (["feature/*"], "feature/x", True),
        (["feature/*"], "feature/x/y", False),
        (["feature/**"], "feature/x/y", True),
        (["feature/*"], "xfeature/x", False),
        (["feature/*"], "Feature/x", False),
        (["*"], "main", True),
        (["*"], "feature/x", False),
        (["**"], "feature/x", True),
        (["release-?"], "release-1", True),
        (["release-?"], "release-10", False),
        (["**", "!dependabot/**"], "dependabot/npm", False),
        (["**", "!dependabot/**", "dependabot/keep"], "dependabot/keep", True),
        (["main"], "main\n", False),
        (["ma.n"], "main", False),
        (["(a|b)"], "a", False),
        ([], "main", False),
    ],
)
def test_patterns_read_as_on_github(patterns: list[str], branch: str, wanted: bool) -> None:
    assert matches(patterns, branch) is wanted
