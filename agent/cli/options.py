"""Arguments and options that several commands share, with their shell completion."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from agent.cli.session import DEFAULT_CONFIG, Session
from agent.errors import AgentError

Command = TypeVar("Command", bound=Callable[..., Any])

# A completed word lands on the command line as it is: `$(...)` in a branch name would run on Enter.
_INERT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+@-]*", re.ASCII)


class EnvironmentName(click.ParamType[str]):
    """A branch that is on stage, or the slug of its environment."""

    name = "branch"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        def names(session: Session) -> list[str]:
            rows = session.client.get("/environments")["environments"]
            return [row["environment"][key] for key in ("branch", "slug") for row in rows]

        return _complete(ctx, incomplete, names)


class BranchName(click.ParamType[str]):
    """Any branch of any project."""

    name = "branch"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        def names(session: Session) -> list[str]:
            wanted = ctx.params.get("project")
            projects = [wanted] if wanted else _projects(session)
            return [
                row["branch"]
                for project in projects
                for row in session.client.get(f"/projects/{project}/branches", {"limit": 1000})["branches"]
            ]

        return _complete(ctx, incomplete, names)


class ProjectName(click.ParamType[str]):
    name = "project"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _complete(ctx, incomplete, _projects)


class ServiceName(click.ParamType[str]):
    """A service of the environment that was named before it."""

    name = "service"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        def names(session: Session) -> list[str]:
            slug = session.find(ctx.params.get("branch") or "", ctx.params.get("project"))["slug"]
            return [row["service"] for row in session.client.get(f"/environments/{slug}/containers")["containers"]]

        return _complete(ctx, incomplete, names)


def _projects(session: Session) -> list[str]:
    return [row["name"] for row in session.client.get("/projects")["projects"]]


def _complete(ctx: click.Context, incomplete: str, names: Callable[[Session], list[str]]) -> list[CompletionItem]:
    """What begins like the word so far. Without an agent there is nothing to offer, and nothing to say."""
    top = ctx.find_root().params
    session = Session(config=top.get("config") or DEFAULT_CONFIG, socket_option=top.get("socket"))
    try:
        found = names(session)
    except AgentError:
        return []
    fitting = (name for name in dict.fromkeys(found) if name.startswith(incomplete) and _INERT.fullmatch(name))
    return [CompletionItem(name) for name in fitting]


def environment_argument(command: Command) -> Command:
    """BRANCH, a slug accepted too, and the --project that makes it unambiguous."""
    command = click.argument("branch", type=EnvironmentName())(command)
    return project_option(command)


def project_option(command: Command) -> Command:
    text = "Project, when several have such a branch."
    return click.option("--project", "-p", type=ProjectName(), metavar="NAME", help=text)(command)


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def detach_option(command: Command) -> Command:
    return click.option("--detach", "-d", is_flag=True, help="Do not wait for the end.")(command)


def verbose_option(command: Command) -> Command:
    return click.option("--build-output", "-v", "verbose", is_flag=True, help="Show the output of the steps.")(command)
