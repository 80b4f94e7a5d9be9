"""The connection to the Docker Engine: docker-py's low-level client, kept alive, with a deadline on every call.

Short calls share one client and its pool of connections; long answers (builds, events, logs that are followed)
each have a `Line` of their own, which any thread may cut. Nothing is asked when these objects are made, so the
agent starts while Docker is down. Errors of the library end here.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import docker
import requests
import urllib3
from docker.errors import APIError, DockerException
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnection, UnixHTTPConnectionPool
from urllib3.connection import HTTPConnection

from agent.errors import AgentError, OutsideError

API_VERSION = "1.44"  # the first with `start_interval`, the oldest that Engine 29 still speaks
CONNECT_TIMEOUT_S = 10

_POOL = 32
_HOST = "http+docker://localhost"
_CHUNK = 64 * 1024
_DISK_FULL = "no space left on device"
_BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, DockerException, OSError)


class Client:
    """One engine at `base_url` (unix:///path or tcp://host:port); shared by all threads.

    `timeout_s` bounds how long the engine may be silent within a short call.
    """

    def __init__(self, base_url: str, *, timeout_s: float) -> None:
        self.base_url = base_url
        self.timeout_s = timeout_s
        self.api = docker.APIClient(
            base_url=base_url, version=API_VERSION, timeout=cast("int", timeout_s), max_pool_size=_POOL
        )
        self.api.trust_env = False  # else every call looks for .netrc and proxies
        self._socket_path = urlsplit(base_url).path if base_url.startswith("unix://") else ""
        if self._socket_path:
            adapter = _OnePool(f"http+unix://{self._socket_path}", cast("int", timeout_s), max_pool_size=_POOL)
            self.api.mount("http+docker://", adapter)

    @contextlib.contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn the library's errors into ours; `what` completes "Docker refused to ..."."""
        try:
            yield
        except APIError as error:
            raise refusal(what, explanation(error)) from error
        except requests.Timeout as error:
            raise OutsideError(
                f"Docker did not answer in time when asked to {what}.", hint=_STATUS, code="docker-slow"
            ) from error
        except _BROKEN as error:
            raise no_answer(self.base_url) from error

    def line(self) -> Line:
        """A connection of its own for one long answer."""
        return Line(self.base_url, self._connection)

    def converse(self, path: str, config: Mapping[str, Any]) -> socket.socket:
        """A connection that the engine turns into a two-way stream; whoever asks closes it. Raises EngineRefused.

        From here on `timeout_s` bounds each wait for it.
        """
        connection = self._connection()
        headers = {"Host": "docker", "Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"}
        with self.asking("open a stream"):
            connection.request("POST", f"/v{API_VERSION}{path}", body=json.dumps(config).encode(), headers=headers)
            response = connection.getresponse()
            sock = cast("socket.socket", connection.sock)
            sock.settimeout(self.timeout_s)
            if response.status >= 400:
                connection.close()
                raise EngineRefused(response.status, _message(response.data))
        return sock

    def create(self, config: Mapping[str, Any], *, name: str = "", version: str = API_VERSION) -> str:
        """Create a container from the engine's own words, which docker-py's host configuration lags behind; its id.

        Raises APIError. `version` lets a field through that is newer than our usual API version.
        """
        params = {"name": name} if name else {}
        return self.make("/containers/create", config, params=params, version=version)

    def make(
        self,
        path: str,
        config: Mapping[str, Any],
        *,
        params: Mapping[str, str] | None = None,
        version: str = API_VERSION,
    ) -> str:
        """Have the engine make something out of its own words; its id. Raises APIError."""
        url = f"{self.api.base_url}/v{version}{path}"
        response = self.api.post(url, params=params or {}, json=config, timeout=self.timeout_s)
        self.api._raise_for_status(response)  # type: ignore[attr-defined]
        return cast("str", response.json()["Id"])

    def _connection(self) -> HTTPConnection:
        if self._socket_path:
            return UnixHTTPConnection(_HOST, self._socket_path, CONNECT_TIMEOUT_S)
        url = urlsplit(self.base_url)
        return HTTPConnection(url.hostname or "localhost", url.port or 2375, timeout=CONNECT_TIMEOUT_S)


class Line:
    """One request and its long answer. Only `cut` may be called from other threads, and at any time."""

    def __init__(self, base_url: str, connect: Any) -> None:
        self._base_url = base_url
        self._connection: HTTPConnection = connect()
        self._response: urllib3.BaseHTTPResponse | None = None
        self._lock = threading.Lock()
        self._cut = False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send, and read the answer's head. OutsideError when there is no engine, EngineRefused when it says no."""
        connection = self._connection
        url = f"/v{API_VERSION}{path}?{urlencode(params)}"
        try:
            connection.connect()
            with self._lock:
                if self._cut:
                    return
            connection.timeout = None  # silence is fine from here on: whoever waits cuts the line
            # An engine that refuses early closes its side while we still send: its reason is worth reading.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    method,
                    url,
                    body=body,
                    headers={"Host": "docker", **(headers or {})},
                    chunked=body is not None,
                    preload_content=False,
                )
            self._response = connection.getresponse()
        except AgentError:
            raise
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
            if self._cut:
                return
            raise no_answer(self._base_url) from error
        if self._response.status >= 400:
            raise EngineRefused(self._response.status, _message(self._response.data))

    @property
    def content_type(self) -> str:
        return "" if self._response is None else self._response.headers.get("Content-Type", "")

    def chunks(self) -> Iterator[bytes]:
        """The answer as it comes; ends early, without an error, once the line is cut."""
        if self._response is None:
            return
        try:
            yield from self._response.stream(_CHUNK)
        except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError, AttributeError) as error:
            if not self._cut:
                raise OutsideError(
                    "The connection to Docker broke.", hint="It is tried again.", code="docker-down"
                ) from error

    def objects(self) -> Iterator[dict[str, Any]]:
        """The answer as JSON objects, one a line."""
        rest = b""
        for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())
        if rest.strip() and not self._cut:
            yield json.loads(rest)

    def cut(self) -> None:
        """End the conversation now; the engine notices and stops what it does for us."""
        with self._lock:
            self._cut = True
            sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                cast("socket.socket", sock).shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back, from the thread that reads."""
        self.cut()
        self._connection.close()


class EngineRefused(Exception):
    """An answer of 400 and more on a Line; the caller knows who must act."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def refusal(what: str, why: str) -> OutsideError:
    """The error for a refusal that nobody can do anything about but wait, or make room."""
    if _DISK_FULL in why.lower():
        return disk_full()
    return OutsideError(f"Docker refused to {what}: {why}", code="docker-refused")


def no_answer(base_url: str) -> OutsideError:
    return OutsideError(f"Docker does not answer on {base_url}.", hint=_STATUS, code="docker-down")


def disk_full() -> OutsideError:
    return OutsideError(
        "The disk of the Docker host is full.",
        hint="Free some space, for example with `docker builder prune`; then it goes on by itself.",
        code="disk-full",
    )


def is_disk_full(why: str) -> bool:
    return _DISK_FULL in why.lower()


def explanation(error: APIError) -> str:
    """The engine's own sentence, without the library's wrapping."""
    return str(error.explanation or error).strip()


_STATUS = "See `systemctl status docker`; it is tried again."


class _OnePool(UnixHTTPAdapter):
    """One pool of connections for the whole engine.

    docker-py keys its pools by the full URL, so that every path and query opens a connection of its own.
    """

    def get_connection(self, url: str | bytes, proxies: Any = None) -> UnixHTTPConnectionPool:
        return super().get_connection(_HOST)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()
