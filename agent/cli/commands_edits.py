"""`butai edit` and `butai edits`: where the worktree of a branch is, and what people changed in it, as it was kept."""

from __future__ import annotations

import os
import sys

import click

from agent.cli import render
from agent.cli.client import Json
from agent.cli.options import environment_argument, json_option
from agent.cli.session import Session
from agent.errors import RequestError

_HOW = """\
What you save there is live like a push, without a commit. New files count unless .gitignore excludes them or they are
in a folder that a container mounts. A push overwrites edits; they are kept: `butai edits {branch}`."""
_LATER = "{branch} does not run now: what you save counts once it does."


@click.command()
@environment_argument
@json_option
@click.pass_obj
def edit(session: Session, branch: str, *, project: str | None, as_json: bool) -> None:
    """Print where a branch is edited, and how that behaves.

    The path is the only thing on standard output: `cd "$(butai edit BRANCH)"`.
    """
    environment = session.find(branch, project)
    answer = session.client.get(f"/environments/{environment['slug']}/worktree")
    if as_json:
        render.out_json(answer)
        return
    render.out(answer["path"])
    name = render.clean(environment["branch"])
    for line in (_HOW if answer["takes_edits"] else f"{_LATER}\n{_HOW}").format(branch=name).splitlines():
        render.tell(line)
    if not os.access(answer["path"], os.W_OK):
        render.hint("You may not write there; docs/how-to/edit-over-ssh.md says how an operator lets people in.")


@click.command()
@environment_argument
@click.option("--show", "shown", metavar="ID", help="Show what an edit changed.")
@click.option("--restore", "restored", metavar="ID", help="Put the files of an edit back.")
@click.option("--patch", "exported", metavar="ID", help="Print an edit for `git apply`.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="List at most so many.")
@json_option
@click.pass_obj
def edits(
    session: Session,
    branch: str,
    *,
    project: str | None,
    shown: str | None,
    restored: str | None,
    exported: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what people edited on the host, or get it back.

    Every edit of a file in the worktree of the branch is kept, and a push that overwrites it does not take it away.
    """
    if sum(each is not None for each in (shown, restored, exported)) > 1:
        raise RequestError("Only one of --show, --restore and --patch.", hint="Ask once for each.", code="usage")
    place = f"/environments/{session.find(branch, project)['slug']}/edits"
    if restored is not None:
        answer = session.client.post(f"{place}/{_id(restored)}/restore")
        render.out_json(answer) if as_json else render.out(render.clean(answer["text"]))
    elif shown is not None or exported is not None:
        answer = session.client.get(f"{place}/{_id(shown or exported or '')}")
        if as_json:
            render.out_json(answer)
        elif exported is not None:
            sys.stdout.buffer.write(answer["patch"].encode(errors="surrogateescape"))
        else:
            _show(answer)
    else:
        _list(session.client.get(place, {"limit": str(limit)}), as_json=as_json)


def _id(text: str) -> str:
    """As it may stand in a path."""
    if not text.replace(".", "").isalnum():
        raise RequestError(f"`{text}` is no edit.", hint="See the list: `butai edits BRANCH`.", code="no-such-edit")
    return text


def _list(answer: Json, *, as_json: bool) -> None:
    if as_json:
        render.out_json(answer)
        return
    rows = [(one["id"], render.ago(one["at"]), one["user"], _files(one["files"])) for one in answer["edits"]]
    if rows:
        render.table(("ID", "WHEN", "USER", "FILES"), rows)
    else:
        render.tell("Nobody edited files of this branch on the host.")


def _files(files: list[str]) -> str:
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(files[:3]) + more


def _show(answer: Json) -> None:
    render.out(f"edit {answer['id']} by {render.clean(answer['user'])}, {render.ago(answer['at'])}")
    render.out(f"of revision {answer['base']}")
    render.out()
    for line in answer["patch"].splitlines():
        render.out(render.clean_log(line))
