"""What the API does with what people and programs send it, the hostile ones included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from agent.model.deployment import Phase
from agent.model.environment import Wanted
from agent.model.names import Slug
from agent.model.observed import ContainerState, Observed
from agent.web.deps import CALLER, LISTENER, SOCKET
from tests.support.fakes_api import House, build_house, container, meanwhile, wait_until
from tests.support.oneapp import client_of

API = "/api/v1"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = build_house(tmp_path)
    yield house
    house.close()


@pytest.fixture
def client(house: House) -> FlaskClient:
    client = client_of(house.deps)
    client.environ_base |= {LISTENER: SOCKET, CALLER: "unix:anna"}
    return client


def test_a_deploy_is_written_down_with_its_caller_and_answered_at_once(house: House, client: FlaskClient) -> None:
    answer = client.post(f"{API}/environments", json={"branch": "feature/x"})
    assert answer.status_code == 202
    body = answer.get_json()
    assert (body["new"], body["deployment"]["phase"], body["environment"]["slug"]) == (True, "queued", "feature-x")
    assert house.woken == ["feature-x"]
    [event] = house.store.events.list(slug="feature-x")
    assert (event.kind, event.caller) == ("deploy", "unix:anna")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "`branch` is missing"),
        ({"branch": ""}, "`branch` must be a non-empty text"),
        ({"branch": 7}, "`branch` must be a non-empty text"),
        ({"branch": None}, "`branch` is missing"),
        ({"branch": "main", "projekt": "shop"}, "`projekt` is unknown (did you mean `project`?)"),
        ({"branch": ["main"], "project": {}}, "`project` must be a text"),
    ],
)
def test_every_problem_of_a_body_is_named(client: FlaskClient, body: object, complaint: str) -> None:
    answer = client.post(f"{API}/environments", json=body)
    assert answer.status_code == 400
    assert complaint in answer.get_json()["detail"]


def test_all_problems_of_a_request_are_told_at_once(client: FlaskClient) -> None:
    detail = client.get(f"{API}/events?after=-1&limit=0&wait_s=99&slug=a&slug=b&x=1").get_json()["detail"]
    for name in ("after", "limit", "wait_s", "slug", "x"):
        assert f"`{name}`" in detail


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"",
        '{"branch": "main"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"branch": "main"}',
        b"[" * 60_000,
        b'{"branch": ' + b"1" * 5_000 + b"}",
        b'{"branch": "\\ud800"}',
        b'{"branch": "\xff"}',
        b'{"branch": NaN}',
    ],
)
def test_a_body_that_is_no_json_object_is_400_and_changes_nothing(
    house: House, client: FlaskClient, body: bytes
) -> None:
    answer = client.post(f"{API}/environments", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert house.store.environments.all() == ()


def test_a_body_of_another_type_is_415_and_one_too_large_413(client: FlaskClient) -> None:
    assert client.post(f"{API}/environments", data={"branch": "main"}).status_code == 415
    large = b'{"branch": "' + b"a" * 70_000 + b'"}'
    assert client.post(f"{API}/environments", data=large, content_type="application/json").status_code == 413


@pytest.mark.parametrize(
    "branch",
    [
        "--upload-pack=touch x",
        "-x",
        "--",
        "a..b",
        "../../etc/passwd",
        "main.lock",
        "a@{1}",
        "main\n",
        "main\x1b[2J",
        "*",
    ],
)
def test_a_branch_name_that_cannot_be_is_refused_before_any_effect(
    house: House, client: FlaskClient, branch: str
) -> None:
    answer = client.post(f"{API}/environments", json={"branch": branch, "project": "shop"})
    assert answer.status_code == 400
    assert house.store.environments.all() == ()


@pytest.mark.parametrize("slug", ["Main", "a_b", "%2e%2e", "x" * 64, "-x", "%00", "日本", "{slug}", "a%2Fb"])
def test_a_slug_that_cannot_be_is_not_found(client: FlaskClient, slug: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/sleep"), ("GET", "/logs"), ("GET", "/deployments")):
        answer = client.open(f"{API}/environments/{slug}{path}", method=method)
        assert answer.status_code == 404, (method, path)
        assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("number", ["0", "-1", "1e3", "9" * 18, "9" * 5_000, "１", "main"])
def test_a_deployment_number_that_cannot_be_is_not_found(client: FlaskClient, number: str) -> None:
    assert client.get(f"{API}/deployments/{number}").status_code == 404


def test_a_slug_of_the_past_never_means_the_branch_of_another_environment(house: House, client: FlaskClient) -> None:
    house.deploy("feature/x")
    other = house.deploy("feature-x")
    house.store.environments.delete(Slug("feature-x"))
    assert client.delete(f"{API}/environments/feature-x").status_code == 404
    kept = house.store.environments.get(other.slug)
    assert kept is not None
    assert kept.wanted is Wanted.RUNNING


def test_find_takes_branch_or_slug_and_names_the_nearest(house: House, client: FlaskClient) -> None:
    house.deploy("feature/x")
    for reference in ("feature/x", "feature-x"):
        assert client.get(f"{API}/find", query_string={"reference": reference}).get_json()["slug"] == "feature-x"
    answer = client.get(f"{API}/find", query_string={"reference": "feature/y"})
    assert answer.status_code == 404
    assert "feature/x" in answer.get_json()["hint"]


def test_a_branch_of_several_projects_is_ambiguous(house: House, client: FlaskClient) -> None:
    house.deploy("main", project="shop")
    house.deploy("main", project="blog")
    answer = client.get(f"{API}/find?reference=main")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "ambiguous-branch")
    assert client.get(f"{API}/find?reference=main&project=blog").get_json()["project"] == "blog"


def test_waiting_for_a_phase_answers_as_soon_as_it_changes(house: House, client: FlaskClient) -> None:
    deployment = house.deploy()
    began = time.monotonic()

    def work() -> None:
        wait_until(lambda: time.monotonic() > began + 0.2)
        house.store.deployments.update(deployment.id, phase=Phase.BUILDING)

    thread = meanwhile(work)
    body = client.get(f"{API}/deployments/{deployment.id}?phase=queued&wait_s=20").get_json()
    thread.join()
    assert body["phase"] == "building"
    assert time.monotonic() - began < 5


def test_waiting_ends_when_the_agent_stops(house: House, client: FlaskClient) -> None:
    deployment = house.deploy()
    began = time.monotonic()
    house.deps.stopping.set()
    assert client.get(f"{API}/deployments/{deployment.id}?phase=queued&wait_s=25").get_json()["phase"] == "queued"
    assert time.monotonic() - began < 5


def test_the_step_log_goes_on_where_it_was_left(house: House, client: FlaskClient) -> None:
    deployment = house.deploy()
    house.inspector.build_logs[deployment.id] = b"one\ntwo\n"
    first = client.get(f"{API}/deployments/{deployment.id}/log?offset=4").get_json()
    assert (first["text"], first["offset"], first["phase"]) == ("two\n", 8, "queued")
    house.finish(deployment)
    rest = client.get(f"{API}/deployments/{deployment.id}/log?offset=8&phase=queued&wait_s=20").get_json()
    assert (rest["text"], rest["offset"], rest["phase"]) == ("", 8, "ready")


def test_events_come_after_the_one_that_is_known(house: House, client: FlaskClient) -> None:
    house.deploy("main")
    first = client.get(f"{API}/events").get_json()
    house.deps.operations.pin(Slug("main"), caller="unix:ben")
    news = client.get(f"{API}/events?after={first['after']}&wait_s=5").get_json()
    assert [(event["kind"], event["caller"]) for event in news["events"]] == [("pin", "unix:ben")]
    assert client.get(f"{API}/events?after={news['after']}&slug=main").get_json()["events"] == []


def test_exec_tells_the_container_and_records_the_program_without_its_arguments(
    house: House, client: FlaskClient
) -> None:
    house.deploy()
    answer = client.post(f"{API}/environments/main/exec", json={"command": ["mysql", "-psecret"]})
    assert answer.get_json()["container"] == container("main").id
    event = house.store.events.list(slug="main")[-1]
    assert (event.kind, event.caller) == ("exec", "unix:anna")
    assert "mysql" in event.text
    assert "secret" not in event.text


def test_exec_in_a_container_that_does_not_run_says_so(house: House, client: FlaskClient) -> None:
    house.deploy()
    house.inspector.observed["main"] = Observed(containers=(container("main", state=ContainerState.EXITED),))
    answer = client.post(f"{API}/environments/main/exec")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "not-running")
    assert [event.kind for event in house.store.events.list(slug="main")] == ["deploy"]


def test_quiet_moments_of_a_followed_log_are_empty_lines(house: House, client: FlaskClient) -> None:
    house.deploy()
    for pair in (("web", "one"), ("", ""), ("web", "two")):
        house.inspector.live.put(pair)
    house.inspector.live.put(None)
    lines = client.get(f"{API}/environments/main/logs?follow=true&tail=0").text.splitlines()
    assert lines == ['{"service": "web", "line": "one"}', "", '{"service": "web", "line": "two"}']


def test_whose_key_let_the_caller_in_stands_behind_the_account_that_says_so(house: House, client: FlaskClient) -> None:
    house.deploy()
    client.post(f"{API}/environments/main/exec", headers={"X-Butai-On-Behalf-Of": "boss@example.com"})
    assert house.store.events.list(slug="main")[-1].caller == "unix:anna/boss@example.com"
    for name in ("unix:root", "a b", "a/b", "-x", "x" * 65, "päul"):
        answer = client.post(f"{API}/environments/main/sleep", headers={"X-Butai-On-Behalf-Of": name})
        assert (answer.status_code, answer.get_json()["code"]) == (400, "bad-caller"), name
    assert [event.kind for event in house.store.events.list(slug="main")] == ["deploy", "exec"]


def test_copy_and_tunnel_say_where_and_record_who_went_in(house: House, client: FlaskClient) -> None:
    house.deploy()
    copied = client.post(f"{API}/environments/main/copy", json={"service": "web", "path": "/a", "direction": "into"})
    assert copied.get_json()["container"] == container("main").id
    way = {"service": "web", "port": 5432}
    for further in (False, True):
        found = client.post(f"{API}/environments/main/tunnel", json={**way, "further": further}).get_json()
        assert found == {**way, "address": "10.200.0.2"}
    told = [(event.kind, event.text) for event in house.store.events.list(slug="main")][1:]
    assert told == [("copy", "copy into '/a' of web asked for"), ("tunnel", "opened a tunnel to web:5432")]


@pytest.mark.parametrize("port", [0, 65_536, -1, "22", 1.5, True, None])
def test_a_port_that_is_none_is_refused(house: House, client: FlaskClient, port: object) -> None:
    house.deploy()
    answer = client.post(f"{API}/environments/main/tunnel", json={"service": "web", "port": port})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "bad-arguments")
