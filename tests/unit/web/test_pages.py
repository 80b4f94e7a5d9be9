"""What a hostname says while it shows no site: the right status, plain words, and nothing of anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from agent import config
from agent.model.deployment import Failure, Phase
from agent.model.environment import Wanted
from agent.model.names import Slug
from agent.planning.reconcile import MAX_REPAIRS
from tests.support.fakes_api import R1, SETTINGS, House, build_house
from tests.support.oneapp import client_of

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = build_house(tmp_path)
    yield house
    house.close()


@pytest.fixture
def client(house: House) -> FlaskClient:
    return client_of(house.deps)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """An agent on which feature/x waits for its turn, for tests that only look."""
    house = build_house(tmp_path_factory.mktemp("staged"))
    deploy(house)
    yield client_of(house.deps)
    house.close()


def deploy(house: House, branch: str = "feature/x") -> Slug:
    return house.deps.operations.deploy(branch, project="shop", caller="unix:anna").environment.slug


def ask(client: FlaskClient, host: str, path: str = "/", *, accept: str = "*/*", **more: Any) -> TestResponse:
    environ = {"HTTP_HOST": host, "REMOTE_ADDR": "192.0.2.1"}
    return client.open(path, environ_overrides=environ, headers={"Accept": accept}, **more)


def host_of(slug: str, service: str = "") -> str:
    return f"{slug}--{service}.staging.example.com" if service else f"{slug}.staging.example.com"


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase.QUEUED, "is waiting for its turn"),
        (Phase.FETCHING, "is being fetched"),
        (Phase.BUILDING, "is being built"),
        (Phase.STARTING, "is starting"),
    ],
)
def test_while_it_starts_the_page_says_what_happens_and_comes_back_by_itself(
    house: House, client: FlaskClient, phase: Phase, words: str
) -> None:
    slug = deploy(house)
    deployment = house.store.deployments.current(slug)
    assert deployment is not None
    if phase is not Phase.QUEUED:
        house.store.deployments.update(deployment.id, phase=phase)
    answer = ask(client, host_of(slug), accept=BROWSER)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "3"
    assert f"Branch feature/x of shop {words}." in answer.text
    assert '<meta http-equiv="refresh" content="3">' in answer.text


def test_a_failed_branch_tells_the_reason_the_service_and_the_next_step(house: House, client: FlaskClient) -> None:
    slug = deploy(house)
    deployment = house.store.deployments.current(slug)
    assert deployment is not None
    failure = Failure("unhealthy", "It exited with status 1.", "Look at the last lines.", "web", ("secret line",))
    house.finish(deployment, failure)
    house.store.environments.update(slug, repairs=MAX_REPAIRS)  # of what has never run none is tried
    answer = ask(client, host_of(slug))
    assert (answer.status_code, answer.headers.get("Retry-After")) == (502, None)
    assert answer.text == (
        "Branch feature/x of shop could not be put on stage in service web: It exited with status 1.\n"
        "Look at the last lines. The whole story: `butai show feature-x` in a terminal on the host.\n"
    )


def test_a_failed_deployment_of_a_branch_with_a_good_version_is_no_bad_gateway(
    house: House, client: FlaskClient
) -> None:
    slug = deploy(house)
    house.store.environments.update(slug, deployed_revision=R1)
    deployment = house.store.deployments.current(slug)
    assert deployment is not None
    house.finish(deployment, Failure("unhealthy", "It exited with status 1."))
    answer = ask(client, host_of(slug))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")


def test_a_stage_that_nobody_tries_to_repair_any_more_does_not_promise_to_come_back(
    house: House, client: FlaskClient
) -> None:
    slug = deploy(house)
    house.store.environments.update(slug, deployed_revision=R1, repairs=MAX_REPAIRS)
    deployment = house.store.deployments.current(slug)
    assert deployment is not None
    house.finish(
        deployment, Failure("crashed", "web exited 1; five restarts did not help.", "Push a correction.", "web")
    )
    answer = ask(client, host_of(slug))
    assert (answer.status_code, answer.headers.get("Retry-After")) == (502, None)
    assert answer.text == (
        "Branch feature/x of shop has stopped in service web: web exited 1; five restarts did not help.\n"
        "Push a correction. The whole story: `butai show feature-x` in a terminal on the host.\n"
    )
    assert "This stage has stopped" in ask(client, host_of(slug), accept=BROWSER).text


def test_a_sleeping_branch_says_that_its_data_is_kept_and_how_to_wake_it(house: House, client: FlaskClient) -> None:
    slug = deploy(house)
    house.store.environments.update(slug, wanted=Wanted.ASLEEP)
    answer = ask(client, host_of(slug))
    assert answer.status_code == 503
    assert "its data is kept" in answer.text
    assert "`butai wake feature-x`" in answer.text


def test_a_branch_that_is_being_removed_is_not_found(house: House, client: FlaskClient) -> None:
    slug = deploy(house)
    house.store.environments.update(slug, wanted=Wanted.ABSENT)
    assert ask(client, host_of(slug)).status_code == 404


def test_a_service_that_is_not_on_stage_says_where_the_stage_is(house: House, client: FlaskClient) -> None:
    slug = deploy(house)
    deployment = house.store.deployments.current(slug)
    assert deployment is not None
    assert ask(client, host_of(slug, "api")).status_code == 503
    house.finish(deployment)
    answer = ask(client, host_of(slug, "api"))
    assert answer.status_code == 404
    assert "nothing answers for its service api" in answer.text
    assert "http://feature-x.staging.example.com" in answer.text


def test_slack_is_named_only_where_there_is_slack(house: House, tmp_path: Path) -> None:
    secret = tmp_path / "signing"
    secret.write_text("0123456789abcdef0123456789abcdef")
    secret.chmod(0o600)
    text = f'{SETTINGS}\n[slack]\nsigning_secret_file = "{secret}"\nteam = "T0123ABCD"\n'
    settings = config.parse(text, tmp_path)
    client = client_of(replace(house.deps, settings=lambda: settings))
    assert "`/butai deploy BRANCH` in Slack, or `butai deploy BRANCH`" in ask(client, host_of("nobody")).text


def test_an_unknown_host_names_no_other_environment(house: House, client: FlaskClient) -> None:
    deploy(house)
    for host in (host_of("feature-y"), host_of("feature"), "feature-x.example.com", "staging.example.com"):
        answer = ask(client, host, accept=BROWSER)
        assert answer.status_code == 404
        assert "feature-x" not in answer.text
        assert "feature/x" not in answer.text


@pytest.mark.parametrize(
    "host",
    [
        "FEATURE-X.Staging.Example.COM",
        "feature-x.staging.example.com.",
        "feature-x.staging.example.com:80",
        "feature-x.staging.example.com.:65535",
    ],
)
def test_a_host_may_be_spelt_in_every_way_that_dns_allows(staged: FlaskClient, host: str) -> None:
    assert ask(staged, host).status_code == 503


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        ".",
        "..",
        "-",
        "a.feature-x.staging.example.com",
        "feature-x.staging.example.com..",
        ".feature-x.staging.example.com",
        "feature-x.staging.example.com,feature-x.staging.example.com",
        "feature-x.staging.example.com feature-x.staging.example.com",
        "feature-x.staging.example.com:99999999999999999999",
        "feature-x.staging.example.com:99999",
        "feature-x.staging.example.com:",
        "feature-x.staging.example.com:٣",
        "feature-x.staging.example.com:-1",
        "feature-x.staging.example.com/path",
        "user@feature-x.staging.example.com",
        "feature-x--.staging.example.com",
        "--.staging.example.com",
        "--api.staging.example.com",
        "feature-x--a--b.staging.example.com",
        "x" * 64 + ".staging.example.com",
        "x" * 10_000,
        "x." * 5_000,
        "[::1",
        "[::1]:80:80",
        "[::ffff:127.0.0.1%eth0]",
        "127.1",
        "0x7f000001",
        "feature-x.staging.example.com\t",
        "feature-x.staging.example.com\x00",
        "ｆeature-x.staging.example.com",
        "<script>alert(1)</script>.staging.example.com",
        "{{7*7}}.staging.example.com",
        "${jndi:ldap://x}.staging.example.com",
        "../../etc/passwd",
        "%00.staging.example.com",
    ],
)
def test_a_hostile_host_is_refused_or_unknown_and_breaks_nothing(staged: FlaskClient, host: str) -> None:
    answer = ask(staged, host.encode().decode("latin-1"), accept=BROWSER)
    assert answer.status_code in (400, 404, 503)
    if answer.status_code == 503:  # read as the environment's own service, which is not there yet
        assert host.startswith("feature-x--") or host.endswith(":")
    assert "<script>" not in answer.text
    assert "49" not in answer.text.partition("</style>")[2]


def test_forwarding_headers_are_not_believed(house: House, client: FlaskClient) -> None:
    deploy(house)
    headers = {"X-Forwarded-Host": host_of("feature-x"), "Forwarded": f"host={host_of('feature-x')}"}
    environ = {"HTTP_HOST": host_of("nobody"), "REMOTE_ADDR": "192.0.2.1"}
    assert client.get("/", headers=headers, environ_overrides=environ).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/hooks/github", "/api/v1/environments", "/a//b/../c", "/static/x", "/%00"])
def test_every_path_and_method_of_a_stage_gets_its_page(staged: FlaskClient, method: str, path: str) -> None:
    answer = ask(staged, host_of("feature-x"), path, method=method)
    assert answer.status_code == 503
    assert bool(answer.data) == (method != "HEAD")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
        ("image/png", "text/plain; charset=utf-8"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        ("application/json, text/plain, */*", "application/problem+json"),
        (",;q=x,,*/;;=" * 200, "text/plain; charset=utf-8"),
    ],
)
def test_everybody_is_answered_in_their_own_format(staged: FlaskClient, accept: str, kind: str) -> None:
    answer = ask(staged, host_of("nobody"), accept=accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, kind)


def test_programs_get_a_problem_document(house: House, client: FlaskClient) -> None:
    slug = deploy(house)
    answer = ask(client, host_of(slug), "/x", accept="application/json")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    assert answer.get_json() == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "code": "starting",
        "detail": "Branch feature/x of shop is waiting for its turn.",
        "instance": "/x",
        "hint": "This page becomes the site by itself as soon as it is ready.",
    }


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "\u202egnp.exe", "a\u200db", "a\x1b[2Jb", "{{7*7}}", "x" * 5_000, "`a` `b", "日本"],
)
def test_what_others_wrote_is_shown_as_text(house: House, client: FlaskClient, text: str) -> None:
    slug = deploy(house)
    deployment = house.store.deployments.current(slug)
    assert deployment is not None
    house.finish(deployment, Failure("x", text, text, text))
    for accept in (BROWSER, "*/*", "application/json"):
        answer = ask(client, host_of(slug), accept=accept)
        assert answer.status_code == 502
        assert all(character.isprintable() or character == "\n" for character in answer.text)
        assert len(answer.text) < 10_000
    page = ask(client, host_of(slug), accept=BROWSER).text
    assert "<script" not in page
    assert "{{7*7}}" in page or "7*7" not in text


def test_a_page_is_small_loads_nothing_and_is_not_kept(client: FlaskClient) -> None:
    class Loads(HTMLParser):
        found: list[str] = []  # noqa: RUF012 - one parser, one test

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "link", "img", "iframe") or any(name in ("src", "href") for name, _ in attrs):
                self.found.append(tag)

    answer = ask(client, host_of("nobody"), accept=BROWSER)
    parser = Loads()
    parser.feed(answer.text)
    assert parser.found == []
    assert "url(" not in answer.text
    assert len(answer.data) < 6_000
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (answer.headers["Cache-Control"], answer.headers["X-Robots-Tag"]) == ("no-store", "noindex")
