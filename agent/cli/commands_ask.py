"""The commands that ask for something: deploy, redeploy, sleep, wake, pin, unpin, destroy."""

from __future__ import annotations

import sys

import click

from agent.cli import follow, render
from agent.cli.client import Json
from agent.cli.options import (
    BranchName,
    detach_option,
    environment_argument,
    json_option,
    project_option,
    verbose_option,
)
from agent.cli.session import Session
from agent.errors import RequestError

FAILED, SUPERSEDED = 1, 75


@click.command()
@click.argument("branch", type=BranchName())
@project_option
@detach_option
@verbose_option
@json_option
@click.pass_obj
def deploy(session: Session, branch: str, *, project: str | None, detach: bool, verbose: bool, as_json: bool) -> None:
    """Put a branch on stage, or bring it up to date."""
    wish = {"branch": branch} | ({"project": project} if project else {})
    answer = session.client.post("/environments", wish)
    _see_through(session, answer, detach=detach, verbose=verbose, as_json=as_json)


@click.command()
@environment_argument
@detach_option
@verbose_option
@json_option
@click.pass_obj
def redeploy(session: Session, branch: str, *, project: str | None, detach: bool, verbose: bool, as_json: bool) -> None:
    """Build again and replace all containers, keep the data."""
    answer = _ask(session, branch, project, "redeploy")
    _see_through(session, answer, detach=detach, verbose=verbose, as_json=as_json)


@click.command()
@environment_argument
@detach_option
@verbose_option
@json_option
@click.pass_obj
def wake(session: Session, branch: str, *, project: str | None, detach: bool, verbose: bool, as_json: bool) -> None:
    """Run a sleeping environment again."""
    answer = _ask(session, branch, project, "wake")
    _see_through(session, answer, detach=detach, verbose=verbose, as_json=as_json)


@click.command()
@environment_argument
@json_option
@click.pass_obj
def sleep(session: Session, branch: str, *, project: str | None, as_json: bool) -> None:
    """Stop the containers of an environment, keep its data."""
    _print_accepted(_ask(session, branch, project, "sleep"), as_json=as_json)


@click.command()
@environment_argument
@json_option
@click.pass_obj
def pin(session: Session, branch: str, *, project: str | None, as_json: bool) -> None:
    """Keep the revision: ignore pushes until `unpin`."""
    _print_accepted(_ask(session, branch, project, "pin"), as_json=as_json)


@click.command()
@environment_argument
@json_option
@click.pass_obj
def unpin(session: Session, branch: str, *, project: str | None, as_json: bool) -> None:
    """Follow pushes again, the missed ones included."""
    _print_accepted(_ask(session, branch, project, "unpin"), as_json=as_json)


@click.command()
@environment_argument
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@detach_option
@json_option
@click.pass_obj
def destroy(session: Session, branch: str, *, project: str | None, yes: bool, detach: bool, as_json: bool) -> None:
    """Remove an environment with its data; asks first."""
    environment = session.find(branch, project)
    slug = environment["slug"]
    if not yes:
        _ask_before_losing(session, environment)
    answer = session.client.delete(f"/environments/{slug}")
    if detach or as_json:
        _print_accepted(answer, as_json=as_json)
        return
    render.tell(render.clean(answer["text"]))
    try:
        gone = follow.removal(session.client, slug)
    except KeyboardInterrupt:
        raise follow.ctrl_c("The removal goes on without you.") from None
    if not gone:
        render.tell(f"{slug} is wanted again: somebody asked for it meanwhile.")
        raise click.exceptions.Exit(SUPERSEDED)
    render.out(f"{render.clean(environment['branch'])} is gone")


def _ask(session: Session, branch: str, project: str | None, verb: str) -> Json:
    slug = session.find(branch, project)["slug"]
    return session.client.post(f"/environments/{slug}/{verb}")


def _print_accepted(answer: Json, *, as_json: bool) -> None:
    if as_json:
        render.out_json(answer)
    else:
        render.out(render.clean(answer["text"]))


def _see_through(session: Session, answer: Json, *, detach: bool, verbose: bool, as_json: bool) -> None:
    """Follow what was asked to its end and say how it ended; the exit code tells too."""
    deployment = answer["deployment"]
    if detach or deployment is None:
        _print_accepted(answer, as_json=as_json)
        return
    render.tell(render.clean(answer["text"]))
    branch = render.clean(answer["environment"]["branch"])
    try:
        end = follow.deployment(session.client, deployment, verbose=verbose)
    except KeyboardInterrupt:
        text = f"The deployment goes on without you; `butai show {branch}` tells how it ended."
        raise follow.ctrl_c(text) from None
    for notice in end["notices"]:
        render.tell(f"note: {render.clean(notice)}")
    if as_json:
        render.out_json(end)
    elif end["phase"] == "ready":
        render.out(f"live at {end['url']} ({render.seconds(end['seconds'])})")
    if end["phase"] == "failed":
        _tell_failure(end)
        raise click.exceptions.Exit(FAILED)
    if end["phase"] == "superseded":
        render.tell(f"superseded: something else was asked for {branch} meanwhile")
        raise click.exceptions.Exit(SUPERSEDED)


def _tell_failure(end: Json) -> None:
    failure = end["failure"] or {"message": "The deployment failed.", "hint": "", "service": "", "log_tail": []}
    render.complaint("failed", failure["message"])
    render.failing_service(failure["service"], failure["log_tail"])
    if end["commit"]:
        commit = end["commit"]
        words = f"{render.short(commit['revision'])} by {commit['author']}: {commit['subject']}"
        render.tell(f"commit: {render.clean(words)}")
    render.hint(failure["hint"])


def _ask_before_losing(session: Session, environment: Json) -> None:
    """Name everything that goes, then ask. RequestError where nobody can answer."""
    slug = environment["slug"]
    world = session.client.get(f"/environments/{slug}")["observed"]
    services = sorted({container["service"] for container in world["containers"]})
    render.tell(f"This removes {render.clean(environment['branch'])} of {environment['project']} ({slug}):")
    for what, names in (("containers of", services), ("networks", world["networks"]), ("images", world["images"])):
        if names:
            render.tell(f"  {what} {render.clean(', '.join(names))}")
    for volume in world["volumes"]:
        render.tell(f"  volume {render.clean(volume)}, its data is lost")
    if not somebody_is_here():
        raise RequestError("Nobody is here to confirm.", hint="Add --yes.", code="not-confirmed")
    if not click.confirm("Remove it?", err=True):
        raise click.exceptions.Exit(FAILED)


def somebody_is_here() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin.isatty()
