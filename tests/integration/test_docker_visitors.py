"""Who is connected to a container, on the real engine: the table of its network namespace says it."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import docker
import pytest
from docker.errors import NotFound

from agent.adapters.docker import DockerEngine
from agent.model.labels import INSTANCE
from tests.support.eventually import eventually
from tests.support.run import run_labels

pytestmark = pytest.mark.docker

HOST = "unix:///var/run/docker.sock"
PORT = 8000


@dataclass(frozen=True)
class Server:
    """A container that takes connections on `PORT` and keeps them; this process is at the gateway of its network."""

    engine: DockerEngine
    id: str
    address: str
    gateway: str

    def connect(self) -> socket.socket:
        return eventually(self._connected)

    def visitors(self, *besides: str) -> int | None:
        return self.engine.visitors(self.id, besides=frozenset(besides))

    def _connected(self) -> socket.socket:
        try:
            return socket.create_connection((self.address, PORT), timeout=5)
        except ConnectionRefusedError as error:
            raise AssertionError("it does not listen yet") from error


@pytest.fixture(name="server")
def server_fixture() -> Iterator[Server]:
    client, instance = docker.APIClient(HOST), f"t{secrets.token_hex(4)}"
    labels = {INSTANCE: instance, **run_labels()}
    config = {
        "Image": "busybox:1.37",
        "Cmd": ["httpd", "-f", "-p", str(PORT)],
        "Labels": labels,
        "HostConfig": {"Init": True},
    }
    container = str(cast("Any", client).create_container_from_config(config)["Id"])
    try:
        client.start(container)
        network = client.inspect_container(container)["NetworkSettings"]["Networks"]["bridge"]
        yield Server(DockerEngine(HOST, instance), container, network["IPAddress"], network["Gateway"])
    finally:
        with contextlib.suppress(NotFound):
            client.remove_container(container, force=True, v=True)
        client.close()


def test_every_open_connection_counts_until_it_is_closed(server: Server) -> None:
    with server.connect(), server.connect():
        assert eventually(lambda: server.visitors() == 2)
    assert eventually(lambda: server.visitors() == 0)


def test_connections_from_addresses_that_are_named_do_not_count(server: Server) -> None:
    with server.connect():
        assert eventually(lambda: server.visitors() == 1)
        assert server.visitors(server.gateway) == 0


def test_a_container_that_stopped_or_is_gone_has_no_visitors(server: Server) -> None:
    server.engine.stop(server.id, grace_s=0)
    assert server.visitors() == 0
    server.engine.remove(server.id)
    assert server.visitors() == 0
