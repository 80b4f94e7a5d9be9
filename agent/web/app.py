"""The application: limits, who may talk to what, and which host names are the agent's own.

Three Flask applications behind one WSGI entry. The agent's own (hooks, Slack, API) answers on the Unix
socket and under the agent's host name; every other host name is a stage, and its requests get
a page that says why there is no site (yet), whatever their path: `/hooks/github` of a staged site is not ours.
Containers get nothing of either: those of a project with an AWS role are answered as its metadata service would.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from agent.errors import RequestError
from agent.planning.edge import agent_address, agent_hostname, edge_address
from agent.web import api, care, hooks, lending, metadata, pages, problems, slack
from agent.web.deps import LISTENER, PEER, SOCKET, Deps, caller, on_socket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Deps", "caller", "create_app", "on_socket"]

MAX_BODY_BYTES = 25_000_000  # GitHub's own cap for a delivery; routes with smaller needs say so themselves

# One host, one optional port. What does not match is nobody's name: 400.
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


def create_app(deps: Deps) -> Flask:
    """The whole HTTP edge. Does nothing by itself: `web/server.py` serves it, tests call it."""
    app = _bare("butai")
    app.before_request(lambda: _admit_api(deps))
    app.register_blueprint(slack.blueprint(deps))
    app.register_blueprint(hooks.blueprint(deps))
    app.register_blueprint(lending.blueprint(deps))
    app.register_blueprint(api.blueprint(deps))
    app.register_blueprint(care.blueprint(deps))
    stages = _bare("butai-stages")
    stages.register_blueprint(pages.blueprint(deps))
    credentials = _bare("butai-metadata")
    credentials.register_blueprint(metadata.blueprint(deps))
    app.wsgi_app = _Door(  # type: ignore[method-assign]
        app.wsgi_app, stages=stages.wsgi_app, credentials=credentials.wsgi_app, deps=deps
    )
    return app


def _bare(name: str) -> Flask:
    app = Flask(name, root_path=problems.__file__.rpartition("/")[0], static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.merge_slashes = False  # `//hooks/github` is not a way to say `/hooks/github`
    app.json.sort_keys = False  # type: ignore[attr-defined]
    problems.install(app)
    app.after_request(_harden)
    return app


def _harden(answer: Response) -> Response:
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "no-referrer")
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


def _admit_api(deps: Deps) -> None:
    """API and figures: on the Unix socket for whoever may open it, on TCP only with the token of the settings."""
    if request.blueprint not in ("api", "care") or on_socket():
        return
    token = deps.settings().server.token
    if not token:
        raise RequestError(
            "The API and the figures are served on the Unix socket only.",
            hint="Set server.token_file to serve it here as well.",
            code="not-found",
            http_status=HTTPStatus.NOT_FOUND,
        )
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    expected = token.reveal().encode()
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), expected):
        raise RequestError(
            "This needs the agent's token.",
            hint="Send `Authorization: Bearer TOKEN`.",
            code="unauthorized",
            http_status=HTTPStatus.UNAUTHORIZED,
        )


class _Door:
    """Gives containers their credentials or nothing, and sends others to the agent's own pages or to the stages'."""

    def __init__(
        self, own: WSGIApplication, *, stages: WSGIApplication, credentials: WSGIApplication, deps: Deps
    ) -> None:
        self._own = own
        self._stages = stages
        self._credentials = credentials
        self._deps = deps

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(LISTENER) == SOCKET:
            return self._own(environ, start_response)
        container = self._container(environ.get("REMOTE_ADDR", ""))
        if container:
            if not self._deps.metadata.serves(container):
                return _refuse(HTTPStatus.FORBIDDEN, "Containers may not talk to the agent.", start_response)
            environ[PEER] = container
            return self._credentials(environ, start_response)
        host = _HOST.fullmatch(environ.get("HTTP_HOST", ""))
        if host is None or int(host["port"] or 0) > 65_535:
            return _refuse(HTTPStatus.BAD_REQUEST, "The Host header is not a host name.", start_response)
        if not self._is_ours(host["name"].lower().rstrip(".")):
            return self._stages(environ, start_response)
        # As it came: servers and frameworks make one slash of several before anybody else sees the path.
        if str(environ.get("REQUEST_URI", environ.get("PATH_INFO", ""))).startswith("//"):
            return _refuse(HTTPStatus.NOT_FOUND, "No such path.", start_response)
        return self._own(environ, start_response)

    def _container(self, address: str) -> str:
        """The peer's address where it is a container of the pool, else "". Traefik may talk, and this host is none."""
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return ""
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped  # how a socket on :: sees an IPv4 peer
        settings = self._deps.settings()
        pool = ipaddress.ip_network(settings.docker.address_pool, strict=False)
        if peer not in pool or str(peer) in (edge_address(settings), agent_address(settings)[0]):
            return ""
        return str(peer)

    def _is_ours(self, name: str) -> bool:
        """The agent's host name, or an address: whoever talks to an address means the agent."""
        if name in ("localhost", agent_hostname(self._deps.settings())):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _refuse(status: HTTPStatus, reason: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = f"{reason}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
