"""The commands about the host, which need no agent: serve, check-config, backup, rebuild-database, wall, completion."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from agent.cli import render
from agent.cli.session import Session, state_dir_of
from agent.errors import RequestError

_PATH = click.Path(path_type=Path, dir_okay=False)


def _config_option(command: click.decorators.FC) -> click.decorators.FC:
    text = "Settings file; default: that of butai itself."
    return click.option("--config", "config", type=_PATH, metavar="PATH", help=text)(command)


@click.command()
@_config_option
@click.pass_obj
def serve(session: Session, *, config: Path | None) -> None:
    """Run the agent, in the foreground."""
    from agent import daemon  # here: everything else is a client and needs none of it

    raise click.exceptions.Exit(daemon.main(config or session.config))


@click.command("check-config")
@click.argument("path", required=False, type=_PATH)
@click.pass_obj
def check_config(session: Session, path: Path | None) -> None:
    """Check the settings and report every problem."""
    from agent import config

    chosen = path or session.config
    settings = config.load(chosen)
    names = ", ".join(sorted(settings.projects)) or "none"
    render.out(f"{chosen} is fine; projects: {names}")


@click.command()
@click.argument("path", type=_PATH)
@click.option("--replace", is_flag=True, help="Write over a file that is there.")
@_config_option
@click.pass_obj
def backup(session: Session, path: Path, *, replace: bool, config: Path | None) -> None:
    """Copy the database into a file, also while the agent runs.

    The copy is whole and checked, or there is none. Only its owner may read it.
    """
    from agent.store import Store

    if path.exists() and not replace:
        raise RequestError(f"{path} is there already.", hint="Name another file, or add --replace.", code="file-exists")
    store = Store.existing(state_dir_of(config or session.config) / "butai.db")
    try:
        store.copy_to(path.absolute())
    finally:
        store.close()
    render.tell(f"The database was copied to {path}.")


@click.command("rebuild-database")
@_config_option
@click.pass_obj
def rebuild_database(session: Session, *, config: Path | None) -> None:
    """Read the environments back from Docker's labels."""
    from agent import config as settings_file
    from agent import daemon

    found = daemon.rebuild_database(settings_file.load(config or session.config))
    for environment in found:
        render.out(render.clean(f"{environment.slug}: {environment.branch} of {environment.project}"))
    render.tell(f"{len(found)} environments were read back.")


@click.command()
@_config_option
@click.pass_obj
def wall(session: Session, *, config: Path | None) -> None:
    """Put up the wall before Docker starts.

    butai-wall.service does it at each start of the host; from then on the agent keeps it standing.
    """
    from agent import config as settings_file
    from agent import daemon

    daemon.wall(settings_file.load(config or session.config, with_secrets=False))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: `butai completion bash > /etc/bash_completion.d/butai`.
    """
    found = get_completion_class(shell)
    assert found is not None, shell  # noqa: S101 - the choices above are click's own
    render.out(found(ctx.find_root().command, {}, "butai", "_BUTAI_COMPLETE").source())
