"""`butai exec`: the agent finds the container and writes down who went in, the Docker CLI is the terminal."""

from __future__ import annotations

import sys

import click

from agent.cli import dockercli
from agent.cli.options import ServiceName, environment_argument
from agent.cli.session import Session

# Docker's own, Ctrl-P Ctrl-Q, would hold back every Ctrl-P: the shell's last command. It cannot be switched off.
_DETACH = ("--detach-keys", "ctrl-@,ctrl-@,ctrl-@")


class ExecCommand(click.Command):
    """Everything after the first `--` is the command to run, untouched: its options are not ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, command = args, []
        if "--" in args:
            cut = args.index("--")
            ours, command = args[:cut], args[cut + 1 :]
        ctx.meta["butai.command"] = command
        return super().parse_args(ctx, ours)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command("exec", cls=ExecCommand)
@environment_argument
@click.argument("service", required=False, type=ServiceName())
@click.pass_context
def exec_(ctx: click.Context, branch: str, service: str | None, *, project: str | None) -> None:
    """Run a command in a service, a shell by default.

    Without SERVICE it runs in the one that the URL points to. The command comes after `--`; its exit
    code is that of this command. Over SSH, `ssh -t` makes it a terminal.
    """
    session: Session = ctx.obj
    command: list[str] = ctx.meta["butai.command"] or ["sh"]
    slug = session.find(branch, project)["slug"]
    wish: dict[str, object] = {"command": command} | ({"service": service} if service else {})
    target = session.client.post(f"/environments/{slug}/exec", wish)
    terminal = ["--tty", *_DETACH] if sys.stdin.isatty() and sys.stdout.isatty() else []
    arguments = ["exec", "--interactive", *terminal, target["container"], *command]
    dockercli.become(session, target["docker_host"], arguments)
