"""Probe: ask Traefik over connections that stay open, so that asking every few milliseconds is cheap."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Mapping

from agent.model.names import Hostname
from agent.model.route import PROBE_PATH

_TIMEOUT_S = 1.0
_KEPT = 16  # idle connections: one for each worker that waits for a route

Place = tuple[str, int, bool]  # address, port, TLS


class Probe:
    """May be used from any thread."""

    def __init__(self) -> None:
        self._idle: list[tuple[Place, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()

    def ask(self, address: tuple[str, int], hostname: Hostname, *, secure: bool) -> tuple[int, Mapping[str, str]]:
        """Status and headers of the probe path under `hostname`; (0, {}) when nobody answers within a second."""
        place = (*address, secure)
        while True:
            kept = self._take(place)
            try:
                return self._request(kept or _connection(place), place, hostname)
            except TimeoutError:
                return 0, {}
            except (OSError, http.client.HTTPException):
                if kept is None:  # else it was closed by the other side while it was idle
                    return 0, {}

    def _request(
        self, connection: http.client.HTTPConnection, place: Place, hostname: Hostname
    ) -> tuple[int, Mapping[str, str]]:
        try:
            connection.request("HEAD", PROBE_PATH, headers={"Host": hostname, "User-Agent": "butai"})
            answer = connection.getresponse()
            answer.read()
        except BaseException:
            connection.close()
            raise
        if not answer.will_close:
            self._keep(place, connection)
        return answer.status, dict(answer.headers)

    def _take(self, place: Place) -> http.client.HTTPConnection | None:
        with self._lock:
            while self._idle:
                found, connection = self._idle.pop()
                if found == place:
                    return connection
                connection.close()  # of an address that the settings no longer name
        return None

    def _keep(self, place: Place, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append((place, connection))
                return
        connection.close()


def _connection(place: Place) -> http.client.HTTPConnection:
    address, port, secure = place
    if not secure:
        return http.client.HTTPConnection(address, port, timeout=_TIMEOUT_S)
    # Asked by address, on this host: the certificate names the domain, and nothing secret is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(address, port, timeout=_TIMEOUT_S, context=context)
