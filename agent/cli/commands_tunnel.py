"""`butai tunnel`: a port of a service, for a program on the laptop."""

from __future__ import annotations

import socket
import sys

import click

from agent.adapters import pipe
from agent.cli import render
from agent.cli.options import ServiceName, environment_argument
from agent.cli.session import Session
from agent.errors import AgentError, RequestError

_PORT = click.IntRange(1, 65_535)


@click.command()
@environment_argument
@click.argument("service", type=ServiceName())
@click.argument("port", type=_PORT)
@click.option(
    "--listen", "-l", type=click.IntRange(0, 65_535), metavar="PORT", help="Listen there on 127.0.0.1; 0: any."
)
@click.pass_obj
def tunnel(session: Session, branch: str, service: str, port: int, *, project: str | None, listen: int | None) -> None:
    """Connect to a port of a service, a database for example.

    Standard input and output are the connection, for programs. With --listen each connection to that port of this host
    is one to the service, until Ctrl-C, or until the SSH connection that started it ends. For a laptop:
    `ssh -L 13306:127.0.0.1:13306 HOST butai tunnel BRANCH mysql 3306 --listen 13306`.
    """
    _check(session, listen)
    slug = session.find(branch, project)["slug"]
    way = _Way(session, slug, service=service, port=port)
    if listen is None:
        pipe.join(way.connected(), sys.stdin.fileno(), sys.stdout.fileno())
        return
    with pipe.listening(listen) as listener:
        way.connected().close()  # what cannot be is told now, not to the first program
        address, chosen = listener.getsockname()
        render.out(f"{address}:{chosen}")
        sys.stdout.flush()
        render.tell(render.clean(f"This is port {port} of {service} in {slug} until Ctrl-C."))
        pipe.serve(listener, way.answer, until=sys.stdout.fileno())


class _Way:
    """To one port; the address is asked for anew each time, as a push may put another container in its place."""

    def __init__(self, session: Session, slug: str, *, service: str, port: int) -> None:
        self._session = session
        self._slug = slug
        self._wish: dict[str, object] = {"service": service, "port": port}

    def connected(self) -> socket.socket:
        target = self._session.client.post(f"/environments/{self._slug}/tunnel", self._wish)
        self._wish = {**self._wish, "further": True}  # one event for each tunnel, not for each of its connections
        return pipe.connected(target["address"], target["port"], where=f"{target['service']} of {self._slug}")

    def answer(self, visitor: socket.socket) -> None:
        """For one connection of somebody; what goes wrong is told here, and ends only that."""
        with visitor:
            try:
                pipe.bridge(self.connected(), visitor)
            except AgentError as error:
                render.error(error)


def _check(session: Session, listen: int | None) -> None:
    if session.gate is not None and listen is not None and listen not in session.gate.ports:
        ports = ", ".join(map(str, sorted(session.gate.ports)))
        raise RequestError(
            "This key may not listen there on the host.",
            hint=f"It may listen on {ports}." if ports else "Leave --listen out and use standard input and output.",
            code="not-allowed",
        )
    if listen is None and sys.stdin.isatty():
        raise RequestError(
            "Standard input is a terminal, not a program.",
            hint="Add `--listen 0`, and let the program connect to the address that is printed.",
            code="usage",
        )
