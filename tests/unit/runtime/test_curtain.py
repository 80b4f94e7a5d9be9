"""After a reboot, before anything is brought back: who comes is told to wait, and is not sent to what is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from agent.errors import OutsideError
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.model.observed import Container
from agent.model.route import RouteTable
from agent.planning import routing
from agent.runtime.curtain import Curtain
from tests.support.desk import Desk
from tests.support.plans import container, release, service

WEB = service("web")


@dataclass
class World:
    """Docker's list and Traefik's folder."""

    desk: Desk
    containers_: list[Container] = field(default_factory=list)
    routes: dict[Slug, RouteTable] = field(default_factory=dict)
    nudged: list[Slug] = field(default_factory=list)
    asked: int = 0
    is_full: bool = False

    def containers(self, filters: Mapping[str, str]) -> tuple[Container, ...]:
        assert filters == {"butai.instance": "butai", "butai.slug": ""}
        self.asked += 1
        return tuple(self.containers_)

    def read(self, slug: Slug) -> RouteTable | None:
        return self.routes.get(slug)

    def write(self, table: RouteTable) -> None:
        if self.is_full:
            raise OutsideError("The folder cannot be used.")
        self.routes[table.slug] = table

    def serves(self, branch: str, state: str = "running") -> Environment:
        """An environment with a route to its only container."""
        environment = self.desk.live(branch)
        name = f"butai-{environment.slug}-web-1"
        one = container(WEB, state, name=name, labels={"butai.slug": environment.slug})
        self.containers_.append(one)
        self.routes[environment.slug] = routing.routes_for(
            environment, release(WEB), {"web": (one,)}, self.desk.settings
        )
        return environment

    def page_of(self, environment: Environment) -> RouteTable:
        return routing.waiting_table(environment, self.desk.settings)

    @property
    def curtain(self) -> Curtain:
        return Curtain(
            settings=lambda: self.desk.settings,
            store=self.desk.store,
            engine=self,
            edge=self,
            nudge=self.nudged.append,
        )


@pytest.fixture(name="world")
def world_fixture(desk: Desk) -> World:
    return World(desk)


def test_a_route_to_what_does_not_run_becomes_a_page_and_its_environment_is_looked_at(world: World) -> None:
    gone, there = world.serves("gone", "exited"), world.serves("there")
    before = world.routes[there.slug]

    world.curtain.fall()

    assert world.routes == {gone.slug: world.page_of(gone), there.slug: before}
    assert (world.nudged, world.asked) == ([gone.slug], 1)
    world.curtain.fall()
    assert world.nudged == [gone.slug], "a page stays as it is"


@pytest.mark.parametrize("wanted", [Wanted.ASLEEP, Wanted.ABSENT])
def test_what_is_not_wanted_running_is_left_to_its_own_plan(world: World, wanted: Wanted) -> None:
    environment = world.serves("gone", "exited")
    world.desk.store.environments.update(environment.slug, wanted=wanted)
    before = dict(world.routes)
    world.curtain.fall()
    assert (world.routes, world.nudged) == (before, [])


def test_an_environment_without_routes_has_the_agents_page_already(world: World) -> None:
    world.desk.live("fresh")
    world.curtain.fall()
    assert world.routes == {}


def test_a_folder_that_refuses_ends_nothing(world: World) -> None:
    world.serves("gone", "exited")
    world.is_full = True
    world.curtain.fall()
    assert world.nudged == []
