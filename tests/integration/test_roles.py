"""Roles through real boto3, STS and containers: a child that was left no variable at all has the role of its project.

What is not this machine's: its firewall. The one rule that leads containers to the agent stands in each container's own
network instead; tests/integration/test_firewall.py has it where it belongs.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest

from agent import config
from agent.adapters.aws import Sts
from agent.adapters.clock import SystemClock
from agent.adapters.docker import DockerEngine
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.planning import edge
from agent.planning.addresses import subnets
from agent.runtime.metadata import Metadata
from agent.runtime.roles import RoleKeeper
from agent.web.app import create_app
from agent.web.server import WebServer
from tests.support import awsd
from tests.support.edgehouse import EdgeHouse, settings_text
from tests.support.fakes_api import House, build_house
from tests.support.netns import Namespace
from tests.support.run import run_labels

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter a container's network"),
]

ARN = "arn:aws:iam::123456789012:role/staging/{}"
IMAGE = "python:3.11-slim"
SITE = "/boto"
LIBRARIES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
SCRIPT = """
import os, sys
sys.path.insert(0, "/boto")
import boto3, botocore.exceptions
assert set(os.environ) <= {{"LC_CTYPE"}}, os.environ
try:
    print(boto3.client("sts", region_name="eu-west-1", endpoint_url="{url}").get_caller_identity()["Arn"])
except botocore.exceptions.NoCredentialsError as error:
    print(error)
"""
NOTHING = "Unable to locate credentials"


@dataclass
class World:
    """An agent behind the gateway of its network, and containers in networks where environments have theirs."""

    edge: EdgeHouse
    house: House
    keeper: RoleKeeper
    web: WebServer
    aws: str

    def set(self, **roles: str) -> None:
        """What the settings say of the projects shop and blog from now on."""
        projects = {
            name: replace(self.edge.settings.projects["shop"], name=name, role=role, region="eu-west-1" if role else "")
            for name, role in roles.items()
        }
        self.edge.settings = replace(self.edge.settings, projects=projects)

    @contextmanager
    def container(self, project: str, block: int) -> Iterator[str]:
        """A container of the environment `<project>-1`, with an odd user and nothing that it may write."""
        settings, slug = self.edge.settings, Slug(f"{project}-1")
        environment = Environment(
            slug=slug,
            project=project,
            branch=slug,
            wanted=Wanted.RUNNING,
            block=block,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            created_by="test",
        )
        self.house.store.environments.restore(environment)
        api, name = self.edge.api, f"{settings.instance}-{slug}"
        labels = {**run_labels(), "butai.instance": settings.instance, "butai.slug": slug}
        subnet = subnets(settings.docker.address_pool, settings.docker.block_prefix, block=block)[0]
        pools = [docker.types.IPAMPool(subnet=str(subnet))]
        api.create_network(name, labels=labels, ipam=docker.types.IPAMConfig(pool_configs=pools))
        purelib = Path(sysconfig.get_path("purelib"))
        binds = [f"{purelib / library}:{SITE}/{library}:ro" for library in LIBRARIES]
        made = api.create_container(
            IMAGE,
            ["sleep", "300"],
            name=name,
            labels=labels,
            user="4321",
            host_config=api.create_host_config(network_mode=name, init=True, read_only=True, binds=binds),
        )
        api.start(made)
        with Namespace.of(api.inspect_container(name)["State"]["Pid"]) as network:
            address, port = edge.agent_address(settings)
            to = f"DNAT --to-destination {address}:{port}"
            network.call(f"iptables -t nat -A OUTPUT -d 169.254.169.254 -p tcp --dport 80 -j {to}")
        yield name

    def environment(self, slug: str) -> Environment:
        found = self.house.store.environments.get(Slug(slug))
        assert found is not None
        return found

    def says(self, container: str) -> str:
        """Who a child is to AWS that its parent left nothing to."""
        argv = ["env", "-i", "/usr/local/bin/python3", "-c", SCRIPT.format(url=self.aws)]
        api: Any = self.edge.api
        return str(api.exec_start(api.exec_create(container, argv)).decode()).strip()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings = config.parse(settings_text(), tmp_path)
    edge_house = EdgeHouse(settings, DockerEngine(settings.docker.host, settings.instance))
    network = edge.edge_network(settings)
    house = build_house(tmp_path)
    try:
        edge_house.engine.ensure_network(network)
        with awsd.moto(network.gateway) as url:
            awsd.use(monkeypatch, url)
            clock = SystemClock()
            keeper = RoleKeeper(settings=lambda: edge_house.settings, store=house.store, sts=Sts(), clock=clock)
            metadata = Metadata(
                settings=lambda: edge_house.settings,
                store=house.store,
                engine=edge_house.engine,
                roles=keeper,
                clock=clock,
            )
            web = WebServer(create_app(replace(house.deps, settings=lambda: edge_house.settings, metadata=metadata)))
            web.serve_tcp(*edge.agent_address(settings))
            yield World(edge_house, house, keeper, web, url)
            web.close()
    finally:
        house.close()
        edge_house.clear()


def test_a_child_with_an_empty_environment_has_the_role_of_its_project_and_of_no_other(world: World) -> None:
    """boto3 with no variable, no home, no user name and no file; a neighbour without a role; a role that is taken."""
    world.set(shop=ARN.format("shop"), blog="")
    with world.container("shop", 0) as shop, world.container("blog", 1) as blog:
        world.keeper.look()
        _, lent = world.keeper.keys(world.environment("shop-1"))
        assert timedelta(minutes=59) < lent.expires_at - datetime.now(UTC) <= timedelta(minutes=60)
        assert world.says(shop) == "arn:aws:sts::123456789012:assumed-role/shop/" + session(world, "shop-1")
        assert world.says(blog) == NOTHING
        world.set(shop="", blog=ARN.format("blog"))
        assert world.says(shop) == NOTHING


def session(world: World, slug: str) -> str:
    return f"{world.edge.settings.instance}.{slug}"
