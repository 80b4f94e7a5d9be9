"""Pages: what a hostname says in plain words while no container answers it.

Traefik sends here whatever it has no better place for, so every path, method and header is a stranger's.
Only the Host header is believed, and a page tells of the one environment it names, never of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, Response, make_response, render_template, request

from agent.config import Settings
from agent.errors import AgentError
from agent.model.deployment import Deployment, Failure, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Hostname, Slug
from agent.planning.reconcile import MAX_REPAIRS
from agent.web import problems
from agent.web.deps import Deps

_STARTING_AGAIN_S = 3
_ASLEEP_AGAIN_S = 15
_LONGEST_TEXT = 400  # characters of anything that somebody else wrote

_TYPES = ("text/html", "application/json", problems.CONTENT_TYPE, "text/plain")
# The one style sheet is in the page; nothing is loaded, run, framed or sent.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_DOING = {
    Phase.QUEUED: "is waiting for its turn",
    Phase.FETCHING: "is being fetched",
    Phase.BUILDING: "is being built",
    Phase.STARTING: "is starting",
}


@dataclass(frozen=True, slots=True)
class Page:
    """`code` is for programs; `detail` says what is the case, `hint` what to do next; `again_s` when to come back."""

    status: HTTPStatus
    code: str
    title: str
    detail: str
    hint: str
    again_s: int = 0


def blueprint(deps: Deps) -> Blueprint:
    """Answers every request of the application it is registered in, whatever its path and method."""
    pages = Blueprint("pages", __name__, template_folder="templates")

    @pages.before_app_request
    def answer() -> Response:
        store = deps.store
        page = page_for(
            request.environ.get("HTTP_HOST", ""),
            settings=deps.settings(),
            environment=store.environments.get,
            current=store.deployments.current,
            last=store.deployments.last,
        )
        return _response(page)

    return pages


def page_for(
    host: str,
    *,
    settings: Settings,
    environment: Callable[[Slug], Environment | None],
    current: Callable[[Slug], Deployment | None],
    last: Callable[[Slug], Deployment | None],
) -> Page:
    """The page of the environment that the Host header names, asking the store as little as possible."""
    found = _named(host, settings)
    row = environment(found[0]) if found else None
    if found is None or row is None:
        return _unknown(found is not None, settings)
    name = f"Branch {_shown(row.branch)} of {_shown(row.project)}"
    if row.wanted is Wanted.ABSENT:
        return Page(
            HTTPStatus.NOT_FOUND,
            "environment-removed",
            "This stage is being taken down",
            f"{name} is being removed.",
            _commands(settings, "To have it again:", "deploy", "BRANCH"),
        )
    if row.wanted is Wanted.ASLEEP:
        return Page(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "asleep",
            "This stage is asleep",
            f"{name} is stopped; its data is kept.",
            _commands(settings, "To wake it:", "wake", row.slug),
            again_s=_ASLEEP_AGAIN_S,
        )
    running = current(row.slug)
    if running is not None:
        return _starting(name, running.phase)
    ended = last(row.slug)
    if ended is not None and ended.phase is Phase.FAILED:
        has_run = row.deployed_revision is not None
        if not has_run or row.repairs >= MAX_REPAIRS:
            return _failed(name, row, ended.failure, settings, has_stopped=has_run)
    if found[1] and ended is not None and ended.phase is Phase.READY:
        return Page(
            HTTPStatus.NOT_FOUND,
            "no-such-service",
            "There is no such service",
            f"{name} is on stage, but nothing answers for its service {_shown(found[1])}.",
            f"The stage itself is at {settings.url(settings.hostname(row.slug))}. "
            "A service is reached from outside when it has `ports:` in the compose file and runs.",
        )
    return _starting(name, None)


def _named(host: str, settings: Settings) -> tuple[Slug, str] | None:
    """The slug and the further service that a Host header means; None when it cannot be an environment's."""
    name, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdecimal() and len(port) <= 5):
        return None
    try:
        label, _, domain = Hostname(name.lower().removesuffix(".")).partition(".")
        if domain != settings.domain:
            return None
        slug, _, service = label.partition("--")  # a slug never holds two hyphens in a row
        return Slug(slug), service
    except ValueError:
        return None


def _unknown(well_formed: bool, settings: Settings) -> Page:
    detail = "No environment has this address." if well_formed else "This is not the address of an environment."
    return Page(
        HTTPStatus.NOT_FOUND,
        "no-such-environment",
        "Nothing is on stage here",
        f"{detail} It may have been removed, or the address has a typo.",
        _commands(settings, "To put a branch on stage:", "deploy", "BRANCH"),
    )


def _starting(name: str, phase: Phase | None) -> Page:
    doing = _DOING.get(phase, "is about to start") if phase is not None else "is about to start"
    return Page(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "starting",
        "The curtain rises in a moment",
        f"{name} {doing}.",
        "This page becomes the site by itself as soon as it is ready.",
        again_s=_STARTING_AGAIN_S,
    )


def _failed(name: str, row: Environment, failure: Failure | None, settings: Settings, *, has_stopped: bool) -> Page:
    what = "has stopped" if has_stopped else "could not be put on stage"
    detail = f"{name} {what}."
    if failure is not None:
        service = f" in service {_shown(failure.service)}" if failure.service else ""
        detail = f"{name} {what}{service}: {_shown(failure.message)}"
    hint = _shown(failure.hint) + " " if failure is not None and failure.hint else ""
    return Page(
        HTTPStatus.BAD_GATEWAY,
        "stopped" if has_stopped else "deploy-failed",
        "This stage has stopped" if has_stopped else "This branch did not make it to the stage",
        detail,
        hint + _commands(settings, "The whole story:", "status", row.slug, "show"),
    )


def _commands(settings: Settings, lead: str, verb: str, subject: str, cli_verb: str = "") -> str:
    """Where to say it. The slug stands for the branch: it needs no quoting in any shell."""
    terminal = f"`butai {cli_verb or verb} {subject}` in a terminal on the host"
    return f"{lead} `/butai {verb} {subject}` in Slack, or {terminal}." if settings.slack else f"{lead} {terminal}."


def _shown(text: str) -> str:
    """One line, cut, with every invisible or direction-changing character by its number."""
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 1]}…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in line
    )


def _preferred() -> str:
    """What the client names; a line of text for who only says "anything": curl, scripts, images."""
    accepted = request.accept_mimetypes
    named = [kind for kind in _TYPES if kind in accepted.values()]
    return accepted.best_match(named) or "text/plain"


def _response(page: Page) -> Response:
    kind = _preferred()
    if kind == "text/html":
        answer = make_response(render_template("page.html", page=page, hint=page.hint.split("`")))
        answer.headers["Content-Security-Policy"] = _POLICY
    elif kind == "text/plain":
        answer = Response(f"{page.detail}\n{page.hint}\n", content_type="text/plain; charset=utf-8")
    else:
        error = AgentError(page.detail, hint=page.hint, code=page.code)
        error.http_status = page.status
        answer = problems.render(error)
    answer.status_code = page.status
    answer.headers.pop("Retry-After", None)
    if page.again_s:
        answer.headers["Retry-After"] = str(page.again_s)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Robots-Tag"] = "noindex"
    answer.headers["Vary"] = "Accept"
    return answer
