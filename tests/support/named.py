"""A stand-in for a zone's name server: real DNS messages over UDP on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass
class Named:
    """`answers` by name and type; `rcode` for every question; silent when told so."""

    port: int = 0
    answers: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    is_authoritative: bool = True
    is_silent: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        [question] = query.question
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind} {'recursive' if query.flags & dns.flags.RD else 'direct'}")
        reply = dns.message.make_response(query)
        reply.set_rcode(self.rcode)
        if self.is_authoritative:
            reply.flags |= dns.flags.AA
        values = self.answers.get((name, kind), ())
        if values:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
        return reply.to_wire()


@contextmanager
def named() -> Iterator[Named]:
    """The server on loopback."""
    server = Named()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        server.port = listening.getsockname()[1]

        def serve() -> None:
            while True:
                wire, peer = listening.recvfrom(4096)
                if wire == b"end":
                    return
                if not server.is_silent:
                    listening.sendto(server.answer(wire), peer)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"end", ("127.0.0.1", server.port))
            thread.join()
