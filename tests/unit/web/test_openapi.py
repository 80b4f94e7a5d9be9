"""The API and its document are one thing: every route, parameter and answer is held to openapi.json."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from agent.model.deployment import Commit, Failure, Phase
from agent.model.spot import SpotNotice
from agent.web.api import PREFIX, document
from agent.web.app import create_app
from agent.web.deps import CALLER, LISTENER, SOCKET
from tests.support.fakes_api import EDIT, NOW, R1, House, build_house
from tests.support.oneapp import client_of

DOCUMENT = document()
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
CALLS: dict[str, tuple[str, dict[str, object] | None]] = {
    "health": ("/health", None),
    "doctor": ("/doctor", None),
    "openapi": ("/openapi.json", None),
    "find": ("/find?reference=main", None),
    "list": ("/environments?project=shop", None),
    "deploy": ("/environments", {"branch": "feature/x", "project": "shop"}),
    "show": ("/environments/main", None),
    "destroy": ("/environments/main", None),
    "redeploy": ("/environments/main/redeploy", None),
    "sleep": ("/environments/main/sleep", None),
    "wake": ("/environments/main/wake", None),
    "pin": ("/environments/main/pin", None),
    "unpin": ("/environments/main/unpin", None),
    "plan": ("/environments/main/plan", None),
    "containers": ("/environments/main/containers", None),
    "history": ("/environments/main/deployments?limit=5", None),
    "logs": ("/environments/main/logs?tail=5&service=web&follow=false", None),
    "exec": ("/environments/main/exec", {"service": "web", "command": ["ls", "-la"]}),
    "copy": ("/environments/main/copy", {"service": "web", "path": "/srv/a", "direction": "into"}),
    "tunnel": ("/environments/main/tunnel", {"service": "web", "port": 8080, "further": False}),
    "worktree": ("/environments/main/worktree", None),
    "deployment": ("/deployments/1?phase=ready&wait_s=0", None),
    "deployment_log": ("/deployments/1/log?offset=2&phase=queued&wait_s=0", None),
    "edits": ("/environments/main/edits?limit=5", None),
    "edit": (f"/environments/main/edits/{EDIT.id}", None),
    "restore": (f"/environments/main/edits/{EDIT.id}/restore", None),
    "events": ("/events?after=0&slug=main&limit=5&wait_s=0.5", None),
    "dns": ("/dns", None),
    "dns_check": ("/dns/check", None),
    "dns_adopt": ("/dns/adopt", None),
    "projects": ("/projects", None),
    "branches": ("/projects/shop/branches?near=feat&limit=2", None),
}
FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_utc(value: object) -> bool:
    return not isinstance(value, str) or (value.endswith("Z") and bool(datetime.fromisoformat(value)))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = build_house(tmp_path)
    first = house.deploy()
    commit = Commit(revision=R1, author="Anna", subject="Fix it", committed_at=NOW)
    house.store.deployments.update(first.id, revision=R1, commit=commit, timings={"building": 1.5}, done=("built web",))
    house.finish(first, Failure("unhealthy", "web exited 1.", "Look at its log.", "web", ("boom",)))
    second = house.deploy()
    house.store.deployments.update(second.id, phase=Phase.BUILDING)
    house.inspector.log = [("web", "hello"), ("web", "world")]
    house.inspector.build_logs = {1: b"step 1\n"}
    yield house
    house.close()


@pytest.fixture
def client(house: House) -> FlaskClient:
    client = client_of(house.deps)
    client.environ_base |= {LISTENER: SOCKET, CALLER: "unix:anna"}
    return client


def problems_of(answer: object, schema: dict[str, Any]) -> list[str]:
    validator = Draft202012Validator({**schema, "components": DOCUMENT["components"]}, format_checker=FORMATS)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(answer)]


def check_answer(operation: dict[str, Any], answer: TestResponse) -> None:
    """Hold one answer to what the document says of its status and content type."""
    described = operation["responses"].get(str(answer.status_code), operation["responses"]["default"])
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    schema = described["content"][answer.mimetype]["schema"]
    parts = [answer.get_json()] if answer.mimetype != "application/x-ndjson" else _json_lines(answer)
    assert parts
    for part in parts:
        assert problems_of(part, schema) == []


def _json_lines(answer: TestResponse) -> list[object]:
    from json import loads

    return [loads(line) for line in answer.text.splitlines() if line]


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_every_route_is_in_the_document_and_the_reverse(house: House) -> None:
    app = create_app(house.deps)
    routed = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix(PREFIX)).replace("{number}", "{id}"))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routed == {(method, path) for method, path, _ in OPERATIONS.values()}


def test_health_tells_what_aws_has_announced(house: House, client: FlaskClient) -> None:
    for notice in (SpotNotice("terminate", NOW), SpotNotice("hibernate", None)):
        house.spot.notice = notice
        answer = client.get(PREFIX + "/health")
        check_answer(OPERATIONS["health"][2], answer)
        assert answer.get_json()["spot"]["action"] == notice.action


def test_every_path_parameter_is_described() -> None:
    for method, path, operation in OPERATIONS.values():
        described = {parameter["name"] for parameter in parameters_of(operation) if parameter["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path)), (method, path)


def parameters_of(operation: dict[str, Any]) -> list[dict[str, Any]]:
    shared = DOCUMENT["components"]["parameters"]
    given = operation.get("parameters", [])
    return [shared[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter for parameter in given]


def test_every_operation_has_an_example_call_with_all_its_parameters() -> None:
    assert set(CALLS) == set(OPERATIONS)
    for name, (_, _, operation) in OPERATIONS.items():
        query = set(re.findall(r"[?&](\w+)=", CALLS[name][0]))
        described = {parameter["name"] for parameter in parameters_of(operation) if parameter["in"] == "query"}
        assert query == described or name in ("find", "list"), name


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_answer_is_as_the_document_says(client: FlaskClient, name: str) -> None:
    method, _, operation = OPERATIONS[name]
    path, body = CALLS[name]
    answer = client.open(PREFIX + path, method=method, json=body)
    assert answer.status_code in (200, 202), answer.text
    assert str(answer.status_code) in operation["responses"]
    check_answer(operation, answer)


@pytest.mark.parametrize("name", sorted(name for name, call in CALLS.items() if "/main" in call[0] or "/1" in call[0]))
def test_what_does_not_exist_is_a_problem_document_with_a_hint(client: FlaskClient, name: str) -> None:
    method, _, operation = OPERATIONS[name]
    path, body = CALLS[name]
    answer = client.open(PREFIX + re.sub("/(main|1)", "/999", path), method=method, json=body)
    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json()["code"] in ("no-such-environment", "no-such-deployment")
    assert answer.get_json()["hint"]
    check_answer(operation, answer)


@pytest.mark.parametrize(
    "name",
    sorted(name for name, (_, _, op) in OPERATIONS.items() if any(p["in"] == "query" for p in parameters_of(op))),
)
def test_a_query_parameter_that_is_not_in_the_document_is_refused(client: FlaskClient, name: str) -> None:
    method, _, operation = OPERATIONS[name]
    path, body = CALLS[name]
    answer = client.open(f"{PREFIX}{path}&limmit=3", method=method, json=body)
    assert answer.status_code == 400
    assert "`limmit` is unknown" in answer.get_json()["detail"]
    check_answer(operation, answer)


def test_the_document_is_served_as_it_is_shipped(client: FlaskClient) -> None:
    assert client.get(f"{PREFIX}/openapi.json").get_json() == DOCUMENT
