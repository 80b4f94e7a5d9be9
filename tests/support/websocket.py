"""A WebSocket through Traefik, as far as short text frames go (RFC 6455)."""

from __future__ import annotations

import base64
import os
import socket
from typing import Self


class WebSocket:
    """Opened under a host name at 127.0.0.1:`port`; OSError or ConnectionError when it was cut."""

    def __init__(self, port: int, host: str, path: str = "/live", *, timeout_s: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self._answers = self._socket.makefile("rb")
        status = self._answers.readline().split()[1:2]
        if status != [b"101"]:
            raise ConnectionError(f"no WebSocket: {status}")
        while self._answers.readline() not in (b"\r\n", b""):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def echo(self, text: bytes) -> bytes:
        """Send a message of less than 126 bytes; what came back."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
        self._socket.sendall(bytes((0x81, 0x80 | len(text))) + mask + masked)
        return self._message()

    def until_cut(self) -> None:
        """Return when the other side ends it; TimeoutError when it does not."""
        try:
            while self._answers.read(1):
                pass
        except TimeoutError:
            raise
        except OSError:
            return

    def _message(self) -> bytes:
        head = self._answers.read(2)
        if len(head) < 2:
            raise ConnectionError("the WebSocket was cut")
        return self._answers.read(head[1])
