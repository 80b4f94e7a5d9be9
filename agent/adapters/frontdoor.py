"""How this host looks to a visitor: what its name means, what answers there, and until when its certificate is good.

Nothing of an answer is believed or kept but its number and its date, so nobody's certificate is verified here.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from agent.model.facts import Certificate

_TIMEOUT_S = 5.0
_NAMELESS = (socket.EAI_NONAME, socket.EAI_NODATA)
_VERSION, _UTC_TIME = 0xA0, 0x17  # tags of X.690
_MAKESHIFT = b"TRAEFIK DEFAULT CERT"  # its subject and issuer
_VALIDITY = 3  # after serial number, algorithm and issuer (RFC 5280, 4.1)


def addresses(name: str) -> tuple[str, ...] | None:
    """What this host's resolver makes of a name; () when it has no address, None when nobody can tell now."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return () if error.errno in _NAMELESS else None
    except OSError:
        return None
    return tuple(sorted({str(entry[4][0]) for entry in found}))


def status(url: str) -> int:
    """The number that GET of a URL is answered with; 0 without an answer. Follows nothing."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(name, parts.port, timeout=_TIMEOUT_S, context=_unverified())
    else:
        connection = http.client.HTTPConnection(name, parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "butai"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def certificate(address: tuple[str, int], name: str) -> Certificate | None:
    """The certificate that is shown at `address` for `name`; None when none is."""
    try:
        with (
            socket.create_connection(address, _TIMEOUT_S) as plain,
            _unverified().wrap_socket(plain, server_hostname=name) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
        return Certificate(ends_at(shown), is_makeshift=_MAKESHIFT in shown) if shown else None
    except (OSError, ValueError, IndexError):
        return None


def ends_at(der: bytes) -> datetime:
    """notAfter of an X.509 certificate. The standard library decodes only certificates that it has verified."""
    [(_, certificate)] = _values(der)
    fields = list(_values(next(_values(certificate))[1]))
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    _, (tag, text) = _values(fields[_VALIDITY][1])
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value, one after the other (X.690, definite lengths)."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        yield tag, data[at : at + length]
        at += length


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
