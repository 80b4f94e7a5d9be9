"""Hostile HTTP: host names, listeners, paths and headers, against the application and the real server."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from agent.config import Secret
from agent.web.deps import LISTENER, SOCKET
from agent.web.server import WebServer
from tests.support.oneapp import served
from tests.support.signed import push
from tests.support.slackd import Slackd
from tests.support.stage import HOST, REMOTE, MovingClock, build, settings_for

TOKEN = "a-token-for-the-api-over-tcp"


@pytest.fixture
def stage(tmp_path):
    clock = MovingClock()
    with Slackd(now=clock.monotonic) as slack:
        made = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=False), clock=clock)
        yield made
        made.store.close()


def get(stage, path="/api/v1/health", /, *, host=HOST, peer="127.0.0.1", **headers):
    return stage.client.get(
        path, headers={"Host": host, **headers}, environ_overrides={"REMOTE_ADDR": peer, "REQUEST_URI": path}
    )


@pytest.fixture
def tokened(stage):
    server = replace(stage.settings.server, token=Secret(TOKEN, Path("/nowhere")))
    object.__setattr__(stage.settings, "server", server)
    return stage


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "a,b",
        f"{HOST}, evil.example",
        f"{HOST}:99999",
        f"{HOST}:999999999",
        f"{HOST}:80:80",
        f"{HOST}:",
        f"{HOST}/x",
        f"user@{HOST}",
        "exämple.com".encode().decode("latin-1"),
        "a" * 300,
        "[::1",
        "<script>",
    ],
)
def test_a_host_that_is_none_is_a_400(stage, host):
    answer = get(stage, host=host)
    assert answer.status_code == 400
    assert host == "" or len(host) < 3 or host not in answer.text


@pytest.mark.parametrize(
    "host",
    [
        "nothing.staging.example.com",
        "a.b.staging.example.com",
        "NOTHING.staging.example.com",
        "nothing.staging.example.com.",
        "evil.example",
        "butai.staging.example.com.evil.example",
        "xbutai.staging.example.com",
        "_acme-challenge.staging.example.com",
        f"{'x' * 63}.staging.example.com",
        f"{'x' * 64}.staging.example.com",
    ],
)
@pytest.mark.parametrize(
    "path", ["/", "/api/v1/health", "/api/v1/environments", "/slack/commands?ssl_check=1", "/hooks/github"]
)
def test_a_host_without_an_environment_is_a_clear_404_whatever_the_path(tokened, host, path):
    answer = get(tokened, path, host=host, Authorization=f"Bearer {TOKEN}", Accept="text/html")
    assert answer.status_code == 404
    assert "text/html" in answer.headers["Content-Type"]
    assert "shop" not in answer.text


def test_a_delivery_to_the_host_of_an_environment_is_not_ours(stage):
    stage.operations.deploy("main", project="shop", caller="slack:U0ANNA")
    body, headers = push(REMOTE, "main")
    answer = stage.client.post("/hooks/github", data=body, headers={**headers, "Host": "main.staging.example.com"})
    assert answer.status_code != 202
    assert stage.environment("main").request == 1


@pytest.mark.parametrize(
    "host", [HOST, HOST.upper(), f"{HOST}.", f"{HOST}:8480", "127.0.0.1:8480", "localhost", "[::1]:80"]
)
def test_the_agents_own_names_lead_to_it(tokened, host):
    assert get(tokened, host=host, Authorization=f"Bearer {TOKEN}").status_code == 200


@pytest.mark.parametrize("peer", ["10.200.0.9", "10.200.77.130", "10.200.255.255", "::ffff:10.200.0.9"])
@pytest.mark.parametrize("path", ["/", "/api/v1/health", "/slack/commands?ssl_check=1"])
def test_a_container_of_an_environment_is_refused_everywhere(tokened, peer, path):
    assert get(tokened, path, peer=peer, Authorization=f"Bearer {TOKEN}").status_code == 403


@pytest.mark.parametrize("peer", ["10.200.0.2", "10.200.0.1", "127.0.0.1", "192.168.1.7", "::1"])
def test_traefik_this_host_and_strangers_outside_the_pool_are_not_containers(tokened, peer):
    assert get(tokened, peer=peer, Authorization=f"Bearer {TOKEN}").status_code == 200


def test_forwarded_addresses_are_not_believed(tokened):
    forged = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-Host": HOST,
        "Forwarded": "for=127.0.0.1",
    }
    assert get(tokened, peer="10.200.0.9", **forged).status_code == 403
    assert get(tokened, host="nothing.staging.example.com", **forged).status_code == 404


def test_the_api_over_tcp_without_a_token_in_the_settings_does_not_exist(stage):
    assert get(stage).status_code == 404
    assert get(stage, Authorization="Bearer ").status_code == 404


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xe9",
    ],
)
def test_the_api_over_tcp_with_a_wrong_token_is_a_401(tokened, given):
    answer = get(tokened, "/api/v1/environments", Authorization=given)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert TOKEN not in answer.text


def test_the_api_on_the_socket_needs_no_token(stage):
    answer = stage.client.get("/api/v1/health", environ_overrides={LISTENER: SOCKET})
    assert answer.status_code == 200


def test_a_header_cannot_claim_to_be_the_socket(stage):
    assert get(stage, **{"Butai.Listener": "socket", "Butai-Listener": "socket"}).status_code == 404


@pytest.mark.parametrize(
    "path", ["//api/v1/health", "/api//v1/health", "/api/v1/health/", "/api/v1/../v1/health", "/%2fapi/v1/health"]
)
def test_there_is_one_spelling_of_each_path(tokened, path):
    answer = tokened.client.get(
        "/",
        headers={"Host": HOST, "Authorization": f"Bearer {TOKEN}"},
        environ_overrides={"PATH_INFO": path, "REQUEST_URI": path},
    )
    assert answer.status_code == 404


def test_every_answer_forbids_sniffing(tokened):
    for host in (HOST, "nothing.staging.example.com"):
        assert get(tokened, host=host).headers["X-Content-Type-Options"] == "nosniff"


@pytest.fixture
def port(tokened):
    server = WebServer(served(tokened.deps))
    yield server.serve_tcp("127.0.0.1", 0)
    server.close()


def raw(port, request: bytes, *, wait_s=5.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while data := connection.recv(65_536):
                answer += data
        except OSError:
            pass
        return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_two_hosts_are_a_400(port):
    assert (
        status(raw(port, f"GET / HTTP/1.1\r\nHost: {HOST}\r\nHost: evil\r\nConnection: close\r\n\r\n".encode())) == 400
    )


def test_no_host_is_a_400(port):
    assert status(raw(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")) == 400


def test_a_doubled_slash_is_a_404_on_the_real_server_too(port):
    request = (
        f"GET //api/v1/health HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    )
    assert status(raw(port, request.encode())) == 404


def test_headers_of_64_kilobytes_are_refused(port):
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Big: {'x' * 65_536}\r\nConnection: close\r\n\r\n"
    assert 400 <= status(raw(port, request.encode())) < 500


def test_two_hundred_headers_are_refused(port):
    many = "".join(f"X-{number}: 1\r\n" for number in range(200))
    assert 400 <= status(raw(port, f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{many}Connection: close\r\n\r\n".encode())) < 500


def test_chunked_with_a_content_length_is_a_400(port):
    request = (
        f"POST /hooks/github HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n0\r\n\r\n"
    )
    assert status(raw(port, request.encode())) == 400


@pytest.mark.parametrize(
    "line", ["GET /\r\n\r\n", "\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_what_is_no_request_ends_without_harm(port, line):
    raw(port, line.encode(), wait_s=1.0)
    healthy = (
        f"GET /api/v1/health HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    )
    assert status(raw(port, healthy.encode())) == 200


def test_a_body_larger_than_any_delivery_is_a_413(port):
    request = f"POST /hooks/github HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 99000000\r\nConnection: close\r\n\r\n"
    assert status(raw(port, request.encode() + b"x" * 1_000)) == 413


def test_a_bug_is_a_500_that_tells_nothing(tokened, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(tokened.operations, "push", broken)
    status_code, answer = tokened.send("/hooks/github", *push(REMOTE, "main"))
    assert status_code == 500
    assert json.loads(answer)["code"] == "internal-error"
    assert b"swordfish" not in answer
