"""`butai`: options in front of the command, the list of commands, and how each run ends.

Exit codes: 0, 1 a failed deployment or check, 2 usage or a request that cannot be, 69 no agent or an outside
system, 70 our bug, 75 superseded, 78 settings, 130 Ctrl-C, 141 the reader of our output went away.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from agent.cli import (
    commands_ask,
    commands_copy,
    commands_dns,
    commands_doctor,
    commands_edits,
    commands_exec,
    commands_host,
    commands_read,
    commands_ssh,
    commands_tunnel,
    render,
)
from agent.cli.session import DEFAULT_CONFIG, DEFAULT_SOCKET, Session
from agent.errors import AgentError

CTRL_C = 130
PIPE_CLOSED = 141

_COMMANDS = (
    commands_ask.deploy,
    commands_read.list_,
    commands_read.show,
    commands_read.logs,
    commands_exec.exec_,
    commands_copy.cp,
    commands_tunnel.tunnel,
    commands_read.plan,
    commands_edits.edit,
    commands_edits.edits,
    commands_ask.redeploy,
    commands_ask.sleep,
    commands_ask.wake,
    commands_ask.pin,
    commands_ask.unpin,
    commands_ask.destroy,
    commands_read.events,
    commands_dns.dns,
    commands_doctor.doctor,
    commands_ssh.ssh_config,
    commands_ssh.ssh_gate,
    commands_host.serve,
    commands_host.check_config,
    commands_host.backup,
    commands_host.rebuild_database,
    commands_host.wall,
    commands_host.completion,
)


class Butai(click.Group):
    """Lists commands in the order a person needs them, and turns errors into words and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except AgentError as error:
            render.error(error)
            raise click.exceptions.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            raise click.exceptions.Exit(CTRL_C) from error
        except BrokenPipeError as error:
            # `butai logs | head`: the interpreter's own last flush must not complain either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(PIPE_CLOSED) from error
        return result


@click.group(cls=Butai, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    envvar="BUTAI_SOCKET",
    metavar="PATH",
    help=f"The agent's socket; default: from the settings, else {DEFAULT_SOCKET}.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="BUTAI_CONFIG",
    default=DEFAULT_CONFIG,
    show_default=True,
    metavar="PATH",
    help="Settings file.",
)
@click.version_option(package_name="butai", message="%(version)s")
@click.pass_context
def butai(ctx: click.Context, *, socket: Path | None, config: Path) -> None:
    """Put any branch on stage, at its own URL.

    BRANCH is the name of a branch, or the slug of its environment. Results go to standard output,
    progress to standard error.
    """
    ctx.obj = Session(config=config, socket_option=socket)


for _command in _COMMANDS:
    butai.add_command(_command)


def main() -> None:
    """The console script."""
    butai(prog_name="butai")
