"""This process becomes the Docker CLI, terminal and signals included: there is no better terminal into a container."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agent.cli.session import Session
from agent.errors import OutsideError

_UNIX = "unix://"


def become(session: Session, docker_host: str, arguments: Sequence[str]) -> NoReturn:
    """`docker ARGUMENTS` in the place of this process. OutsideError when it is not there, or is not for this user."""
    may_use(docker_host)
    session.client.close()
    sys.stdout.flush()
    sys.stderr.flush()
    argv = ["docker", "--host", docker_host, *arguments]
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell
    except OSError as error:
        raise OutsideError(
            f"`docker` cannot be run: {error.strerror}.", hint="Install the Docker CLI on this host.", code="no-docker"
        ) from error


def may_use(docker_host: str) -> None:
    """OutsideError where this user may use the agent, but not Docker."""
    path = docker_host.removeprefix(_UNIX)
    if docker_host.startswith(_UNIX) and Path(path).exists() and not os.access(path, os.W_OK):
        raise OutsideError(
            f"You may not use Docker's socket {path}.",
            hint=f"Join the group that `ls -l {path}` shows, which is as good as being root; then log in again.",
            code="docker-forbidden",
        )
