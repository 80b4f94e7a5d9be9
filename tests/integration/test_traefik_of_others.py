"""A Traefik that somebody else runs: only our own files in its folder, containers reached by address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest

from agent import config
from agent.adapters.docker import DockerEngine
from agent.model.names import Hostname, Slug
from agent.model.route import Route
from tests.support.edgehouse import EdgeHouse, Quiet, free_port, serving, settings_text
from tests.support.eventually import eventually
from tests.support.run import run_labels

pytestmark = pytest.mark.docker

THEIRS = '{"http": {"routers": {"theirs": {"rule": "Host(`theirs.test`)", "service": "noop@internal"}}}}'


@dataclass
class Theirs:
    house: EdgeHouse
    folder: Path


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Theirs]:
    """Traefik on the host's network, with a folder that holds a file and an entry point of its owner's."""
    folder = tmp_path / "dynamic"
    folder.mkdir()
    (folder / "theirs.yml").write_text(THEIRS)
    text = settings_text(
        traefik=f'managed = false\ndirectory = "{folder}"\nagent_url = "http://127.0.0.1:{free_port()}"'
    )
    settings = config.parse(text, tmp_path)
    house = EdgeHouse(settings, DockerEngine(settings.docker.host, settings.instance))
    api: docker.APIClient = house.api
    created = api.create_container(
        settings.traefik.image,
        [
            f"--entrypoints.front.address=127.0.0.1:{settings.traefik.http_port}",
            "--providers.file.directory=/dynamic",
            "--providers.providersthrottleduration=100ms",
        ],
        labels={**run_labels(), "butai.instance": settings.instance},
        host_config=api.create_host_config(network_mode="host", binds=[f"{folder}:/dynamic:ro"]),
    )
    try:
        api.start(created)
        house.traefik.ensure()
        eventually(lambda: house.probe("nobody")[0] == 502, 20)
        yield Theirs(house, folder)
    finally:
        house.clear()


def test_our_routes_are_served_beside_theirs_and_nothing_of_theirs_is_touched(theirs: Theirs) -> None:
    house = theirs.house
    address = _backend_address(house)
    table = house.table("main", address)
    house.put(table)
    assert house.ask(house.hostname("main"))[::2] == (200, "by address\n")
    assert house.ask("theirs.test")[0] == 418
    assert house.traefik.read(Slug("main")) == table
    instance = house.settings.instance
    names = {path.name for path in theirs.folder.iterdir()}
    assert names == {"theirs.yml", f"{instance}.yml", f"{instance}.main.yml"}
    house.traefik.remove(Slug("main"))
    assert (theirs.folder / "theirs.yml").read_text() == THEIRS


def test_only_our_own_domain_falls_to_the_agent(theirs: Theirs) -> None:
    class Agent(Quiet):
        def answer(self) -> None:
            self.say(404, f"agent for {self.headers['Host']}".encode())

    port = int(theirs.house.settings.traefik.agent_url.rpartition(":")[2])
    with serving("127.0.0.1", port, Agent):
        for host in ("nobody.staging.test", "a.b.staging.test", "butai.staging.test"):
            assert theirs.house.ask(host)[2] == f"agent for {host}"
        for host in ("staging.test", "example.com", "stagingXtest"):
            assert "agent" not in theirs.house.ask(host)[2]


def test_the_agent_joins_nothing_and_owns_no_container(theirs: Theirs) -> None:
    assert theirs.house.traefik.container == ""
    assert theirs.house.traefik.joined() == frozenset()
    assert not theirs.house.api.networks(filters={"label": f"butai.instance={theirs.house.settings.instance}"})


def test_two_agents_share_one_traefik_without_meeting(theirs: Theirs, tmp_path: Path) -> None:
    house = theirs.house
    other = EdgeHouse(
        replace(house.settings, instance="other", domain="other.test", state_dir=tmp_path / "other"),
        house.engine,
    )
    other.traefik.ensure()
    address = _backend_address(house)
    house.put(house.table("main", address))
    route = Route(Hostname("main.other.test"), "web", 8000, (address,))
    other.put(replace(house.table("main"), routes=(route,)))
    assert house.traefik.read(Slug("main")) != other.traefik.read(Slug("main"))
    other.traefik.remove(Slug("main"))
    assert other.traefik.read(Slug("main")) is None
    assert house.traefik.read(Slug("main")) == house.table("main", address)


def _backend_address(house: EdgeHouse) -> str:
    created = house.api.create_container(
        "busybox:1.37",
        ["sh", "-c", "mkdir /w; echo by address >/w/index.html; exec httpd -f -p 8000 -h /w"],
        labels={**run_labels(), "butai.instance": house.settings.instance},
        host_config=house.api.create_host_config(init=True),
    )
    house.api.start(created)
    seen = house.api.inspect_container(created)
    return str(seen["NetworkSettings"]["IPAddress"])
