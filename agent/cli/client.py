"""The CLI's side of the HTTP API: the one place that knows the transport, a Unix socket.

Every answer that is not a success is raised as the error that the agent meant, with its code and hint.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError, DeployError, OutsideError, RequestError, StateError

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]
Params = Mapping[str, str | int | float | bool]

WAIT_S = 25  # how long one request may wait for news: the API's limit

_TIMEOUT_S = 40.0  # more than WAIT_S, and than one slow look at a busy Docker
_NONE: Params = {}


class Client:
    """One connection pool to one agent; `close` it, or let the process end."""

    def __init__(self, socket: Path, *, on_behalf_of: str = "") -> None:
        import ssl

        import httpx  # here: 100 ms that `butai --help` does not need

        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # else every command reads all authorities of the host
        self._socket = socket
        # The environment is not trusted: HTTP_PROXY has no say about a Unix socket.
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket), verify=no_tls),
            base_url="http://butai/api/v1",
            timeout=_TIMEOUT_S,
            trust_env=False,
            headers={"X-Butai-On-Behalf-Of": on_behalf_of} if on_behalf_of else None,
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, params: Params = _NONE) -> Json:
        return self._ask("GET", path, params=dict(params))

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Json:
        return self._ask("POST", path, json=body)

    def delete(self, path: str) -> Json:
        return self._ask("DELETE", path)

    def lines(self, path: str, params: Params = _NONE) -> Iterator[Json]:
        """The JSON objects of a stream, as they come; for as long as the agent sends."""
        import httpx

        try:
            with self._http.stream("GET", path, params=dict(params), timeout=_TIMEOUT_S) as answer:
                if answer.is_error:
                    answer.read()
                    raise _meaning(answer)
                for line in answer.iter_lines():
                    if line:  # empty ones only show that the connection lives
                        yield json.loads(line)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _ask(self, method: str, path: str, **options: Any) -> Json:
        import httpx

        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise _meaning(answer)
        try:
            return dict(answer.json())
        except ValueError as error:
            raise StateError(f"What listens at {self._socket} is not butai.", hint="Check --socket.") from error

    def _unreachable(self, error: httpx.TransportError) -> OutsideError:
        """Which of the three reasons it is: nobody listens, not allowed, or the connection broke."""
        number = _errno(error)
        if number in (errno.EACCES, errno.EPERM):
            return OutsideError(
                f"You may not use the agent's socket {self._socket}.",
                hint=f"Join the group that `ls -l {self._socket}` shows, then log in again.",
                code="agent-forbidden",
            )
        if number in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK, errno.ENOTDIR):
            return OutsideError(
                f"No agent listens at {self._socket}.",
                hint="Is butai running? See `systemctl status butai`, or name its socket with --socket.",
                code="agent-unreachable",
            )
        return OutsideError(
            f"The agent at {self._socket} broke off: {error}.",
            hint="It may be restarting; see `systemctl status butai`.",
            code="agent-unreachable",
        )


def _errno(error: BaseException | None) -> int | None:
    """The system's error number at the bottom of the chain; httpx wraps it twice."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def _meaning(answer: httpx.Response) -> AgentError:
    try:
        problem = dict(answer.json())
        message, hint, code = str(problem["detail"]), str(problem.get("hint", "")), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        return StateError(f"The agent answered {answer.status_code} and did not say why.", hint="See its log.")
    status = answer.status_code
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        service, tail = str(problem.get("service", "")), tuple(problem.get("log_tail", ()))
        return DeployError(message, hint=hint, code=code, service=service, log_tail=tail)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return OutsideError(message, hint=hint, code=code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StateError(message, hint=hint, code=code)
    return RequestError(message, hint=hint, code=code, http_status=status)
