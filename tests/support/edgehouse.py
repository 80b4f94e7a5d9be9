"""A real Traefik of one test's own, run by the real adapter on the real engine, with backends to route to.

Everything carries the label of an instance that nobody else has, or the run's label, and goes by exactly that.
"""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker

from agent import config
from agent.adapters.docker import DockerEngine
from agent.adapters.traefik import Layout, Traefik
from agent.adapters.traefik.probe import Probe
from agent.config import Settings
from agent.model.names import Hostname, Revision, Slug
from agent.model.route import REVISION_HEADER, Backend, Route, RouteTable
from agent.planning import edge, routing
from agent.web.app import create_app
from agent.web.server import WebServer
from tests.support.eventually import eventually
from tests.support.fakes_api import build_house
from tests.support.run import run_labels

DOMAIN = "staging.test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unused_pool() -> str:
    """A /20 of 10.208.0.0/12 that no network of this engine touches."""
    api = docker.APIClient()
    taken = [entry.get("Subnet", "") for network in api.networks() for entry in (network["IPAM"]["Config"] or ())]
    api.close()
    while True:
        octet, quarter = 208 + secrets.randbelow(16), 16 * secrets.randbelow(16)
        if not any(subnet.startswith(f"10.{octet}.") for subnet in taken):
            return f"10.{octet}.{quarter}.0/20"


@dataclass
class EdgeHouse:
    """One agent's edge: `settings` may be replaced, the adapter asks for them at each call."""

    settings: Settings
    engine: DockerEngine
    layout: Layout = edge
    traefik: Traefik = field(init=False)
    api: docker.APIClient = field(default_factory=docker.APIClient)

    def __post_init__(self) -> None:
        self.traefik = Traefik(lambda: self.settings, engine=self.engine, routing=routing, layout=self.layout)

    def hostname(self, slug: str, service: str = "") -> Hostname:
        return self.settings.hostname(Slug(slug), service)

    def table(self, slug: str, *containers: str, port: int = 8000, revision: str = "1") -> RouteTable:
        route = Route(self.hostname(slug), "web", port, containers)
        return RouteTable(Slug(slug), Backend.CONTAINERS, Revision(revision * 40), (route,))

    def put(self, table: RouteTable) -> None:
        """Write and wait until Traefik answers by it."""
        self.traefik.write(table)
        eventually(lambda: self.traefik.confirms(table), 20, pause_s=0.005)

    def backend(self, name: str, page: str) -> str:
        """A busybox web server in a network of its own that Traefik has joined; its container name."""
        full = f"{self.settings.instance}-{name}-web-1"
        network = f"{self.settings.instance}-{name}_default"
        labels = {**run_labels(), "butai.instance": self.settings.instance}
        if not self.api.networks(names=[network]):
            self.api.create_network(network, labels=labels)
            self.engine.connect(network, self.traefik.container)
        command = f"mkdir /w; echo '{page}' >/w/index.html; exec httpd -f -p 8000 -h /w"
        created = self.api.create_container(
            "busybox:1.37",
            ["sh", "-c", command],
            name=full,
            labels=labels,
            host_config=self.api.create_host_config(network_mode=network, init=True),
        )
        self.api.start(created)
        return full

    def ask(
        self, host: str, path: str = "/", *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """One request through the published port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.traefik.http_port, timeout=10)
        try:
            connection.request(method, path, headers={"Host": host, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def probe(self, slug: str) -> tuple[int, str]:
        """Status and revision that Traefik itself answers under this hostname: 418 where there is a route."""
        address, secure = edge.probe_address(self.settings), self.settings.scheme == "https"
        status, headers = Probe().ask(address, self.hostname(slug), secure=secure)
        return status, headers.get(REVISION_HEADER, "")

    def clear(self) -> None:
        """Remove everything that carries this instance's label, and nothing else."""
        mine = {"label": [f"butai.instance={self.settings.instance}"]}
        for container in self.api.containers(all=True, filters=mine):
            self.api.remove_container(container["Id"], force=True, v=True)
        for network in self.api.networks(filters=mine):
            self.api.remove_network(network["Id"])
        self.api.close()


def settings_text(*, traefik: str = "", instance: str | None = None) -> str:
    """An agent's settings on free ports and addresses, with `traefik` as further lines of that section."""
    instance = instance or f"t{os.getpid() % 100_000}{secrets.token_hex(2)}"
    return f"""
domain = "{DOMAIN}"
instance = "{instance}"
state_dir = "state"
[server]
port = {free_port()}
[docker]
address_pool = "{unused_pool()}"
[limits]
environments = 20
[traefik]
address = "127.0.0.1"
http_port = {free_port()}
https_port = {free_port()}
{traefik}
[projects.shop]
remote = "https://git.example.com/shop.git"
"""


@contextmanager
def edge_house(directory: Path, *, traefik: str = "") -> Iterator[EdgeHouse]:
    """Traefik running by `settings_text(traefik=...)`, cleared at the end."""
    settings = config.parse(settings_text(traefik=traefik), directory)
    house = EdgeHouse(settings, DockerEngine(settings.docker.host, settings.instance))
    try:
        house.traefik.ensure()
        eventually(lambda: house.probe("nobody")[0] == 502, 20)  # it is up, the agent is not
        yield house
    finally:
        house.clear()


@contextmanager
def edge_house_with_pages(directory: Path) -> Iterator[EdgeHouse]:
    """As `edge_house`, with the real application behind Traefik and feature/x waiting for its turn."""
    with edge_house(directory) as house:
        inside = build_house(directory)
        deps = replace(inside.deps, settings=lambda: house.settings)
        deps.operations.deploy("feature/x", project="shop", caller="unix:anna")
        server = WebServer(create_app(deps))
        try:
            server.serve_tcp(*edge.agent_address(house.settings))
            eventually(lambda: house.ask(f"nobody.{DOMAIN}")[0] == 404)
            yield house
        finally:
            server.close()
            inside.close()


@contextmanager
def serving(address: str, port: int, handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A web server in this process; its port."""
    server = ThreadingHTTPServer((address, port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(BaseHTTPRequestHandler):
    """A handler that speaks HTTP/1.1, logs nothing, and gives every GET and POST to `answer`."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        pass

    def say(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
