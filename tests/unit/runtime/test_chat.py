"""What we say in chat is readable, complete and cannot be turned against those who read it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.errors import RequestError
from agent.model.deployment import Commit, Deployment, Failure, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.runtime import chat

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
R1, R2 = Revision("1" * 40), Revision("2" * 40)
URL = "https://feature-x.staging.example.com"
ENVIRONMENT = Environment(
    slug=Slug("feature-x"),
    project="shop",
    branch="feature/x",
    wanted=Wanted.RUNNING,
    block=0,
    created_at=NOW,
    created_by="slack:U1",
)
DEPLOYMENT = Deployment(
    id=1,
    slug=Slug("feature-x"),
    project="shop",
    branch="feature/x",
    cause="asked by slack:U1",
    caller="slack:U1",
    phase=Phase.READY,
    started_at=NOW,
    finished_at=NOW + timedelta(seconds=3.14),
    revision=R1,
    commit=Commit(R1, "Anna", "Change the <colour>", NOW),
)
FAILED = replace(
    DEPLOYMENT,
    phase=Phase.FAILED,
    failure=Failure(
        code="unhealthy",
        message="Service `web` exited with 1.",
        hint="Look at its last lines.",
        service="web",
        log_tail=("Traceback:", "ImportError: <flask>"),
    ),
)


def test_the_end_is_the_url_and_the_seconds():
    text = chat.live(DEPLOYMENT, url=URL, took_s=3.14)
    assert f"is live at {URL} (3.1 s)" in text
    assert "`feature/x` of shop" in text
    assert "`1111111111` by Anna: Change the &lt;colour&gt;" in text


def test_a_long_deployment_is_told_in_minutes():
    assert "(2 min 5 s)" in chat.live(DEPLOYMENT, url=URL, took_s=125.4)


def test_what_the_policy_changed_is_one_line_each():
    removed = ("published port 3306 removed: reach it with `butai tunnel`", "container_name db dropped")
    text = chat.live(replace(DEPLOYMENT, notices=(*removed, "Waiting: git is away.")), url=URL, took_s=1)
    assert [line for line in text.splitlines() if line.startswith("• ")] == [f"• {line}" for line in removed]


def test_a_failure_names_service_lines_commit_and_next_step():
    text = chat.failed(FAILED, url=URL, serving=None)
    assert "is not on stage: Service `web` exited with 1." in text
    assert "```\nTraceback:\nImportError: &lt;flask&gt;\n```" in text
    assert "by Anna: Change the &lt;colour&gt;" in text
    assert "Next: Look at its last lines." in text


def test_a_failed_update_says_what_still_serves():
    text = chat.failed(FAILED, url=URL, serving=R2)
    assert "could not be updated" in text
    assert f"`2222222222` still serves at {URL}" in text


@pytest.mark.parametrize("name", ["<!channel>", "<https://evil|main>", "<@U1>", "a&b", "<script>alert(1)</script>"])
def test_a_branch_name_never_becomes_a_mention_or_a_link(name):
    text = chat.live(replace(DEPLOYMENT, branch=name, project="p<x>"), url=URL, took_s=1)
    assert "<" not in text
    assert "&" not in text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


@pytest.mark.parametrize(
    ("letter", "shown"),
    [("\u202e", "\\u202e"), ("\u200d", "\\u200d"), ("\x1b", "\\u001b"), ("\u2066", "\\u2066"), ("\ufeff", "\\ufeff")],
)
def test_what_cannot_be_seen_is_shown_by_its_number(letter, shown):
    assert chat.code(f"a{letter}b") == f"`a{shown}b`"


def test_back_ticks_open_and_close_nothing():
    assert chat.code("a`b```c") == "`aˋbˋˋˋc`"
    assert "```" not in chat.sentence("say ```evil``` now")
    fenced = chat.fenced(["```", "x ``` <!here>", "`id`"])
    assert fenced.count("```") == 2
    assert "<" not in fenced


def test_a_log_is_cut_by_whole_lines_from_its_end():
    lines = [f"line {number} {'<' * 400}" for number in range(200)]
    fenced = chat.fenced(lines)
    assert len(fenced) < 2_100
    assert fenced.startswith("```\nline 19")
    assert "line 199" in fenced
    assert "&l\n" not in fenced


def test_a_subject_of_many_lines_stays_one():
    text = chat.live(replace(DEPLOYMENT, commit=Commit(R1, "A\nB", "x\n```\n" + "y" * 5_000, NOW)), url=URL, took_s=1)
    assert len(text.splitlines()) == 2
    assert len(text) < 600


def test_an_error_is_its_message_and_the_next_step():
    text = chat.error(RequestError("No project has a branch `a<b`.", hint="Nearest: `main`."))
    assert text == "No project has a branch `a&lt;b`.\nNearest: `main`."


def test_the_question_names_what_would_be_lost():
    text = chat.question(ENVIRONMENT, url=URL, volumes=["db_data", "up`loads"])
    assert "`db_data`, `upˋloads`" in text
    assert URL in text
    assert "everything stored in it" in chat.question(ENVIRONMENT, url=URL, volumes=[])


def test_a_long_list_says_how_many_more_there_are():
    lines = [chat.Line(ENVIRONMENT, URL, "ready")] * 100
    text = chat.listing(lines)
    assert "and 60 more" in text
    assert len(text) < 12_000


def test_a_user_id_is_mentioned_only_when_it_is_one():
    assert "<@U012AB>" in chat.progress(ENVIRONMENT, Phase.BUILDING, user="U012AB")
    assert "<" not in chat.progress(ENVIRONMENT, Phase.BUILDING, user="U1|<!here>")
