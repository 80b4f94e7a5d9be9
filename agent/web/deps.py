"""Deps: what the HTTP edge is given by the composition root, and who is calling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from flask import request

from agent.config import Settings
from agent.runtime.dns import DnsKeeper
from agent.runtime.doctor import Doctor
from agent.runtime.edits import Edits
from agent.runtime.inspect import Inspector
from agent.runtime.lending import Lender
from agent.runtime.notifier import Notifier
from agent.runtime.operations import Operations
from agent.runtime.ports import Clock
from agent.store import Store

LISTENER = "butai.listener"  # WSGI environ: who accepted the connection
SOCKET = "socket"
TCP = "tcp"
CALLER = "butai.caller"  # WSGI environ: "unix:anna", told by the kernel, on the Unix socket only


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
    doctor: Doctor
    stopping: Event = field(default_factory=Event)


def on_socket() -> bool:
    """Whether this request came over the Unix socket. Anything unmarked counts as TCP: the stricter rules."""
    return request.environ.get(LISTENER) == SOCKET


def caller() -> str:
    """Who asked, as events write it: "unix:anna" on the Unix socket, "api" with the token on TCP."""
    return str(request.environ.get(CALLER, "api"))
