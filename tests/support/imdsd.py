"""A stand-in for the metadata service of EC2 over real HTTP: tokens are enforced, as with HttpTokens=required."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.httpd import answering


@dataclass
class Imdsd:
    """`data` is what there is under /latest/meta-data/; `tokens` are those that are valid now."""

    url: str = ""
    data: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    handed_out: int = 0
    is_off: bool = False
    wants_token: bool = True

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        if self.is_off or "x-forwarded-for" in headers:
            return 403, "forbidden"
        if (method, path) == ("PUT", "/latest/api/token"):
            if not 1 <= int(headers.get("x-aws-ec2-metadata-token-ttl-seconds", "0")) <= 21_600:
                return 400, "bad request"
            self.handed_out += 1
            token = secrets.token_urlsafe()
            self.tokens.add(token)
            return 200, token
        if self.wants_token and headers.get("x-aws-ec2-metadata-token") not in self.tokens:
            return 401, "unauthorized"
        found = self.data.get(path.removeprefix("/latest/meta-data/"))
        return (404, "not found") if found is None else (200, found)


@contextmanager
def imdsd(*, hops: int = 64) -> Iterator[Imdsd]:
    """The service on loopback; `hops` is how far its packets may travel, this host included."""
    service = Imdsd()
    with answering(service.answer, hops=hops) as service.url:
        yield service
