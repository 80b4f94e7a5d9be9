"""`butai dns`: the records that lead to this host, as they should be and as they are."""

from __future__ import annotations

import click

from agent.cli import render
from agent.cli.client import Json
from agent.cli.commands_ask import FAILED, somebody_is_here
from agent.cli.options import json_option
from agent.cli.session import Session
from agent.errors import RequestError


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def dns(ctx: click.Context, *, as_json: bool) -> None:
    """Show the wanted and the observed DNS records.

    Looked up just now; nothing is changed. The agent itself looks at start and on a timer.
    """
    if ctx.invoked_subcommand is not None:
        return
    session: Session = ctx.obj
    answer = session.client.get("/dns")
    if as_json:
        render.out_json(answer)
    else:
        _show(answer)


@dns.command()
@json_option
@click.pass_obj
def check(session: Session, *, as_json: bool) -> None:
    """Ask the zone's own name servers.

    Each is asked for the domain and for a name below it. Ends with status 1 when one of them answers wrongly.
    """
    answer = session.client.get("/dns/check")
    if as_json:
        render.out_json(answer)
    else:
        rows = [
            (one["server"], one["name"], one["type"], " ".join(one["found"]), one["problem"] or "fine")
            for one in answer["answers"]
        ]
        render.table(("SERVER", "NAME", "TYPE", "ANSWER", "VERDICT"), rows)
    if not answer["ok"]:
        raise click.exceptions.Exit(FAILED)


@dns.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def adopt(session: Session, *, yes: bool, as_json: bool) -> None:
    """Take the records over from somebody else."""
    if not yes:
        _confirm(session.client.get("/dns"))
    answer = session.client.post("/dns/adopt")
    render.out_json(answer) if as_json else render.out(render.clean(answer["text"]))


def _confirm(look: Json) -> None:
    """Name what will be lost."""
    whose = f"agent {look['owner']}" if look["owner"] else "nobody that is written down"
    render.tell(render.clean(f"The records of {look['domain']} belong to {whose} and will be replaced:"))
    for record in look["observed"]:
        render.tell(render.clean(f"  {_record(record)}"))
    if not somebody_is_here():
        raise RequestError("Nobody is here to confirm.", hint="Add --yes.", code="not-confirmed")
    if not click.confirm("Take them over?", err=True):
        raise click.exceptions.Exit(FAILED)


def _show(look: Json) -> None:
    render.out(render.clean(f"{look['domain']} in zone {look['zone']}, {_owned(look)}"))
    render.out()
    keys = dict.fromkeys((one["name"], one["type"]) for one in (*look["wanted"], *look["observed"]))
    rows = [(*key, _values(look["wanted"], key), _values(look["observed"], key)) for key in keys]
    if rows:
        render.table(("NAME", "TYPE", "WANTED", "OBSERVED"), rows)
    for change in look["changes"]:
        render.out(render.clean(f"next: {change}"))
    if look["problem"]:
        render.complaint("problem", look["problem"]["message"])
        render.hint(look["problem"]["hint"])
    elif not look["changes"]:
        render.out("Everything is as it should be.")


def _owned(look: Json) -> str:
    if look["owner"] == look["agent"]:
        return "looked after by this agent"
    return f"belongs to agent {look['owner']}" if look["owner"] else "belongs to no agent"


def _values(records: list[Json], key: tuple[str, str]) -> str:
    return " ".join(_value(one) for one in records if (one["name"], one["type"]) == key) or "-"


def _record(one: Json) -> str:
    return f"{one['name']} {one['type']} {_value(one)}"


def _value(one: Json) -> str:
    if one["alias"]:
        return f"alias of {one['alias']}"
    return f"{' '.join(one['values'])} ({one['ttl_s']} s)"
