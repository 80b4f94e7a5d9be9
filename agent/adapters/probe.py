"""Asks whether a port of a container accepts connections: a millisecond, where the engine's polling takes seconds."""

from __future__ import annotations

import socket

_TIMEOUT_S = 0.2  # on a bridge of this host an answer, yes or no, takes less than a millisecond


def accepts(address: str, port: int) -> bool:
    """Whether a TCP connection to `address`:`port` is accepted now."""
    try:
        with socket.create_connection((address, port), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False
