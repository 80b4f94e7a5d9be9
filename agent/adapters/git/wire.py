"""The branches of a smart HTTP remote, and what one of them lacks here, over a connection that is kept.

For one branch `git fetch` starts six processes, sets up TLS anew and asks three times; two questions are enough, and
one where `git ls-remote` starts two processes for each look at each project. Only as much of protocol version 2 is
spoken as that needs (gitprotocol-v2, gitprotocol-http). Whatever is not exactly as expected raises NotThisWay, and is
left to git: proxies, redirects, refusals, older servers, and all words for people.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from agent.adapters.git.remote import Remote
from agent.model.names import Revision

_SERVICE = "git-upload-pack"
_GREETING_LIMIT = 64 * 1024
_REFS_LIMIT = 4 * 1024 * 1024  # some 40,000 branches
_HEADS = b"refs/heads/"
_FLUSH, _DELIMITER = b"0000", b"0001"
_DATA, _ERROR = 1, 3
_KEPT_S = 45.0  # an idle connection may be forgotten by what lies between, and then a question gets no answer at all
_ONCE_MORE = (ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest, ssl.SSLEOFError)


class NotThisWay(Exception):
    """Git shall do it."""


class Wire:
    """One remote; not for two threads at once. `silence_s` bounds each wait, ten times as much a whole answer."""

    def __init__(self, remote: Remote, *, silence_s: float) -> None:
        self.remote = remote
        self.silence_s = silence_s
        self._url = urlsplit(remote.url)
        self._connection: http.client.HTTPConnection | None = None
        self._greeted = False
        self._used_at = 0.0

    @property
    def fits(self) -> bool:
        """Whether it is worth a try at all."""
        host = self._url.hostname or ""
        scheme = self._url.scheme
        if scheme not in ("http", "https") or not host or self._url.query:
            return False
        return scheme not in urllib.request.getproxies() or bool(urllib.request.proxy_bypass(host))

    def head(self, branch: str) -> Revision | None:
        """The revision that the remote's branch is at now; None when there is no such branch."""
        name = branch.encode(errors="surrogateescape")
        return next((revision for found, revision in self._refs(name) if found == name), None)

    def heads(self) -> dict[bytes, Revision]:
        """Every branch that the remote has, or none of them: an answer that breaks off is no answer."""
        return dict(self._refs(b""))

    def pack(self, wanted: Revision, have: Iterable[Revision], *, limit: int) -> bytes:
        """The objects that are needed beside those of `have`, as one thin pack of at most `limit` bytes."""
        lines = [b"thin-pack\n", b"ofs-delta\n", b"no-progress\n", f"want {wanted}\n".encode()]
        lines += [f"have {revision}\n".encode() for revision in have]
        question = [_line(b"command=fetch\n"), _DELIMITER, *map(_line, [*lines, b"done\n"]), _FLUSH]
        answer = self._ask(b"".join(question), limit=limit)
        if next(answer, b"") != b"packfile\n":
            raise NotThisWay("no pack")
        packed = bytearray()
        for line in answer:
            if line[:1] == bytes([_ERROR]):
                raise NotThisWay("the remote gave up")
            if line[:1] == bytes([_DATA]):
                packed += line[1:]
        return bytes(packed)

    def close(self) -> None:
        """Hang up; the next question calls again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._greeted = False

    def _refs(self, prefix: bytes) -> list[tuple[bytes, Revision]]:
        asked = _HEADS + prefix
        question = [_line(b"command=ls-refs\n"), _DELIMITER, _line(b"ref-prefix " + asked + b"\n"), _FLUSH]
        found = []
        for line in self._ask(b"".join(question), limit=_REFS_LIMIT):
            revision, _, rest = line.rstrip(b"\n").partition(b" ")
            name = rest.split(b" ")[0]
            if name.startswith(asked):  # a prefix is a wish that the remote need not heed
                found.append((name.removeprefix(_HEADS), _revision(revision)))
        return found

    # -- one question ------------------------------------------------------------------------------------------

    def _ask(self, question: bytes, *, limit: int) -> Iterator[bytes]:
        """The lines of an answer. Raises NotThisWay, and TimeoutError when the remote is silent."""
        try:
            if not self._greeted:
                self._greet()
            response = self._send("POST", f"/{_SERVICE}", question)
            self._expect(response, f"application/x-{_SERVICE}-result")
            yield from self._lines(response, limit)
            if response.read(1):
                raise NotThisWay("more than an answer")
        except (NotThisWay, TimeoutError):
            self.close()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise NotThisWay(str(error)) from error
        except GeneratorExit:
            self.close()  # the rest of the answer would be taken for the next one
            raise

    def _greet(self) -> None:
        """Whether the remote speaks version 2; asked once, for others would take our questions for something else."""
        response = self._send("GET", f"/info/refs?service={_SERVICE}")
        self._expect(response, f"application/x-{_SERVICE}-advertisement")
        greeting = response.read(_GREETING_LIMIT)
        if response.read(1) or b"version 2\n" not in greeting or b"ls-refs" not in greeting or b"fetch" not in greeting:
            raise NotThisWay("not version 2")
        self._greeted = True

    def _send(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
        headers = {"User-Agent": "git/2 butai", "Git-Protocol": "version=2", "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = f"application/x-{_SERVICE}-request"
            headers["Accept"] = f"application/x-{_SERVICE}-result"
        if authorization := self.remote.authorization():
            headers["Authorization"] = authorization.partition(": ")[2]
        if self._connection is not None and time.monotonic() - self._used_at > _KEPT_S:
            self._connection.close()
            self._connection = None
        self._used_at = time.monotonic()
        kept = self._connection is not None
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request(method, f"{self._url.path}{path}", body=body, headers=headers)
            return connection.getresponse()
        except _ONCE_MORE:
            connection.close()
            if not kept:
                raise
        connection.request(method, f"{self._url.path}{path}", body=body, headers=headers)  # it was hung up while idle
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self.silence_s, context=context)
        return http.client.HTTPConnection(host, port, timeout=self.silence_s)

    def _expect(self, response: http.client.HTTPResponse, content_type: str) -> None:
        if response.status != 200 or response.headers.get_content_type() != content_type:
            raise NotThisWay(f"{response.status} {response.reason}")

    def _lines(self, response: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
        """Pkt-lines until the flush."""
        until = time.monotonic() + 10 * self.silence_s
        while (size := int(_exactly(response, 4), 16)) != 0:
            if size < 4:
                continue  # a delimiter
            limit -= size
            if limit < 0 or time.monotonic() > until:
                raise NotThisWay("too much, or too slow")
            yield _exactly(response, size - 4)


def _exactly(response: http.client.HTTPResponse, size: int) -> bytes:
    data = response.read(size)
    while len(data) < size:
        more = response.read(size - len(data))
        if not more:
            raise NotThisWay("the answer broke off")
        data += more
    return data


def _line(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def _revision(text: bytes) -> Revision:
    try:
        return Revision(text.decode("ascii"))
    except ValueError as error:
        raise NotThisWay("no SHA-1") from error
