"""The forges' webhooks: a verified hint that a branch may have moved; what to deploy is read from the remote.

Nothing in a delivery is used as a URL or an option. It only names a project of the settings, a branch, and the commit
that git asks the remote for first and deploys only if the remote says that the branch is there. A lost, late, repeated
or forged delivery changes at most when the poll's work is done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Blueprint, Response, abort, jsonify, request

from agent.config import Settings
from agent.errors import RequestError
from agent.model.names import Revision
from agent.planning.branches import check_branch
from agent.web.deps import Deps
from agent.web.signatures import check_github

_HEADS = "refs/heads/"
_NOTHING = "0" * 40
_LOGIN = re.compile(r"[A-Za-z0-9-]{1,39}(\[bot\])?", re.ASCII)
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)")  # git@github.com:acme/shop.git


def blueprint(deps: Deps) -> Blueprint:
    """`/hooks/github`; 404 while the settings have no webhook secret."""
    routes = Blueprint("hooks", __name__, url_prefix="/hooks")

    @routes.post("/github")
    def github() -> Response:
        forge = deps.settings().forges.github
        if forge is None:
            abort(HTTPStatus.NOT_FOUND)
        body = request.get_data(cache=True)
        check_github(forge.webhook_secret.reveal(), body, signature=request.headers.get("X-Hub-Signature-256", ""))
        event = request.headers.get("X-GitHub-Event", "")
        delivery = _delivery(body)
        if event == "ping":
            return jsonify({"ok": True})
        if event != "push":
            return Response(status=HTTPStatus.NO_CONTENT)
        return _push(deps, delivery)

    return routes


def _push(deps: Deps, delivery: Mapping[str, Any]) -> Response:
    """One hint for each project of that repository; 204 when it is about none of ours."""
    ref = _text(delivery, "ref")
    if not ref.startswith(_HEADS) or ref == _HEADS:
        return Response(status=HTTPStatus.NO_CONTENT)
    branch = check_branch(ref.removeprefix(_HEADS))
    deleted = delivery.get("deleted") is True or delivery.get("after") == _NOTHING
    repository = delivery.get("repository")
    projects = _projects_of(deps.settings(), repository if isinstance(repository, dict) else {})
    if not projects:
        return Response(status=HTTPStatus.NO_CONTENT)
    caller = _caller(delivery)
    revision = _revision(delivery.get("after"))
    slugs = [
        deps.operations.push(project, branch, deleted=deleted, caller=caller, revision=revision) for project in projects
    ]
    answer = jsonify({"projects": projects, "environments": [slug for slug in slugs if slug is not None]})
    answer.status_code = HTTPStatus.ACCEPTED
    return answer


def _revision(after: object) -> Revision | None:
    try:
        return Revision(after) if isinstance(after, str) else None
    except ValueError:
        return None


def same_repository(remote: str, repository: Mapping[str, Any]) -> bool:
    """Whether a delivery's repository is the configured remote, over whatever protocol either is written.

    A host alias of ~/.ssh/config hides the forge's name, so the path alone may decide: the delivery is
    signed, and a wrong yes costs one look at our own remote.
    """
    return _is_one_of(_place(remote), repository.get("full_name"), _places(repository))


def _projects_of(settings: Settings, repository: Mapping[str, Any]) -> list[str]:
    full_name, places = repository.get("full_name"), _places(repository)
    return [
        name for name, project in settings.projects.items() if _is_one_of(_place(project.remote), full_name, places)
    ]


def _places(repository: Mapping[str, Any]) -> set[tuple[str, str]]:
    names = (repository.get(key) for key in ("clone_url", "ssh_url", "git_url", "html_url"))
    return {_place(name) for name in names if isinstance(name, str)}


def _is_one_of(place: tuple[str, str], full_name: object, places: set[tuple[str, str]]) -> bool:
    return place in places or (isinstance(full_name, str) and "/" in full_name and full_name.lower() == place[1])


def _place(url: str) -> tuple[str, str]:
    """Host (with a port that is not the protocol's own) and path, both without what differs between protocols."""
    scp = None if "://" in url else _SCP.fullmatch(url)
    if scp is not None:
        return scp[1].lower(), _path(scp[2])
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", ""
    usual = {"https": 443, "http": 80, "ssh": 22, "git": 9418}.get(parts.scheme)
    suffix = f":{port}" if port not in (None, usual) else ""
    return f"{(parts.hostname or '').lower()}{suffix}", _path(parts.path)


def _path(path: str) -> str:
    return path.strip("/").removesuffix(".git").rstrip("/").lower()


def _delivery(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a delivery, sent as JSON or in a form. RequestError 400 or 415."""
    if request.headers.get("Content-Encoding"):
        abort(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    if request.mimetype == "application/x-www-form-urlencoded":  # what GitHub offers first
        text = _from_form(body)
    elif request.mimetype == "application/json":
        text = _decoded(body)
    else:
        abort(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        delivery = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits are a ValueError
        raise _unreadable() from error
    if not isinstance(delivery, dict):
        raise _unreadable()
    return delivery


def _from_form(body: bytes) -> str:
    try:
        values = parse_qs(_decoded(body), max_num_fields=10, errors="strict").get("payload", [])
    except ValueError as error:
        raise _unreadable() from error
    return values[0] if values else ""


def _decoded(body: bytes) -> str:
    """Strictly UTF-8: json.loads on bytes would guess UTF-16 and UTF-32 as well."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _unreadable() from error


def _text(delivery: Mapping[str, Any], key: str) -> str:
    value = delivery.get(key)
    if not isinstance(value, str) or not value or not _is_unicode(value):
        raise RequestError(f"The delivery has no `{key}`.", code="bad-delivery")
    return value


def _is_unicode(text: str) -> bool:
    """JSON can write half of a surrogate pair; no database, file or process takes that."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _caller(delivery: Mapping[str, Any]) -> str:
    sender = delivery.get("sender")
    login = sender.get("login") if isinstance(sender, dict) else None
    return f"github:{login}" if isinstance(login, str) and _LOGIN.fullmatch(login) else "github"


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _unreadable() -> RequestError:
    return RequestError("The delivery is not a JSON object in UTF-8.", code="bad-delivery")
