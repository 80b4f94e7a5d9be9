"""Traefik as the agent runs it: what is routed is served, a switch drops nothing, and all of HTTP passes."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.model.names import Slug
from agent.model.route import Backend, Route, RouteTable
from agent.planning import edge
from tests.support.edgehouse import EdgeHouse, Quiet, edge_house, serving
from tests.support.eventually import eventually

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeHouse]:
    with edge_house(tmp_path_factory.mktemp("edge")) as house:
        yield house


def test_a_route_is_served_with_its_revision_and_confirmed_without_touching_the_application(house: EdgeHouse) -> None:
    table = house.table("first", house.backend("first", "hello"), revision="a")
    house.put(table)
    status, headers, body = house.ask(house.hostname("first"))
    assert (status, headers["X-Butai-Revision"], body) == (200, "a" * 40, "hello\n")
    assert house.probe("first") == (418, "a" * 40)
    assert house.traefik.read(Slug("first")) == table


def test_a_container_is_reached_by_whatever_name_compose_gives_it(house: EdgeHouse) -> None:
    house.put(house.table("named", house.backend("a_b.C", "named")))
    assert house.ask(house.hostname("named"))[::2] == (200, "named\n")


def test_no_older_file_confirms_a_table_that_leads_elsewhere(house: EdgeHouse) -> None:
    name = house.backend("same", "same")
    old = house.table("same", name, revision="b")
    house.put(old)
    same_revision_elsewhere = house.table("same", "another-container", revision="b")
    assert not house.traefik.confirms(same_revision_elsewhere)
    house.put(same_revision_elsewhere)
    assert not house.traefik.confirms(old)


def test_a_removed_route_falls_to_the_agent(house: EdgeHouse) -> None:
    house.put(house.table("gone", house.backend("gone", "here")))
    house.traefik.remove(Slug("gone"))
    house.traefik.remove(Slug("gone"))
    assert house.traefik.read(Slug("gone")) is None
    eventually(lambda: house.ask(house.hostname("gone"))[0] == 502)


def test_an_environment_without_a_site_is_answered_by_the_agent(house: EdgeHouse) -> None:
    class Agent(Quiet):
        def answer(self) -> None:
            self.say(503, f"starting {self.headers['Host']}".encode())

    slug = Slug("early")
    waiting = RouteTable(slug, Backend.AGENT, None, (Route(house.hostname(slug), "", 0, ()),))
    house.put(waiting)
    assert house.traefik.read(slug) == waiting
    with serving(*edge.agent_address(house.settings), Agent):
        status, headers, body = house.ask(house.hostname(slug))
    assert (status, headers["X-Butai-Revision"], body) == (503, None, f"starting {house.hostname(slug)}")


def test_switching_back_and_forth_under_load_fails_no_request(house: EdgeHouse) -> None:
    names = {"1": house.backend("left", "1"), "2": house.backend("right", "2")}
    host = house.hostname("swap")
    house.put(house.table("swap", names["1"], revision="1"))
    eventually(lambda: house.ask(host)[0] == 200)
    seen: Counter[str] = Counter()
    live_s = []
    with _load(lambda: _fetch(house, host), seen):
        for number in range(20):
            version = "21"[number % 2]
            table = house.table("swap", names[version], revision=version)
            began = time.monotonic()
            house.put(table)
            live_s.append(time.monotonic() - began)
            # What was confirmed is what everybody gets from here on: the old container may go.
            assert _fetch(house, host) == f"200 {version}"
    assert set(seen) == {"200 1", "200 2"}, seen
    assert sum(seen.values()) > 20 * 10, "there was no load to speak of"
    assert min(live_s[1:]) < 1.0, "Traefik's own throttle of two seconds held each of them up"


def test_joining_and_leaving_networks_under_load_fails_no_request(house: EdgeHouse) -> None:
    """A network whose name sorts before the edge's would take over the published ports and drop what is in flight."""
    host = house.hostname("steady")
    house.put(house.table("steady", house.backend("steady", "steady")))
    eventually(lambda: house.ask(host)[0] == 200)
    networks = [f"{house.settings.instance}-{slug}_default" for slug in ("0", "aaa", "zzz")]
    for network in networks:
        house.api.create_network(network, labels={"butai.instance": house.settings.instance})
    seen: Counter[str] = Counter()
    with _load(lambda: _fetch(house, host), seen):
        for network in networks:
            house.engine.connect(network, house.traefik.container)
        assert set(networks) <= house.traefik.joined()
        for network in networks:
            house.engine.disconnect(network, house.traefik.container)
    assert set(seen) == {"200 steady"}, seen


