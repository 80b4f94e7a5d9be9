"""Tells systemd how the agent fares: ready, alive, stopping. Without systemd every call does nothing.

The protocol is one datagram to the socket that NOTIFY_SOCKET names:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import contextlib
import os
import socket


def ready() -> None:
    """The agent serves; `systemctl start` returns."""
    _tell("READY=1")


def alive() -> None:
    """Feed the watchdog. Called by the reconcile loop itself, so that a loop that hangs is noticed."""
    _tell("WATCHDOG=1")


def status(text: str) -> None:
    """One line that `systemctl status` shows."""
    _tell(f"STATUS={' '.join(text.split())}")


def stopping() -> None:
    """The agent was told to end and is doing so."""
    _tell("STOPPING=1")


def _tell(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # "@" stands for the zero byte of a socket without a file.
    path = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        # A manager that is gone or busy must not take the agent with it, nor hold it up.
        notify.setblocking(False)
        with contextlib.suppress(OSError):
            notify.sendto(message.encode(), path)
