"""Somebody who reloads a page until it shows what was pushed; cheap enough to disturb nothing that is measured."""

from __future__ import annotations

import http.client
import time

TIMEOUT_S = 180.0


class Browser:
    """One visitor of 127.0.0.1:`port` under a host name, over a connection that is kept; `patience_s` between looks."""

    def __init__(self, port: int, host: str, *, patience_s: float) -> None:
        self._port = port
        self._host = host
        self._patience_s = patience_s
        self._connection: http.client.HTTPConnection | None = None

    def until(self, text: str, path: str = "/") -> None:
        """Return at the first 200 with `text` in it; TimeoutError with the last answer after three minutes."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            status, body = self._get(path)
            if status == 200 and text.encode() in body:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"http://{self._host}{path} still says {status}: {body[:300]!r}")
            time.sleep(self._patience_s)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _get(self, path: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            self._connection.request("GET", path, headers={"Host": self._host})
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, str(error).encode()
