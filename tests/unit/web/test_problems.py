"""Every error is an RFC 9457 problem document: the code for programs, the sentence and the next step for people."""

import pytest
from flask import Flask

from agent.errors import ConfigError, DeployError, OutsideError, Problem, RequestError, StateError
from agent.web import problems


def answer(error: Exception | None, path: str = "/broken", method: str = "GET"):
    app = Flask(__name__)
    problems.install(app)

    @app.get("/broken")
    def broken() -> str:
        assert error is not None
        raise error

    return app.test_client().open(path, method=method)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestError("No.", hint="Ask.", code="no-such-thing", http_status=404), 404, "no-such-thing"),
        (DeployError("No port.", hint="Add one.", service="web", log_tail=("a", "b")), 422, "deploy-failed"),
        (OutsideError("Git is away."), 503, "outside-unavailable"),
        (StateError("We are wrong."), 500, "state-broken"),
        (ConfigError((Problem("a.b", "is wrong", "mend it"),)), 500, "config-invalid"),
    ],
)
def test_each_family_has_its_status_and_code(error, status, code):
    got = answer(error)
    assert got.status_code == status
    assert got.headers["Content-Type"] == "application/problem+json"
    body = got.get_json(force=True)
    assert (body["status"], body["code"], body["detail"], body["instance"]) == (status, code, error.message, "/broken")
    assert body.get("hint", "") == error.hint


def test_a_failed_deployment_carries_service_and_lines():
    body = answer(DeployError("No.", service="web", log_tail=("a", "b"))).get_json(force=True)
    assert (body["service"], body["log_tail"]) == ("web", ["a", "b"])


def test_wrong_settings_carry_every_problem():
    body = answer(ConfigError((Problem("a", "x"), Problem("b", "y", "z")))).get_json(force=True)
    assert [one["path"] for one in body["problems"]] == ["a", "b"]


def test_an_outside_system_that_is_away_says_when_to_come_back():
    assert int(answer(OutsideError("Git is away.")).headers["Retry-After"]) > 0


def test_errors_of_http_itself_look_the_same_and_a_bug_tells_nothing():
    assert answer(None, "/nowhere").get_json(force=True)["code"] == "not-found"
    wrong = answer(None, method="POST")
    assert (wrong.status_code, wrong.get_json(force=True)["code"]) == (405, "method-not-allowed")
    assert "GET" in wrong.headers["Allow"]
    bug = answer(ZeroDivisionError("secret sauce"))
    assert (bug.status_code, bug.get_json(force=True)["code"]) == (500, "internal-error")
    assert "sauce" not in bug.text
