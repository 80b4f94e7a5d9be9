"""Compose creates what a release says: networks from the environment's block, volumes, containers beside old ones."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from threading import Thread

import docker
import pytest

from agent.adapters.compose import ComposeCli
from agent.errors import OutsideError
from agent.model.labels import BRANCH, INSTANCE, PROJECT, SERVICE, SLUG
from agent.model.names import Slug
from agent.model.release import Release
from agent.planning.addresses import subnets
from agent.runtime.cancel import CancelToken
from tests.support.place import free_pool
from tests.support.readerworld import ReaderWorld

pytestmark = pytest.mark.docker

FILE = """
services:
  web:
    image: busybox:1.37
    command: sleep 600
    ports: ["8080:80"]
    container_name: fixed
    networks: [front, back]
    healthcheck: {test: "true", interval: 1s}
    volumes: [data:/data]
  db:
    image: busybox:1.37
    command: sleep 600
    networks: [back]
    environment: {LEVEL: one}
networks:
  front:
  back:
volumes:
  data:
"""


class Stacks:
    """A reader whose stacks are made on the real engine."""

    def __init__(self, root: Path, client: docker.DockerClient) -> None:
        self.client = client
        self.instance = f"t{secrets.token_hex(4)}"
        self.pool = free_pool(client)
        top = f'instance = "{self.instance}"\n[docker]\naddress_pool = "{self.pool}"\n---\n'
        self.world = ReaderWorld(root, top)
        self.filters = {"label": f"{INSTANCE}={self.instance}"}

    def create(self, release: Release, **scale: int) -> None:
        path = self.world.settings.state_dir / f"{release.slug}.json"
        path.write_text(json.dumps(release.model))
        self.world.compose.create(release.stack, path, scale=scale, cancel=CancelToken())

    def containers(self) -> dict[str, dict[str, object]]:
        found = self.client.api.containers(all=True, filters=self.filters)
        return {entry["Names"][0].lstrip("/"): entry for entry in found}

    def remove(self) -> None:
        for entry in self.client.api.containers(all=True, filters=self.filters):
            self.client.api.remove_container(entry["Id"], force=True, v=True)
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    self.client.api.remove_network, [n["Id"] for n in self.client.api.networks(filters=self.filters)]
                )
            )
        for volume in self.client.api.volumes(filters=self.filters)["Volumes"] or ():
            self.client.api.remove_volume(volume["Name"])


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[Stacks]:
    client = docker.from_env()
    stacks = Stacks(tmp_path, client)
    try:
        yield stacks
    finally:
        stacks.remove()
        client.close()


def test_everything_that_is_made_carries_our_labels_and_addresses_of_the_block(stacks: Stacks) -> None:
    release = stacks.world.read({"compose.yaml": FILE})
    stacks.create(release, web=1, db=1)

    block = subnets(stacks.pool, 25, block=0)
    networks = stacks.client.api.networks(filters=stacks.filters)
    assert {n["Name"]: IPv4Network(n["IPAM"]["Config"][0]["Subnet"]) for n in networks} == {
        f"{release.stack}_back": block[0],
        f"{release.stack}_front": block[1],
    }
    volumes = stacks.client.api.volumes(filters=stacks.filters)["Volumes"]
    assert [volume["Name"] for volume in volumes] == [f"{release.stack}_data"]
    expected = {INSTANCE: stacks.instance, PROJECT: "shop", BRANCH: "main", SLUG: "main"}
    assert expected.items() <= volumes[0]["Labels"].items()
    containers = stacks.containers()
    assert sorted(containers) == [f"{release.stack}-db-1", f"{release.stack}-web-1"]
    for service in ("db", "web"):
        labels = containers[f"{release.stack}-{service}-1"]["Labels"]
        assert (expected | {SERVICE: service}).items() <= labels.items()  # type: ignore[attr-defined]
    made = stacks.client.api.inspect_container(f"{release.stack}-web-1")
    assert made["HostConfig"]["PortBindings"] in (None, {})
    assert made["HostConfig"]["Memory"] == 1024**3
    assert made["HostConfig"]["LogConfig"]["Type"] == "local"
    assert made["Config"]["Healthcheck"]["StartInterval"] == 200_000_000
    assert "fixed" in made["NetworkSettings"]["Networks"][f"{release.stack}_front"]["Aliases"]


def test_a_changed_service_gets_a_new_container_beside_the_old_and_nothing_that_runs_is_touched(stacks: Stacks) -> None:
    first = stacks.world.read({"compose.yaml": FILE})
    stacks.create(first, web=1, db=1)
    for name in stacks.containers():
        stacks.client.api.start(name)
    before = stacks.containers()

    second = stacks.world.read({"compose.yaml": FILE.replace("LEVEL: one", "LEVEL: two")})
    stacks.create(second, web=1, db=2)

    after = stacks.containers()
    assert sorted(set(after) - set(before)) == [f"{first.stack}-db-2"]
    for name, entry in before.items():
        assert (after[name]["Id"], after[name]["State"]) == (entry["Id"], "running")
    new = stacks.client.api.inspect_container(f"{first.stack}-db-2")
    assert "LEVEL=two" in new["Config"]["Env"]
    assert new["State"]["Status"] == "created"
    assert set(new["NetworkSettings"]["Networks"]) == {f"{first.stack}_back"}


def test_a_network_that_is_added_later_leaves_the_others_where_they_are(stacks: Stacks) -> None:
    stacks.create(stacks.world.read({"compose.yaml": FILE}), web=1, db=1)
    more = FILE.replace("networks: [back]", "networks: [back, added]").replace("  back:\n", "  back:\n  added:\n")
    release = stacks.world.read({"compose.yaml": more})
    stacks.create(release, web=1, db=2)
    block = subnets(stacks.pool, 25, block=0)
    networks = stacks.client.api.networks(filters=stacks.filters)
    assert {n["Name"].rpartition("_")[2]: n["IPAM"]["Config"][0]["Subnet"] for n in networks} == {
        "back": str(block[0]),
        "front": str(block[1]),
        "added": str(block[2]),
    }


def test_dollars_arrive_as_they_were_written(stacks: Stacks) -> None:
    world = stacks.world
    world.environment = dataclasses.replace(world.environment, branch="fix/${HOME}-$x")
    release = world.read(
        {
            "compose.yaml": "services: {web: {image: busybox:1.37, command: ['echo', 'a$$b'], ports: ['80'],"
            ' environment: {A: "$$HOME", B: "${B}", C: }}}',
            ".env": 'B=\'$HOME\'\nC="it\'s \\"x\\""\n',
        }
    )
    stacks.create(release, web=1)
    made = stacks.client.api.inspect_container(f"{release.stack}-web-1")
    environment = dict(line.partition("=")[::2] for line in made["Config"]["Env"])
    assert made["Config"]["Cmd"] == ["echo", "a$b"]
    assert [environment[name] for name in ("A", "B", "C")] == ["$HOME", "$HOME", 'it\'s "x"']
    assert environment["BUTAI_BRANCH"] == "fix/${HOME}-$x"
    assert made["Config"]["Labels"][BRANCH] == "fix/${HOME}-$x"


def test_the_health_check_of_an_image_is_asked_quickly_at_the_start_too(stacks: Stacks) -> None:
    release = stacks.world.read({"compose.yaml": "services: {web: {image: busybox:1.37, ports: ['80']}}"})
    stacks.create(release, web=1)
    made = stacks.client.api.inspect_container(f"{release.stack}-web-1")
    assert made["Config"]["Healthcheck"].get("Test") is None  # the engine takes it from the image, if it has one
    assert made["Config"]["Healthcheck"]["StartInterval"] == 200_000_000


def test_a_missing_image_is_not_the_authors_fault_and_is_tried_again(stacks: Stacks) -> None:
    release = stacks.world.read({"compose.yaml": "services: {web: {image: absent.test/none:1, ports: ['80']}}"})
    with pytest.raises(OutsideError, match="No such image"):
        stacks.create(release, web=1)


def test_a_container_that_goes_meanwhile_is_not_the_authors_fault_and_is_tried_again(stacks: Stacks) -> None:
    """Somebody removes one between Compose's list and its closer look: no engine does that to order; one is played."""

    class Engine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"message": "No such container: 9e9a973fb73d"}).encode()
            self.send_response(200 if self.path.endswith("_ping") else 404)
            self.send_header("Api-Version", "1.45")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    release = stacks.world.read({"compose.yaml": FILE})
    path = stacks.world.root / "played.json"
    path.write_text(json.dumps(release.model))
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        compose = ComposeCli(f"tcp://127.0.0.1:{server.server_port}")

        with pytest.raises(OutsideError, match="No such container"):
            compose.create(release.stack, path, scale={"web": 1, "db": 1}, cancel=CancelToken())
        server.shutdown()


@pytest.mark.slow
def test_more_environments_than_dockers_own_pools_have_room_for_each_have_addresses(stacks: Stacks) -> None:
    """Those end at 31 networks."""
    release = stacks.world.read({"compose.yaml": FILE})
    for block in range(16):
        slug = f"env-{block}"
        stacks.world.environment = dataclasses.replace(stacks.world.environment, slug=Slug(slug), block=block)
        release = stacks.world.reader.read(stacks.world.environment, release.revision)
        stacks.create(release, web=0, db=0)
    made = [IPv4Network(n["IPAM"]["Config"][0]["Subnet"]) for n in stacks.client.api.networks(filters=stacks.filters)]
    assert len(made) == 32
    assert all(IPv4Network(stacks.pool).supernet_of(network) for network in made)
