"""Every later push of a branch that is on stage comes live, by webhook or by the poll alone."""

import pytest

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.gitserver import Mood
from tests.support.samples import page, slow_dockerfile, tiny
from tests.support.theatre import Theatre


def test_a_signed_webhook_brings_a_push_live_without_waiting_for_a_poll(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",), limits={"poll_interval_s": 3600})
    slug = theatre.stage("tiny", "by-webhook", page("one"))

    revision = theatre.push("tiny", "by-webhook", page("two"))
    status = theatre.agent.webhook(theatre.git.url("tiny"), "by-webhook", after=revision)

    assert status == 202
    answer = theatre.shows(slug, "two", seconds=10)
    assert answer.headers["X-Butai-Revision"] == revision


def test_the_poll_alone_brings_a_push_live_within_one_interval(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("site",), limits={"poll_interval_s": 2})
    theatre.agent.configure(forges=None)
    slug = theatre.stage("site", "by-poll", {"content/index.txt": "Site by poll\none\n"})
    assert theatre.agent.webhook(theatre.git.url("site"), "by-poll") in (401, 404)

    theatre.push("site", "by-poll", {"content/index.txt": "Site by poll\ntwo\n"})

    theatre.shows(slug, "two", seconds=2 + 8)


def test_a_hint_about_a_revision_that_is_not_on_the_branch_changes_nothing(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "forged", page("genuine"))
    stranger = theatre.push("tiny", "somebody-elses", page("strange"))
    before = theatre.last("tiny", "forged")["id"]

    assert theatre.agent.webhook(theatre.git.url("tiny"), "forged", after=stranger) == 202

    theatre.agent.cli("deploy", "forged", "--project", "tiny")
    assert "genuine" in theatre.agent.visit(slug).text
    assert theatre.last("tiny", "forged")["id"] <= before + 1


def test_a_force_push_comes_live(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "rewritten", page("first draft"))

    theatre.repository("tiny").commit("rewritten", tiny("second draft"), force=True)

    theatre.shows(slug, "second draft")


def test_a_newer_push_ends_a_running_build_at_once(theatre: Theatre) -> None:
    """The build would take thirty seconds; the newer push is live long before that."""
    slug = theatre.stage("tiny", "impatient", page("one"))
    theatre.push("tiny", "impatient", page("two") | slow_dockerfile(30))
    eventually(lambda: theatre.phase("tiny", "impatient") == "building", 15)

    theatre.push("tiny", "impatient", {**page("three"), "Dockerfile": tiny()["Dockerfile"]})

    theatre.shows(slug, "three", seconds=15)
    history = theatre.shown("tiny", "impatient")["previous"]
    assert "superseded" in [one["phase"] for one in history]


def test_a_push_to_a_branch_that_matches_auto_deploy_puts_it_on_stage(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",), project_options={"tiny": {"auto_deploy": ["auto/*", "!auto/not-*"]}})
    eventually(lambda: theatre.on_stage() == set(), 5)

    theatre.push("tiny", "auto/not-this", page("no"))
    theatre.push("tiny", "auto/this", page("by itself"))

    theatre.shows("auto-this", "by itself")
    assert ("tiny", "auto/not-this") not in theatre.on_stage()


def test_a_deleted_branch_takes_its_environment_with_it(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "short-lived", page("here"))
    other = theatre.stage("tiny", "long-lived", page("still here"))

    theatre.repository("tiny").delete("short-lived")

    theatre.gone(slug)
    assert theatre.agent.visit(other).status_code == 200


@pytest.mark.parametrize("mood", [Mood.GONE, Mood.FORBIDDEN, Mood.CLOSING, Mood.BROKEN], ids=lambda mood: mood.name)
def test_a_remote_that_lists_nothing_is_not_taken_for_one_without_branches(theatre: Theatre, mood: Mood) -> None:
    slug = theatre.stage("tiny", f"kept-{mood.name}", page("kept"))

    asked = len(theatre.git.requests)
    theatre.git.mood = mood
    try:
        eventually(lambda: len(theatre.git.requests) >= asked + 12, 30)
    finally:
        theatre.git.mood = Mood.WELL

    assert theatre.agent.visit(slug).status_code == 200
    theatre.push("tiny", f"kept-{mood.name}", page("and followed again"))
    theatre.shows(slug, "and followed again")
