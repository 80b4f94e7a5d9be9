"""The HTTP API: parse, call an operation or the inspector, answer JSON as openapi.json says.

Nothing here decides or waits for work: operations answer 202 and the caller follows the deployment.
Who may call is decided before (`web/app`): the socket's permissions, or the token on TCP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from http import HTTPStatus
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, request

from agent.model.deployment import Deployment, Phase
from agent.runtime.operations import Accepted, Operations
from agent.web import api_dns, api_inside, views
from agent.web.arguments import Arguments
from agent.web.deps import Deps, caller
from agent.web.longpoll import MAX_WAIT_S, wait_for
from agent.web.lookup import existing, missing, slug_of

PREFIX = "/api/v1"
PHASES = tuple(str(phase) for phase in Phase)

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)

Answer = tuple[dict[str, Any], int]


def blueprint(deps: Deps) -> Blueprint:
    """Every route of the document; a test holds the two together."""
    routes = Blueprint("api", __name__, url_prefix=PREFIX)
    _add_host(routes, deps)
    _add_environments(routes, deps)
    _add_looks_inside(routes, deps)
    _add_history(routes, deps)
    _add_edits(routes, deps)
    api_inside.add(routes, deps)
    api_dns.add(routes, deps)
    return routes


def document() -> dict[str, Any]:
    """The OpenAPI document, as it is shipped."""
    text = files("agent.web").joinpath("openapi.json").read_text("utf-8")
    return dict(json.loads(text))


def _add_host(routes: Blueprint, deps: Deps) -> None:
    @routes.get("/health")
    def health() -> Answer:
        instance = deps.settings().instance
        body = {"status": "ok", "version": version("butai"), "instance": instance, "at": views.time(deps.clock.now())}
        spot = views.spot(deps.spot.notice)
        return {**body, "doctor": views.health(deps.doctor.last), "spot": spot}, HTTPStatus.OK

    @routes.get("/doctor")
    def doctor() -> Answer:
        return views.examination(deps.doctor.look()), HTTPStatus.OK

    @routes.get("/openapi.json")
    def openapi() -> Answer:
        return document(), HTTPStatus.OK

    @routes.get("/projects")
    def projects() -> Answer:
        found = [
            {
                "name": name,
                "default_branch": project.default_branch,
                "auto_deploy": list(project.auto_deploy),
                "listed_at": views.optional_time(deps.store.branches.at(name)),
            }
            for name, project in sorted(deps.settings().projects.items())
        ]
        return {"projects": found}, HTTPStatus.OK

    @routes.get("/projects/<name>/branches")
    def branches(name: str) -> Answer:
        given = Arguments.of_query(request)
        near, limit = given.text("near"), given.whole("limit", 100, low=1, high=1000)
        given.check()
        if name not in deps.settings().projects:
            raise missing("project", name, hint=f"Projects: {', '.join(sorted(deps.settings().projects))}.")
        pairs = deps.operations.branches(name, near=near)[:limit]
        return {"branches": [{"project": project, "branch": branch} for project, branch in pairs]}, HTTPStatus.OK


def _add_environments(routes: Blueprint, deps: Deps) -> None:
    @routes.get("/find")
    def find() -> Answer:
        given = Arguments.of_query(request)
        reference, project = given.text("reference", required=True), given.text("project")
        given.check()
        return views.environment(deps.operations.find(reference, project=project or None)), HTTPStatus.OK

    @routes.get("/environments")
    def list_() -> Answer:
        given = Arguments.of_query(request)
        branch, project = given.text("branch"), given.text("project")
        given.check()
        lines = [
            views.listed(line)
            for line in deps.inspector.listing()
            if branch in ("", line.environment.branch) and project in ("", line.environment.project)
        ]
        return {"environments": lines}, HTTPStatus.OK

    @routes.post("/environments")
    def deploy() -> Answer:
        given = Arguments.of_body(request)
        branch, project = given.text("branch", required=True), given.text("project")
        given.check()
        return _accepted(deps.operations.deploy(branch, project=project or None, caller=caller()))

    @routes.get("/environments/<slug>")
    def show(slug: str) -> Answer:
        return views.shown(deps.inspector.show(slug_of(slug))), HTTPStatus.OK

    @routes.delete("/environments/<slug>")
    def destroy(slug: str) -> Answer:
        return _accepted(deps.operations.destroy(existing(deps, slug), caller=caller()))

    wishes = {
        "redeploy": Operations.redeploy,
        "sleep": Operations.sleep,
        "wake": Operations.wake,
        "pin": Operations.pin,
        "unpin": Operations.unpin,
    }

    def wish(slug: str, verb: str) -> Answer:
        return _accepted(wishes[verb](deps.operations, existing(deps, slug), caller=caller()))

    for verb in wishes:
        path = f"/environments/<slug>/{verb}"
        routes.add_url_rule(path, verb, wish, defaults={"verb": verb}, methods=["POST"])


def _add_looks_inside(routes: Blueprint, deps: Deps) -> None:
    @routes.get("/environments/<slug>/plan")
    def plan(slug: str) -> Answer:
        return views.plan(deps.inspector.plan(slug_of(slug))), HTTPStatus.OK

    @routes.get("/environments/<slug>/containers")
    def containers(slug: str) -> Answer:
        found = deps.inspector.containers(slug_of(slug))
        return {"containers": [views.container(one) for one in found]}, HTTPStatus.OK

    @routes.get("/environments/<slug>/logs")
    def logs(slug: str) -> Response:
        given = Arguments.of_query(request)
        service, tail = given.text("service"), given.whole("tail", 100, high=10_000)
        follow = given.flag("follow")
        given.check()
        # Asked before the answer begins: afterwards an error could only cut the stream.
        read = deps.inspector.follow if follow else deps.inspector.logs
        lines = read(slug_of(slug), service=service, tail=tail)
        return Response(_log_lines(iter(lines)), content_type="application/x-ndjson")


def _add_history(routes: Blueprint, deps: Deps) -> None:
    @routes.get("/environments/<slug>/deployments")
    def history(slug: str) -> Answer:
        given = Arguments.of_query(request)
        limit = given.whole("limit", 20, low=1, high=100)
        given.check()
        found = deps.store.deployments.history(existing(deps, slug), limit)
        return {"deployments": [views.deployment(one) for one in found]}, HTTPStatus.OK

    @routes.get("/deployments/<number>")
    def deployment(number: str) -> Answer:
        given = Arguments.of_query(request)
        known, wait_s = given.choice("phase", PHASES), given.seconds("wait_s", high=MAX_WAIT_S)
        given.check()
        _deployment(deps, number)
        wait_for(lambda: _deployment(deps, number).phase != known, wait_s if known else 0, deps.stopping)
        return views.deployment(_deployment(deps, number)), HTTPStatus.OK

    @routes.get("/deployments/<number>/log")
    def deployment_log(number: str) -> Answer:
        given = Arguments.of_query(request)
        offset, known = given.whole("offset", 0), given.choice("phase", PHASES)
        wait_s = given.seconds("wait_s", high=MAX_WAIT_S)
        given.check()

        def has_news() -> bool:
            changed = known and _deployment(deps, number).phase != known
            return bool(changed) or bool(deps.inspector.build_log(int(number), offset=offset)[0])

        phase = _deployment(deps, number).phase  # before the text: nothing is written after a final phase
        wait_for(has_news, wait_s, deps.stopping)
        if wait_s:
            phase = _deployment(deps, number).phase
        text, end = deps.inspector.build_log(int(number), offset=offset)
        return {"text": text, "offset": end, "phase": phase}, HTTPStatus.OK

    @routes.get("/events")
    def events() -> Answer:
        given = Arguments.of_query(request)
        after, slug = given.whole("after", 0), given.text("slug")
        limit, wait_s = given.whole("limit", 100, low=1, high=1000), given.seconds("wait_s", high=MAX_WAIT_S)
        given.check()
        wait_for(lambda: bool(deps.store.events.list(after=after, slug=slug, limit=1)), wait_s, deps.stopping)
        found = deps.store.events.list(after=after, slug=slug, limit=limit)
        return {
            "events": [views.event(one) for one in found],
            "after": found[-1].id if found else after,
        }, HTTPStatus.OK


def _add_edits(routes: Blueprint, deps: Deps) -> None:
    @routes.get("/environments/<slug>/edits")
    def edits(slug: str) -> Answer:
        given = Arguments.of_query(request)
        limit = given.whole("limit", 20, low=1, high=1000)
        given.check()
        return {"edits": [views.edit(one) for one in deps.edits.kept(existing(deps, slug), limit=limit)]}, HTTPStatus.OK

    @routes.get("/environments/<slug>/edits/<edit>")
    def edit(slug: str, edit: str) -> Answer:
        found = deps.edits.find(existing(deps, slug), edit)
        # Patches hold bytes of any kind; what is no UTF-8 arrives as lone surrogates, so that nothing is lost.
        patch = deps.edits.patch(slug_of(slug), found).decode(errors="surrogateescape")
        return {**views.edit(found), "patch": patch}, HTTPStatus.OK

    @routes.post("/environments/<slug>/edits/<edit>/restore")
    def restore(slug: str, edit: str) -> Answer:
        return {"text": deps.edits.restore(existing(deps, slug), edit, caller=caller())}, HTTPStatus.ACCEPTED


def _accepted(answer: Accepted) -> Answer:
    return views.accepted(answer), HTTPStatus.ACCEPTED


def _log_lines(lines: Iterator[tuple[str, str]]) -> Iterator[str]:
    """One JSON object a line; the inspector's empty pairs become empty lines, which find out that nobody listens."""
    try:
        for service, line in lines:
            yield json.dumps({"service": service, "line": line}) + "\n" if service else "\n"
    finally:
        if isinstance(lines, Generator):  # following reads from the engine until it is closed
            lines.close()


def _deployment(deps: Deps, number: str) -> Deployment:
    # Not Flask's int converter: it answers 500 to 5,000 digits, and SQLite holds 63 bits.
    found = deps.store.deployments.get(int(number)) if _NUMBER.fullmatch(number) else None
    if found is None:
        raise missing("deployment", number, hint="See `butai show BRANCH` for the last ones.")
    return found