def test_a_websocket_passes_both_ways(house: EdgeHouse) -> None:
    gateway = edge.edge_network(house.settings).gateway
    with serving(gateway, 0, _EchoSocket) as port:
        house.put(house.table("socket", gateway, port=port))
        with socket.create_connection(("127.0.0.1", house.settings.traefik.http_port), timeout=10) as client:
            key = base64.b64encode(os.urandom(16)).decode()
            client.sendall(
                f"GET /live HTTP/1.1\r\nHost: {house.hostname('socket')}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            answer = client.makefile("rb")
            assert answer.readline().split()[1] == b"101"
            while answer.readline() not in (b"\r\n", b""):
                pass
            for text in (b"first", b"x" * 100):
                client.sendall(_masked(text))
                head = answer.read(2)
                assert answer.read(head[1]) == text


def test_a_streamed_answer_arrives_piece_by_piece(house: EdgeHouse) -> None:
    gateway = edge.edge_network(house.settings).gateway
    first_arrived = threading.Event()

    class Stream(Quiet):
        def answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\none\n\r\n")
            self.wfile.flush()
            if first_arrived.wait(10):
                self.wfile.write(b"4\r\ntwo\n\r\n0\r\n\r\n")

    with serving(gateway, 0, Stream) as port:
        house.put(house.table("stream", gateway, port=port))
        connection = http.client.HTTPConnection("127.0.0.1", house.settings.traefik.http_port, timeout=10)
        connection.request("GET", "/", headers={"Host": house.hostname("stream")})
        answer = connection.getresponse()
        assert answer.readline() == b"one\n"
        first_arrived.set()
        assert answer.readline() == b"two\n"
        connection.close()


def test_applications_get_the_request_as_it_was_sent_and_no_forwarding_header_of_a_strangers(house: EdgeHouse) -> None:
    gateway = edge.edge_network(house.settings).gateway

    class Mirror(Quiet):
        def answer(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.say(200, json.dumps({"path": self.path, "body": body, "headers": headers}).encode())

    with serving(gateway, 0, Mirror) as port:
        house.put(house.table("mirror", gateway, port=port))
        connection = http.client.HTTPConnection("127.0.0.1", house.settings.traefik.http_port, timeout=10)
        forged = ("X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip")
        connection.request(
            "POST",
            "/a//%2Fb/./../c%20d?q=a;b&x=%00",
            body="körper".encode(),
            headers={"Host": house.hostname("mirror"), **dict.fromkeys(forged, "203.0.113.9")},
        )
        answer = connection.getresponse()
        seen = json.loads(answer.read())
        connection.close()
    assert answer.status == 200
    assert seen["path"] == "/a//%2Fb/./../c%20d?q=a%3Bb&x=%00"
    assert seen["body"] == "körper"
    assert seen["headers"]["host"] == house.hostname("mirror")
    assert seen["headers"]["x-forwarded-proto"] == "http"
    assert "203.0.113.9" not in json.dumps(seen["headers"])


def test_a_file_that_we_would_not_write_today_asks_to_be_written_again(house: EdgeHouse) -> None:
    table = house.table("stale", "some-container")
    house.traefik.write(table)
    path = house.settings.state_dir / "edge" / "routes" / f"{house.settings.instance}.stale.yml"
    document = json.loads(path.read_text())
    document["http"]["routers"][f"{house.settings.instance}.stale.web"]["entryPoints"] = ["websecure"]
    for content in (json.dumps(document), "", "{", "[]", "http: {"):
        path.write_text(content)
        found = house.traefik.read(Slug("stale"))
        assert found is not None
        assert found.routes == ()
    house.traefik.remove(Slug("stale"))


def test_ensuring_again_leaves_a_running_traefik_alone(house: EdgeHouse) -> None:
    (before,) = house.api.containers(filters={"name": house.traefik.container})
    assert house.traefik.ensure() is False
    (after,) = house.api.containers(filters={"name": house.traefik.container})
    assert (after["Id"], after["State"]) == (before["Id"], "running")


def test_traefik_never_sees_the_docker_socket_and_has_no_privilege(house: EdgeHouse) -> None:
    seen = house.api.inspect_container(house.traefik.container)
    assert {mount["Destination"] for mount in seen["Mounts"]} == {"/etc/butai/routes", "/etc/butai/certificates"}
    assert not any(mount["RW"] for mount in seen["Mounts"])
    assert seen["HostConfig"]["ReadonlyRootfs"]
    assert seen["HostConfig"]["CapDrop"] == ["ALL"]


def test_a_traefik_that_was_taken_away_comes_back_and_says_that_it_is_new(tmp_path: Path) -> None:
    with edge_house(tmp_path) as own:
        table = own.table("back", own.backend("back", "again"))
        own.put(table)
        own.api.remove_container(own.traefik.container, force=True)
        assert not own.traefik.confirms(table)
        assert own.traefik.ensure() is True
        own.engine.connect(f"{own.settings.instance}-back_default", own.traefik.container)
        eventually(lambda: own.traefik.confirms(table))
        assert own.ask(own.hostname("back"))[2] == "again\n"


def _fetch(house: EdgeHouse, host: str) -> str:
    status, _, body = house.ask(host)
    return f"{status} {body.strip()}"


class _load:  # noqa: N801 - reads as a word
    """Ask from two threads until the block ends; what went wrong counts under its own name."""

    def __init__(self, ask: Callable[[], str], seen: Counter[str]) -> None:
        self._ask = ask
        self._seen = seen
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(2)]

    def _run(self) -> None:
        while not self._done.wait(0.002):
            try:
                answer = self._ask()
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
            self._seen[answer] += 1

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


class _EchoSocket(Quiet):
    """RFC 6455 as far as short text frames go."""

    def answer(self) -> None:
        accept = hashlib.sha1(f"{self.headers['Sec-WebSocket-Key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode())
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept.digest()).decode())
        self.end_headers()
        while head := self.rfile.read(2):
            length, mask = head[1] & 0x7F, self.rfile.read(4)
            text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(length)))
            self.wfile.write(struct.pack("BB", 0x81, length) + text)
        self.close_connection = True


def _masked(text: bytes) -> bytes:
    mask = os.urandom(4)
    return struct.pack("BB", 0x81, 0x80 | len(text)) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))
