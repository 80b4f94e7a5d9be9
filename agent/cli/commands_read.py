"""The commands that only look: list, show, plan, logs, events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click

from agent.cli import follow as following
from agent.cli import render, show_view
from agent.cli.client import WAIT_S, Json
from agent.cli.options import (
    EnvironmentName,
    ProjectName,
    ServiceName,
    environment_argument,
    json_option,
    project_option,
)
from agent.cli.session import Session
from agent.cli.steps import FINAL
from agent.errors import RequestError

_HUES = ("cyan", "green", "magenta", "yellow", "blue")  # of service names in mixed logs


@click.command("list")
@click.option("--project", "-p", type=ProjectName(), metavar="NAME", help="Only this project.")
@json_option
@click.pass_obj
def list_(session: Session, *, project: str | None, as_json: bool) -> None:
    """List environments."""
    answer = session.client.get("/environments", {"project": project} if project else {})
    if as_json:
        render.out_json(answer)
        return
    rows = [_row(line) for line in answer["environments"]]
    if rows:
        render.table(("BRANCH", "PROJECT", "SERVICES", "LAST", "URL", "SUMMARY"), rows)
    else:
        render.tell("Nothing is on stage. Begin with `butai deploy BRANCH`.")
    health = session.client.get("/health")
    doctor, spot = health.get("doctor"), health.get("spot")  # an agent that was not restarted yet has none
    if spot:
        render.complaint("host", spot["says"])
    if doctor and doctor["verdict"] == "failure":
        render.complaint("host", f"{doctor['summary']}; see `butai doctor`")


def _row(line: Json) -> tuple[str, ...]:
    environment, last = line["environment"], line["deployment"] or {}
    pinned = ", pinned" if environment["pinned"] else ""
    age = render.ago(last.get("finished_at") or last.get("started_at"))
    return (
        environment["branch"],
        environment["project"],
        line["services"],
        age,
        line["url"],
        line["summary"] + pinned,
    )


@click.command()
@environment_argument
@json_option
@click.option("--timing", is_flag=True, help="Say where the last deployment spent its time, to the millisecond.")
@click.pass_obj
def show(session: Session, branch: str, *, project: str | None, as_json: bool, timing: bool) -> None:
    """Show what is wanted, what runs, and what comes next."""
    slug = session.find(branch, project)["slug"]
    answer = session.client.get(f"/environments/{slug}")
    if as_json:
        render.out_json(answer)
    else:
        show_view.show(answer, timing=timing)


@click.command()
@environment_argument
@json_option
@click.pass_obj
def plan(session: Session, branch: str, *, project: str | None, as_json: bool) -> None:
    """Tell what would be done next and why; do nothing."""
    slug = session.find(branch, project)["slug"]
    answer = session.client.get(f"/environments/{slug}/plan")
    if as_json:
        render.out_json(answer)
        return
    for line in answer["text"].splitlines():
        render.out(render.clean(line))


@click.command()
@environment_argument
@click.argument("service", required=False, type=ServiceName())
@click.option("--follow", "-f", is_flag=True, help="Stay and print new lines as they come.")
@click.option("--build", "-b", is_flag=True, help="The steps of the last deployment instead.")
@click.option(
    "--tail",
    "-n",
    type=click.IntRange(0, 10_000),
    metavar="LINES",
    default=100,
    show_default=True,
    help="Begin with the last lines of each container.",
)
@json_option
@click.pass_obj
def logs(
    session: Session,
    branch: str,
    service: str | None,
    *,
    project: str | None,
    follow: bool,
    build: bool,
    tail: int,
    as_json: bool,
) -> None:
    """Print the logs of all services, or of one."""
    slug = session.find(branch, project)["slug"]
    if build:
        steps = _steps(session, slug, follow=follow)
        _print_lines(({"service": "", "line": line} for line in steps), named=False, as_json=as_json)
        return
    wish: dict[str, Any] = {"tail": tail, "follow": "true" if follow else "false"}
    if service:
        wish["service"] = service
    lines = session.client.lines(f"/environments/{slug}/logs", wish)
    _print_lines(lines, named=not service, as_json=as_json)


def _steps(session: Session, slug: str, *, follow: bool) -> Iterator[str]:
    """The step log of the last deployment; RequestError when there was none."""
    found = session.client.get(f"/environments/{slug}/deployments", {"limit": 1})["deployments"]
    if not found:
        raise RequestError(f"{slug} was never deployed.", hint=f"Try `butai deploy {slug}`.", code="no-such-deployment")
    [last] = found
    log = following.steps(session.client, last["id"])
    while follow and last["phase"] not in FINAL:
        yield from log.lines(last["phase"])
        last = session.client.get(f"/deployments/{last['id']}")
    yield from log.now()


def _print_lines(lines: Iterable[Json], *, named: bool, as_json: bool) -> None:
    terminal = render.on_terminal()
    hues: dict[str, str] = {}
    for entry in lines:
        if as_json:
            render.out_json(entry, compact=True)
            continue
        name, line = entry["service"], entry["line"]
        hue = hues.setdefault(name, _HUES[len(hues) % len(_HUES)])
        prefix = click.style(f"{name} | ", fg=hue) if named else ""
        render.out(prefix + (render.clean_log(line) if terminal else line))


@click.command()
@click.argument("branch", required=False, type=EnvironmentName())
@project_option
@click.option("--follow", "-f", is_flag=True, help="Stay and print new events as they come.")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 1000),
    metavar="EVENTS",
    default=50,
    show_default=True,
    help="Begin with the newest ones.",
)
@json_option
@click.pass_obj
def events(
    session: Session, branch: str | None, *, project: str | None, follow: bool, limit: int, as_json: bool
) -> None:
    """List who asked for what, and what became of it."""
    params: dict[str, Any] = {"limit": limit}
    if branch:
        params["slug"] = session.find(branch, project)["slug"]
    while True:
        answer = session.client.get("/events", params)
        for event in answer["events"]:
            _print_event(event, as_json=as_json)
        if not follow:
            return
        params |= {"after": answer["after"], "wait_s": WAIT_S, "limit": 1000}


def _print_event(event: Json, *, as_json: bool) -> None:
    if as_json:
        render.out_json(event, compact=True)
        return
    about = f" {event['slug']}" if event["slug"] else ""
    text = f"{event['at'][:19]}Z{about} {event['kind']}: {event['text']} ({event['caller']})"
    for line in render.clean_lines(text):
        render.out(line)
