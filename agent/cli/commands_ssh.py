"""`butai ssh-config` and `butai ssh-gate`: the way from a laptop to this host, wide or narrow."""

from __future__ import annotations

import getpass
import os
import re
from dataclasses import replace

import click
from click.core import ParameterSource

from agent.cli import gate, render
from agent.cli.session import Session
from agent.errors import RequestError

_ASKED = "SSH_ORIGINAL_COMMAND"
# What ssh_config(5) takes as one plain word: no space, no quote, no `%` token, no pattern.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]*", re.ASCII)
_STANZA = """\
# Butai. Paste this into ~/.ssh/config, then try: ssh {name} butai list
Host {name}
    HostName {host}
    User {user}
    ServerAliveInterval 30
    # One connection for everything: all but the first command start at once. On Windows leave these three out.
    ControlMaster auto
    ControlPath ~/.ssh/butai-%C
    ControlPersist 10m"""


@click.command("ssh-config")
@click.option("--name", default="staging", show_default=True, help="What to call the host: `ssh NAME`.")
@click.option("--host", help="How a laptop reaches it; default: the domain of the settings.")
@click.option("--user", help="The account there; default: yours.")
@click.pass_obj
def ssh_config(session: Session, *, name: str, host: str | None, user: str | None) -> None:
    """Print what to paste into ~/.ssh/config."""
    host = host or session.domain
    if not host:
        raise RequestError(
            f"{session.config} does not say how this host is reached.", hint="Add `--host NAME`.", code="usage"
        )
    words = {"name": name, "host": host, "user": user or getpass.getuser()}
    for option, word in words.items():
        if not _WORD.fullmatch(word):
            raise RequestError(f"`{render.clean(word)}` cannot be a {option} in ~/.ssh/config.", code="usage")
    render.out(_STANZA.format(**words))


@click.command("ssh-gate")
@click.argument("caller")
@click.option("--allow", "allowed", multiple=True, required=True, metavar="COMMANDS", help="May run these: logs,exec.")
@click.option(
    "--listen",
    "ports",
    multiple=True,
    type=click.IntRange(1024, 65_535),
    metavar="PORT",
    help="Tunnels may listen there on 127.0.0.1.",
)
@click.pass_context
def ssh_gate(ctx: click.Context, caller: str, *, allowed: tuple[str, ...], ports: tuple[int, ...]) -> None:
    """Run what an SSH key may run, and nothing else.

    For `command="butai ssh-gate anna --allow logs,exec,tunnel",restrict,pty` before a key in authorized_keys. Events
    name the account and the caller: unix:staging/anna. No shell reads what is asked for.
    """
    parent = ctx.parent
    assert parent is not None  # noqa: S101 - it is a command of butai
    _refuse_environment(parent)
    key = gate.gate_of(caller, allowed, ports)
    name, arguments = gate.admitted(os.environ.get(_ASKED, ""), key)
    for variable in os.environ.keys() - gate.KEPT:
        del os.environ[variable]
    command = parent.command
    assert isinstance(command, click.Group)  # noqa: S101
    chosen = command.commands[name]
    with chosen.make_context(name, arguments, parent=parent, obj=replace(ctx.obj, gate=key)) as inner:
        chosen.invoke(inner)


def _refuse_environment(parent: click.Context) -> None:
    """An sshd with `AcceptEnv *` lets the laptop choose them: the settings are then not the operator's."""
    for name, variable in (("socket", "BUTAI_SOCKET"), ("config", "BUTAI_CONFIG")):
        if parent.get_parameter_source(name) is ParameterSource.ENVIRONMENT:
            raise RequestError(
                f"{variable} is set, and ssh-gate does not trust its environment.",
                hint=f"Write `butai --{name} PATH ssh-gate ...` in authorized_keys.",
                code="not-allowed",
            )
