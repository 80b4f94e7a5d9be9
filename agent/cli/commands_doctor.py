"""`butai doctor`: what of this host will bite, and the command that repairs it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from agent.cli import render
from agent.cli.client import Json
from agent.cli.commands_ask import FAILED
from agent.cli.options import json_option
from agent.cli.session import Session
from agent.errors import OutsideError, RequestError

if TYPE_CHECKING:
    from agent.runtime.doctor import Doctor

_COLOURS = {"failure": "red", "warning": "yellow", "ok": "green"}
_WIDTH = len("not-applicable")


@click.command()
@click.option("--fix", is_flag=True, help="Raise kernel limits that are too low; as root.")
@json_option
@click.pass_obj
def doctor(session: Session, *, fix: bool, as_json: bool) -> None:
    """Look at the host and say what to repair.

    Root looks by itself, needs no agent and sees the firewall too; everybody else asks the agent, and looks by
    themselves where there is none. Ends with status 0 when nothing fails, warnings or not, and with 1 when something
    does.

    --fix raises limits of the kernel that are too low, now and in /etc/sysctl.d/60-butai.conf: no program is
    restarted and nothing is lost by that. All else is yours to do.
    """
    if fix and not is_root():
        raise RequestError("Only root may raise the kernel's limits.", hint="Try `sudo butai doctor --fix`.")
    found = _look_here(session, fix=fix) if is_root() else _ask(session)
    if as_json:
        render.out_json(found)
    else:
        _show(found)
    if found["verdict"] == "failure":
        raise click.exceptions.Exit(FAILED)


def is_root() -> bool:
    return os.geteuid() == 0


def _ask(session: Session) -> Json:
    """What the agent sees; by ourselves where nobody listens."""
    try:
        return session.client.get("/doctor")
    except OutsideError as error:
        if error.code != "agent-unreachable":
            raise
        render.tell(f"{error.message} This is what you may see yourself.")
        return _look_here(session, fix=False)


def _look_here(session: Session, *, fix: bool) -> Json:
    from agent import config, daemon  # here: a client needs none of it
    from agent.web import views

    looking: Doctor = daemon.doctor(config.load(session.config, with_secrets=False))
    found = looking.look()
    if fix and found.repairs:
        daemon.fix(found.repairs)
        for name, value in sorted(found.repairs.items()):
            render.tell(f"raised {name} to {value}")
        found = looking.look()
    return views.examination(found)


def _show(found: Json) -> None:
    for one in found["findings"]:
        verdict = one["verdict"]
        word = click.style(f"{verdict:<{_WIDTH}}", fg=_COLOURS.get(verdict))
        render.out(f"{word}  {one['check']:<17} {render.clean(one['says'])}")
        if one["repair"]:
            render.out(f"{'':<{_WIDTH}}  {'':<17} -> {render.clean(one['repair'])}")
    render.out()
    render.out(found["summary"])
    if any(one["fixes"] for one in found["findings"]):
        render.hint("`sudo butai doctor --fix` raises the kernel's limits.")
