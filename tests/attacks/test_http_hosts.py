"""Hostile HTTP through the real Traefik to the real application: a clear refusal, never a server error."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from tests.support.edgehouse import EdgeHouse, edge_house_with_pages

pytestmark = pytest.mark.docker

KNOWN = "feature-x.staging.test"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeHouse]:
    with edge_house_with_pages(tmp_path_factory.mktemp("pages")) as house:
        yield house


def raw(house: EdgeHouse, request: bytes) -> tuple[int, bytes]:
    """Status and body of what Traefik answers to exactly these bytes; 0 when it hangs up."""
    address = ("127.0.0.1", house.settings.traefik.http_port)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
        except (http.client.BadStatusLine, ConnectionResetError):
            return 0, b""
        return answer.status, answer.read()


def get(host: str, *more: str) -> bytes:
    lines = ("GET / HTTP/1.1", f"Host: {host}", *more, "Connection: close", "", "")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "host",
    [
        "nobody.staging.test",
        "a.feature-x.staging.test",
        "FEATURE-Y.STAGING.TEST",
        "feature-y.staging.test.",
        "feature-y.staging.test:80",
        "staging.test",
        "example.com",
        "x" * 300 + ".staging.test",
        "x" * 64 + ".staging.test",
        "127.0.0.1:1",
        "_acme-challenge.staging.test",
        "xn--feature-x-.staging.test",
    ],
)
def test_an_unknown_host_gets_a_clear_not_found(house: EdgeHouse, host: str) -> None:
    status, body = raw(house, get(host))
    assert status in (400, 404), body
    assert body
    assert b"feature/x" not in body


@pytest.mark.parametrize(
    "host", [KNOWN, KNOWN.upper(), f"{KNOWN}.", f"{KNOWN}:{65535}", f"{KNOWN}.:80", "Feature-X.Staging.Test"]
)
def test_a_known_host_is_known_however_it_is_spelt(house: EdgeHouse, host: str) -> None:
    status, body = raw(house, get(host))
    assert (status, b"feature/x" in body) == (503, True)


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(""),
        get(KNOWN, f"Host: {KNOWN}"),
        get(KNOWN, "Host: nobody.staging.test"),
        get(f"{KNOWN}, nobody.staging.test"),
        get(f"{KNOWN} x"),
        get(f"{KNOWN}:999999999999999"),
        get(f"{KNOWN}:http"),
        get(f"user@{KNOWN}"),
        get(f"{KNOWN}/x"),
        get("[::1"),
        get("`) || PathPrefix(`/"),
        get("<script>alert(1)</script>"),
        get("日本.staging.test"),
        get("\udcff\udcfe"),
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://nobody.staging.test/ HTTP/1.1\r\nHost: feature-x.staging.test\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : feature-x.staging.test\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: feature-x.staging.test\r\nConnection: close\r\n\r\n",
        get(KNOWN, "X-Long: " + "x" * 65_536),
        get("nobody.staging.test", *(f"X-{number}: x" for number in range(200))),
        get("nobody.staging.test", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        get("nobody.staging.test", "Content-Length: -1"),
        get("nobody.staging.test", "Content-Length: 1", "Content-Length: 2"),
        get("nobody.staging.test", "Transfer-Encoding: gzip"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600,
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    ],
    ids=lambda request: repr(request[:60]),
)
def test_a_malformed_request_is_refused_and_hurts_nobody(house: EdgeHouse, request_bytes: bytes) -> None:
    status, body = raw(house, request_bytes)
    # 501 and 505 are the words of RFC 9112 for a transfer coding and a version that nobody speaks.
    assert status in (0, 501, 505) or 400 <= status < 500, body
    assert b"<script>" not in body
    assert house.ask("nobody.staging.test")[0] == 404


def test_forwarding_headers_name_no_other_environment(house: EdgeHouse) -> None:
    for header in ("X-Forwarded-Host", "X_Forwarded_Host", "X-Host", "X-Original-Host", "X-Forwarded-Server"):
        status, _, body = house.ask("nobody.staging.test", headers={header: KNOWN})
        assert status == 404
        assert "feature/x" not in body


@pytest.mark.parametrize("path", ["/api/v1/environments", "/hooks/github", "/slack/command", "//api/v1/environments"])
def test_the_agents_own_paths_do_not_exist_under_an_environments_hostname(house: EdgeHouse, path: str) -> None:
    assert house.ask(KNOWN, path)[0] == 503
    assert house.ask("nobody.staging.test", path)[0] == 404


def test_the_probe_of_an_unknown_host_is_nobodys(house: EdgeHouse) -> None:
    assert house.probe("nobody") == (404, "")
