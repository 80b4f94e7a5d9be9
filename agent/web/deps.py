"""Deps: what the HTTP edge is given by the composition root, and who is calling."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from flask import request

from agent.config import Settings
from agent.errors import RequestError
from agent.runtime.dns import DnsKeeper
from agent.runtime.doctor import Doctor
from agent.runtime.edits import Edits
from agent.runtime.figures import Figures
from agent.runtime.inspect import Inspector
from agent.runtime.lending import Lender
from agent.runtime.metadata import Metadata
from agent.runtime.notifier import Notifier
from agent.runtime.operations import Operations
from agent.runtime.ports import Clock
from agent.runtime.spot import SpotWatch
from agent.runtime.vitals import Vitals
from agent.store import Store

LISTENER = "butai.listener"  # WSGI environ: who accepted the connection
SOCKET = "socket"
TCP = "tcp"
CALLER = "butai.caller"  # WSGI environ: "unix:anna", told by the kernel, on the Unix socket only
PEER = "butai.peer"  # WSGI environ: IPv4 address of a container that was led to its credentials
ON_BEHALF = "X-Butai-On-Behalf-Of"  # header: whose key let the caller in, as `butai ssh-gate` says

_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Deps:
    """`settings` is asked at each request: it changes while the agent runs."""

    settings: Callable[[], Settings]
    operations: Operations
    inspector: Inspector
    store: Store
    clock: Clock
    notifier: Notifier
    edits: Edits
    dns: DnsKeeper
    lender: Lender
    metadata: Metadata
    doctor: Doctor
    vitals: Vitals
    figures: Figures
    spot: SpotWatch
    stopping: Event = field(default_factory=Event)


def on_socket() -> bool:
    """Whether this request came over the Unix socket. Anything unmarked counts as TCP: the stricter rules."""
    return request.environ.get(LISTENER) == SOCKET


def caller() -> str:
    """Who asked, as events write it: "unix:anna" on the Unix socket, "api" with the token on TCP.

    "unix:staging/anna" when the account `staging` says that it acts for anna. The account comes from the kernel, so
    nobody can take the name of another account; which name stands behind it is that account's word.
    RequestError for a name that could be mistaken for something else.
    """
    account = str(request.environ.get(CALLER, "api"))
    person = request.headers.get(ON_BEHALF, "")
    if not person or not on_socket():
        return account
    if not _PERSON.fullmatch(person):
        raise RequestError(
            f"`{person[:80]!a}` cannot be the name of a caller.",
            hint="Letters, digits and `.`, `_`, `@`, `-`; 64 at most.",
            code="bad-caller",
        )
    return f"{account}/{person}"
