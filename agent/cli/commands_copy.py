"""`butai cp`: files into a service and out of it."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from agent.cli import dockercli, render
from agent.cli.client import Json
from agent.cli.options import environment_argument
from agent.cli.session import Session
from agent.errors import RequestError

if TYPE_CHECKING:
    from agent.adapters.docker.copying import Files, Owner

# As Compose names services; what begins with `/` or `.` is a path of the host whatever follows.
_INSIDE = re.compile(r"(?P<service>[A-Za-z0-9][A-Za-z0-9_.-]*):(?P<path>.*)", re.DOTALL)
_STREAM = "-"


@click.command()
@environment_argument
@click.argument("source")
@click.argument("destination")
@click.pass_obj
def cp(session: Session, branch: str, source: str, destination: str, *, project: str | None) -> None:
    """Copy files into a service, or out of it.

    One of SOURCE and DESTINATION is SERVICE:PATH, the other a path of this host, or `-` for a tar archive on standard
    input or output. What is copied in belongs to the owner of what it replaces, else of the folder it comes into;
    FOLDER/. stands for what is in a folder. It stays until the container is replaced.
    """
    into, out_of = _INSIDE.fullmatch(destination), _INSIDE.fullmatch(source)
    if bool(into) == bool(out_of):
        raise RequestError(
            "One of the two must be in the service, and the other on this host.",
            hint="For example `butai cp BRANCH report.csv web:/tmp/`; a file of this host with a `:` is `./a:b`.",
            code="usage",
        )
    outside = source if into else destination
    if session.gate is not None and outside != _STREAM:
        raise RequestError(
            "This key reaches no files of the host: the other side must be `-`.",
            hint="For example `ssh HOST butai cp BRANCH web:/app/log - | tar -x`.",
            code="not-allowed",
        )
    if into:
        _copy_in(session, session.find(branch, project), into, outside)
    elif out_of:
        _copy_out(session, session.find(branch, project), out_of, outside)


def _copy_out(session: Session, environment: Json, inside: re.Match[str], destination: str) -> None:
    if destination != _STREAM and not Path(destination).absolute().parent.is_dir():
        raise RequestError(f"No folder {Path(destination).absolute().parent} is on this host.", code="no-such-path")
    if destination == _STREAM and sys.stdout.isatty():
        raise RequestError(
            "A tar archive is nothing for a terminal.", hint="Add `| tar -x`, or `> FILE.tar`.", code="usage"
        )
    target, path = _target(session, environment, inside, "out of")
    files = _files(target, environment)
    if files.look(path) is None:
        raise files.nothing_at(path)
    # Absolute, its last slash kept: else Docker could take it for CONTAINER:PATH, or for an option.
    place = destination if destination == _STREAM else posixpath.join(Path.cwd(), destination)
    dockercli.become(session, target["docker_host"], ["cp", f"{target['container']}:{path}", place])


def _copy_in(session: Session, environment: Json, inside: re.Match[str], source: str) -> None:
    given = Path(source)
    if source != _STREAM and not (given.is_symlink() or given.exists()):
        raise RequestError(f"Nothing is at {source} on this host.", code="no-such-path")
    if source == _STREAM and sys.stdin.isatty():
        raise RequestError(
            "A tar archive is expected on standard input.",
            hint="For example `tar -c FILES | butai cp BRANCH - SERVICE:/FOLDER`.",
            code="usage",
        )
    target, path = _target(session, environment, inside, "into")
    files = _files(target, environment)
    folder, name, owner = _place(files, path, source)
    with _archive(source, name, owner) as archive:
        files.put(folder, archive)
    what = "standard input" if source == _STREAM else source
    where = posixpath.join(folder, name) if name != "." else folder
    render.tell(render.clean(f"{what} is at {target['service']}:{where} now, as {owner.uid}:{owner.gid}."))


def _name(source: str) -> str:
    """What it is called in a folder; "." when its content is meant."""
    if source == _STREAM or source.endswith("/.") or source == ".":
        return "."
    return Path(source).absolute().name or "."


def _place(files: Files, path: str, source: str) -> tuple[str, str, Owner]:
    """The folder to unpack in, what the thing is to be called there, and whose it is to be; as `docker cp` has it."""
    found = files.look(path)
    if found is not None and found.is_folder:
        name = _name(source)
        if name == ".":
            return found.path, name, files.owner(found.path)
        existing = files.look(posixpath.join(found.path, name))
        return found.path, name, files.owner(existing.path if existing else found.path)
    if found is not None and (source == _STREAM or Path(source).is_dir()):
        raise RequestError(f"{path} is a file there: a folder cannot replace it.", code="cannot-copy")
    if found is not None:
        return *posixpath.split(found.path), files.owner(found.path)
    parent, wanted = posixpath.split(path)
    above = files.look(parent)
    if source == _STREAM or not wanted or above is None or not above.is_folder:
        raise files.nothing_at(parent if wanted and above is None else path)
    return above.path, wanted, files.owner(above.path)


def _archive(source: str, name: str, owner: Owner) -> IO[bytes]:
    from agent.adapters.docker.copying import packed, repacked

    return repacked(sys.stdin.buffer, owner) if source == _STREAM else packed(Path(source), name, owner)


def _files(target: Json, environment: Json) -> Files:
    from agent.adapters.docker.copying import Files  # here: docker-py takes a while, and only this command needs it

    dockercli.may_use(target["docker_host"])
    return Files(target["docker_host"], target["container"], where=f"{target['service']} of {environment['slug']}")


def _target(session: Session, environment: Json, inside: re.Match[str], direction: str) -> tuple[Json, str]:
    """The container, once the event is written, and the path in it."""
    service, path = inside["service"], inside["path"]
    if not path.startswith("/") or "\0" in path:
        raise RequestError(
            f"`{render.clean(path)}` is no path of a service: it begins with `/`.",
            hint=f"For example `{service}:/tmp/`.",
            code="usage",
        )
    wish = {"service": service, "path": path, "direction": direction}
    return session.client.post(f"/environments/{environment['slug']}/copy", wish), path
