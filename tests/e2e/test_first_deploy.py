"""Somebody asks for a branch and gets a page."""

import time

import pytest

from tests.support.samples import page, slow_dockerfile, tiny
from tests.support.theatre import LIVE, Theatre


def test_a_signed_slack_request_becomes_a_page_and_its_message_says_where_and_how_long(theatre: Theatre) -> None:
    """Also: the classic development compose file runs unchanged, bind mount, fixed names, env_file and all."""
    theatre.push("classic", "feature/first", {"shop/page.py": 'HEADLINE = "First night"\n'})
    person = theatre.agent.person()

    asked_at = time.monotonic()
    status, _ = person.types("deploy feature/first in classic")
    answered_s = time.monotonic() - asked_at
    message = theatre.said("feature/first", LIVE.search)

    assert status == 200
    assert answered_s < 1.0
    url, seconds = LIVE.search(message.text).groups()  # type: ignore[union-attr]
    slug = theatre.slug("classic", "feature/first")
    assert url == theatre.agent.url(slug)
    assert 0 < float(seconds) <= time.monotonic() - asked_at + 0.1
    answer = theatre.agent.visit(slug)
    assert answer.status_code == 200
    assert "First night" in answer.text
    assert answer.headers["X-Butai-Revision"] == theatre.repository("classic").revision("feature/first")


def test_one_request_is_one_message_that_is_edited(theatre: Theatre) -> None:
    theatre.push("tiny", "one-message", page("one message"))

    theatre.agent.person().types("deploy one-message in tiny")
    message = theatre.said("one-message", LIVE.search)

    assert [one for one in theatre.slack.visible() if "one-message" in one.text] == [message]
    assert [text for _, text in message.edits].count(message.text) == 1


def test_what_a_compose_file_loses_here_is_told_to_whoever_asked(theatre: Theatre) -> None:
    theatre.push("classic", "feature/told", {})

    done = theatre.agent.cli("deploy", "feature/told", "--project", "classic")

    for service, loss in (("web", "container_name"), ("mysql", "container_name"), ("mysql", "published port 3306")):
        assert any(f"{service}: " in line and loss in line for line in done.stderr.splitlines()), done.stderr


def test_an_unknown_branch_answers_with_the_nearest_and_leaves_nothing(theatre: Theatre) -> None:
    theatre.push("tiny", "feature/checkout", page("checkout"))

    done = theatre.agent.cli("deploy", "feature/chekout", "--project", "tiny", check=False)

    assert done.returncode != 0
    assert "feature/checkout" in done.stderr
    theatre.gone("feature-chekout")
    assert ("tiny", "feature/chekout") not in theatre.on_stage()


def test_a_first_deployment_that_fails_says_why_at_its_own_address(theatre: Theatre) -> None:
    theatre.push("tiny", "never-good", {"Dockerfile": "FROM busybox:1.37\nRUN echo compiling && no-such-compiler\n"})

    done = theatre.agent.cli("deploy", "never-good", "--project", "tiny", check=False)

    assert done.returncode == 1
    assert "no-such-compiler" in done.stderr
    answer = theatre.agent.visit("never-good")
    assert answer.status_code == 502
    assert "never-good" in answer.text


@pytest.mark.parametrize("slug", ["nobody-asked", "feature-x--api"])
def test_an_address_that_nobody_asked_for_is_a_page_of_its_own(theatre: Theatre, slug: str) -> None:
    answer = theatre.agent.visit(slug)

    assert answer.status_code == 404
    assert "/butai deploy" in answer.text


def test_until_it_is_ready_the_address_says_what_happens(theatre: Theatre) -> None:
    theatre.push("tiny", "patience", tiny("worth it") | slow_dockerfile(2))

    theatre.agent.cli("deploy", "patience", "--project", "tiny", "--detach")
    waiting = theatre.shows("patience", "patience", accept="text/html")

    assert waiting.status_code == 503
    assert int(waiting.headers["Retry-After"]) > 0
    theatre.shows("patience", "worth it")
