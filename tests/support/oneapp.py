"""One application for all tests of a process, each of which has a world of its own behind it.

To make an application takes 25 ms, longer than most of the requests that tests send to it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from flask import Flask
from flask.testing import FlaskClient

from agent.web.app import create_app
from agent.web.deps import Deps

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class _Behind(threading.local):
    """What answers the request of this thread."""

    deps: Deps

    def __getattr__(self, name: str) -> object:
        if name == "deps":
            raise AttributeError("nobody asked anything yet")
        return getattr(self.deps, name)


_behind = _Behind()


@functools.cache
def _app() -> Flask:
    return create_app(cast("Deps", _behind))


class _Client(FlaskClient):
    deps: Deps

    def open(self, *arguments: Any, **options: Any) -> Any:
        _behind.deps = self.deps
        return super().open(*arguments, **options)


def client_of(deps: Deps) -> FlaskClient:
    """Somebody who sends requests to an agent with these `deps`."""
    client = _Client(_app(), _app().response_class)
    client.deps = deps
    return client


def served(deps: Deps) -> WSGIApplication:
    """The same for a server and its threads."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _behind.deps = deps
        return _app()(environ, start_response)

    return application
