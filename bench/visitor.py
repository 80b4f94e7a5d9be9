"""Somebody who asks at a steady pace while a site is updated, and counts the answers that were none."""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType
from typing import Self

PAUSE_S = 0.04  # some 20 requests a second: enough to meet every gap of a tenth of a second, too few to be a load
_TIMEOUT_S = 10.0
_AFTERWARDS_S = 1.0  # what is replaced goes a little later than the new one comes


class Visitor:
    """Requests to 127.0.0.1:`port` under a host name, each on a connection of its own, within the block."""

    def __init__(self, port: int, host: str) -> None:
        self._port = port
        self._host = host
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self.requests = 0
        self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            time.sleep(_AFTERWARDS_S)
        self._over.set()
        self._thread.join(2 * _TIMEOUT_S)

    def _visit(self) -> None:
        while not self._over.wait(PAUSE_S):
            self.requests += 1
            self.failed += not self._is_answered()

    def _is_answered(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/", headers={"Host": self._host})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return False
        else:
            return answer.status == 200
        finally:
            connection.close()
