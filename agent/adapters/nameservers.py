"""Asks one name server directly, as the resolvers of the world do: the one home of dnspython.

Not through this host's resolver, whose memory of "no such name" lasts up to a quarter of an hour.
"""

from __future__ import annotations

import socket

from agent.errors import OutsideError

_TIMEOUT_S = 3.0
_TOLD = ("A", "AAAA")


class NameServers:
    """Authoritative servers of a zone, on their usual `port`."""

    def __init__(self, port: int = 53, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._port = port
        self._timeout_s = timeout_s

    def ask(self, server: str, name: str, type_: str) -> tuple[str, ...]:
        """The addresses at a name, () when it has none. OutsideError when the server gives no answer of its own."""
        import dns.exception  # here: it is needed for `butai dns check` alone
        import dns.flags
        import dns.message
        import dns.query
        import dns.rcode
        import dns.rdatatype

        address = self._address(server)
        query = dns.message.make_query(name, type_)
        query.flags &= ~dns.flags.RD  # what it knows by itself, not what others told it
        try:
            answer, _ = dns.query.udp_with_fallback(query, address, timeout=self._timeout_s, port=self._port)
        except (dns.exception.DNSException, OSError) as error:
            raise OutsideError(f"Name server {server} does not answer.", code="dns-server-silent") from error
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            reason = dns.rcode.to_text(answer.rcode())
            raise OutsideError(f"Name server {server} answers {reason}.", code="dns-server-refuses")
        if not answer.flags & dns.flags.AA:
            raise OutsideError(f"Name server {server} does not serve the zone.", code="dns-server-refuses")
        found = (item for group in answer.answer for item in group if dns.rdatatype.to_text(group.rdtype) in _TOLD)
        return tuple(sorted(str(item) for item in found))

    def _address(self, server: str) -> str:
        try:
            found = socket.getaddrinfo(server, self._port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise OutsideError(f"Name server {server} has no address.", code="dns-server-silent") from error
        return str(found[0][4][0])
