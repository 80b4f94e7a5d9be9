"""The calls of people who go into an environment: exec, copy, tunnel, and where its worktree is.

Nothing is run, copied or connected here: the caller does that with its own rights. The agent finds the container
and writes down who went in.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, request

from agent.errors import RequestError
from agent.model.names import Slug
from agent.model.observed import Container
from agent.web.arguments import Arguments
from agent.web.deps import Deps, caller
from agent.web.lookup import existing, slug_of

Answer = tuple[dict[str, Any], int]

_INTO, _OUT_OF = "into", "out of"


def add(routes: Blueprint, deps: Deps) -> None:
    """Put the calls on the API's blueprint."""

    @routes.post("/environments/<slug>/exec")
    def exec_(slug: str) -> Answer:
        given = Arguments.of_body(request, required=False)
        service, command = given.text("service"), given.texts("command", ["sh"])
        given.check()
        container = _running(deps, slug_of(slug), service)
        # The program only: arguments may hold secrets, and events are for everybody's eyes.
        _record(deps, slug, "exec", f"opened {command[0][:60]!a} in {container.service}")
        return _target(deps, container), HTTPStatus.OK

    @routes.post("/environments/<slug>/copy")
    def copy(slug: str) -> Answer:
        given = Arguments.of_body(request)
        service, path = given.text("service", required=True), given.text("path", required=True)
        is_into = given.choice("direction", (_INTO, _OUT_OF)) == _INTO
        given.check()
        container = deps.inspector.container(slug_of(slug), service)
        direction = _INTO if is_into else _OUT_OF
        _record(deps, slug, "copy", f"copy {direction} {path[:200]!a} of {container.service} asked for")
        return _target(deps, container), HTTPStatus.OK

    @routes.post("/environments/<slug>/tunnel")
    def tunnel(slug: str) -> Answer:
        given = Arguments.of_body(request)
        service, port = given.text("service", required=True), given.number("port", low=1, high=65_535)
        is_further = given.yes("further")
        given.check()
        container = _running(deps, slug_of(slug), service)
        address = next((one for _, one in sorted(container.addresses.items()) if one), "")
        if not address:
            raise RequestError(
                f"Service `{container.service}` of {slug} has no address of its own.",
                hint="It shares the network of another service (`network_mode`), or has none: name that service.",
                code="no-address",
                http_status=HTTPStatus.CONFLICT,
            )
        if not is_further:
            _record(deps, slug, "tunnel", f"opened a tunnel to {container.service}:{port}")
        return {"service": container.service, "address": address, "port": port}, HTTPStatus.OK

    @routes.get("/environments/<slug>/worktree")
    def worktree(slug: str) -> Answer:
        path, takes_edits = deps.edits.worktree(existing(deps, slug))
        return {"path": str(path), "takes_edits": takes_edits}, HTTPStatus.OK


def _running(deps: Deps, slug: Slug, service: str) -> Container:
    container = deps.inspector.container(slug, service)
    if not container.running:
        raise RequestError(
            f"Service `{container.service}` of {slug} does not run: it is {container.state}.",
            hint=f"See `butai logs {slug} {container.service}`, or wake it with `butai wake {slug}`.",
            code="not-running",
            http_status=HTTPStatus.CONFLICT,
        )
    return container


def _record(deps: Deps, slug: str, kind: str, text: str) -> None:
    deps.store.events.add(kind, slug=slug_of(slug), caller=caller(), text=text, now=deps.clock.now())


def _target(deps: Deps, container: Container) -> dict[str, Any]:
    return {
        "container": container.id,
        "name": container.name,
        "service": container.service,
        "docker_host": deps.settings().docker.host,
    }
