"""Errors as HTTP answers: the one place that turns them into RFC 9457 problem documents."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException, InternalServerError

from agent.errors import AgentError, ConfigError, DeployError

CONTENT_TYPE = "application/problem+json"


def render(error: AgentError) -> Response:
    """`code` is for programs and stable, `detail` says what is wrong, `hint` what to do next."""
    extra: dict[str, object] = {"hint": error.hint} if error.hint else {}
    if isinstance(error, ConfigError):
        extra["problems"] = [
            {"path": problem.path, "message": problem.message, "hint": problem.hint} for problem in error.problems
        ]
    if isinstance(error, DeployError):
        extra |= {"service": error.service, "log_tail": list(error.log_tail)}
    answer = _document(error.http_status, code=error.code, detail=error.message, extra=extra)
    if error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = "5"
    return answer


def install(app: Flask) -> None:
    """Render every error of `app` this way: ours, HTTP's own, and bugs (logged by Flask with their traceback)."""
    app.register_error_handler(AgentError, render)
    app.register_error_handler(HTTPException, _render_http)


def _render_http(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, InternalServerError):  # the description of a bug is nobody's business but the log's
        return _document(status, code="internal-error", detail="Something went wrong here; the agent's log says what.")
    phrase = HTTPStatus(status).phrase
    answer = _document(status, code=phrase.lower().replace(" ", "-").replace("'", ""), detail=f"{phrase}.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
    return answer


def _document(status: int, *, code: str, detail: str, extra: dict[str, object] | None = None) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "instance": request.path,
        **(extra or {}),
    }
    return Response(json.dumps(body), status=status, content_type=CONTENT_TYPE)
