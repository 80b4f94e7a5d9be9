"""The poll alone brings every push, never takes silence for an answer, and keeps projects out of each other's way."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import config
from agent.adapters.clock import SystemClock
from agent.adapters.git import GitMirrors
from agent.errors import OutsideError
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.runtime.operations import Operations
from agent.runtime.poller import Poller
from agent.store import Store
from tests.support.eventually import eventually
from tests.support.gitserver import GitServer, Mood

FILES = {"compose.yaml": "services: {}\n"}


class World:
    """Two projects on two servers, `shop` with `auto_deploy`, and everything of the agent that polling needs."""

    def __init__(self, root: Path, shop: GitServer, blog: GitServer) -> None:
        self.shop_server, self.blog_server = shop, blog
        self.shop, self.blog = shop.create("shop", FILES), blog.create("blog", FILES)
        self.settings = config.parse(
            f"""
            domain = "example.com"
            state_dir = "{root}/state"
            [limits]
            poll_interval_s = 0.3
            fetch_timeout_s = 2
            [projects.shop]
            remote = "{shop.url("shop")}"
            auto_deploy = ["auto/*"]
            [projects.blog]
            remote = "{blog.url("blog")}"
            """,
            root,
        )
        (root / "state").mkdir()
        self.store = Store.open(root / "state" / "butai.db")
        self.woken: list[Slug] = []
        clock = SystemClock()
        self.operations = Operations(
            settings=lambda: self.settings,
            store=self.store,
            clock=clock,
            wake=self.woken.append,
            poke=lambda project: self.poller.poke(project),
            expect=lambda project, branch, revision: None,
        )
        self.poller = Poller(
            settings=lambda: self.settings,
            store=self.store,
            git=GitMirrors(lambda: self.settings),
            operations=self.operations,
            clock=clock,
        )

    def deployed(self, branch: str = "main", project: str = "shop") -> Slug:
        """An environment that runs its branch's head."""
        slug = self.operations.deploy(branch, project=project, caller="test").environment.slug
        repository = self.shop if project == "shop" else self.blog
        self.fetched(slug, repository.head(branch))
        self.woken.clear()
        return slug

    def fetched(self, slug: Slug, revision: str) -> None:
        """What the controller writes after it fetched."""
        environment = self.environment(slug)
        self.store.environments.update(slug, revision=Revision(revision), fetched=environment.request)

    def environment(self, slug: Slug) -> Environment:
        found = self.store.environments.get(slug)
        assert found is not None
        return found

    def wanted(self, slug: Slug) -> Wanted:
        return self.environment(slug).wanted

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self.poller.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5)
            assert not thread.is_alive()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with GitServer(tmp_path / "shop") as shop, GitServer(tmp_path / "blog") as blog:
        found = World(tmp_path, shop, blog)
        yield found
        found.store.close()


def test_a_push_wakes_its_environment_and_no_other(world: World) -> None:
    world.shop.commit("side", {"a": "b"}, base="main")
    main, side = world.deployed(), world.deployed("side")
    world.poller.poll("shop")
    assert world.woken == []
    world.shop.commit("main", {"a": "b"})
    world.poller.poll("shop")
    assert world.woken == [main]
    assert world.environment(main).needs_fetch
    assert not world.environment(side).needs_fetch


def test_a_push_that_waits_to_be_fetched_is_not_asked_for_again(world: World) -> None:
    main = world.deployed()
    world.shop.commit("main", {"a": "b"})
    for _ in range(3):
        world.poller.poll("shop")
    assert world.woken == [main]


def test_a_pinned_environment_hears_of_no_push(world: World) -> None:
    main = world.deployed()
    world.operations.pin(main, caller="test")
    world.woken.clear()
    world.shop.commit("main", {"a": "b"})
    world.poller.poll("shop")
    assert world.woken == []


def test_the_listing_is_kept_for_suggestions(world: World) -> None:
    world.shop.commit("feature/login", {"a": "b"}, base="main")
    world.poller.poll("shop")
    assert set(world.store.branches.of("shop")) == {"main", "feature/login"}


def test_an_environment_goes_after_two_listings_without_its_branch(world: World) -> None:
    world.shop.commit("side", {"a": "b"}, base="main")
    main, side = world.deployed(), world.deployed("side")
    world.shop.delete("side")
    assert world.poller.poll("shop")
    assert world.wanted(side) is Wanted.RUNNING
    world.poller.poll("shop")
    assert world.wanted(side) is Wanted.ABSENT
    assert world.wanted(main) is Wanted.RUNNING
    event = world.store.events.list(slug=side)[-1]
    assert event.caller == "poll: branch deleted"


def test_a_branch_that_comes_back_is_not_counted_as_missing(world: World) -> None:
    world.shop.commit("side", {"a": "b"}, base="main")
    side = world.deployed("side")
    head = world.shop.head("side")
    for _ in range(3):
        world.shop.delete("side")
        world.poller.poll("shop")
        world.shop.point("refs/heads/side", head)
        world.poller.poll("shop")
    assert world.wanted(side) is Wanted.RUNNING


@pytest.mark.parametrize("mood", [Mood.LOCKED, Mood.GONE, Mood.BROKEN, Mood.CLOSING, Mood.HANGING])
def test_no_listing_is_never_an_empty_one(world: World, mood: Mood) -> None:
    main = world.deployed()
    world.poller.poll("shop")
    world.shop_server.mood = mood
    for _ in range(3):
        with pytest.raises(OutsideError):
            world.poller.poll("shop")
    assert world.wanted(main) is Wanted.RUNNING
    assert world.environment(main).missing == 0
    assert set(world.store.branches.of("shop")) == {"main"}


def test_a_remote_that_suddenly_has_no_branch_at_all_is_not_believed(world: World) -> None:
    main = world.deployed()
    world.poller.poll("shop")
    world.shop.delete("main")
    for _ in range(3):
        world.poller.poll("shop")
    assert world.wanted(main) is Wanted.RUNNING
    assert set(world.store.branches.of("shop")) == {"main"}


def test_the_first_push_of_a_wanted_branch_puts_it_on_stage(world: World) -> None:
    world.shop.commit("auto/old", {"a": "b"}, base="main")
    world.poller.poll("shop")
    assert world.store.environments.all() == ()
    world.shop.commit("auto/new", {"a": "b"}, base="main")
    world.shop.commit("other", {"a": "b"}, base="main")
    world.poller.poll("shop")
    world.poller.poll("shop")
    assert [each.branch for each in world.store.environments.all()] == ["auto/new"]
    world.shop.commit("auto/old", {"a": "c"})
    world.poller.poll("shop")
    assert [each.branch for each in world.store.environments.all()] == ["auto/new", "auto/old"]


def test_a_full_host_does_not_stop_the_listing(world: World) -> None:
    limits = dataclasses.replace(world.settings.limits, environments=1)
    world.settings = dataclasses.replace(world.settings, limits=limits)
    world.poller.poll("shop")
    for name in ("auto/1", "auto/2", "auto/3"):
        world.shop.commit(name, {"a": "b"}, base="main")
    world.poller.poll("shop")
    assert len(world.store.environments.all()) == 1
    assert set(world.store.branches.of("shop")) == {"main", "auto/1", "auto/2", "auto/3"}


def test_a_branch_that_a_full_host_had_no_room_for_goes_on_stage_once_there_is(world: World) -> None:
    limits = dataclasses.replace(world.settings.limits, environments=1)
    world.settings = dataclasses.replace(world.settings, limits=limits)
    world.poller.poll("shop")
    for name in ("auto/1", "auto/2"):
        world.shop.commit(name, {"a": "b"}, base="main")
    world.poller.poll("shop")
    world.poller.poll("shop")
    (first,) = world.store.environments.all()
    world.store.environments.delete(first.slug)
    world.poller.poll("shop")
    (second,) = world.store.environments.all()
    assert {first.branch, second.branch} == {"auto/1", "auto/2"}


def test_names_that_nobody_may_ask_for_are_left_out(world: World) -> None:
    world.shop.point("refs/heads/-option", world.shop.head())
    world.shop.point("refs/heads/c1\u009bcontrol", world.shop.head())
    world.poller.poll("shop")
    assert set(world.store.branches.of("shop")) == {"main"}


def test_every_push_arrives_within_an_interval_while_another_remote_hangs(world: World) -> None:
    main, post = world.deployed(), world.deployed("main", "blog")
    world.blog_server.mood = Mood.HANGING
    with world.running():
        for number in range(3):
            head = world.shop.commit("main", {"a": str(number)})
            eventually(lambda: world.environment(main).needs_fetch, 10)
            world.fetched(main, head)
        world.blog.commit("main", {"a": "b"})
        world.blog_server.mood = Mood.WELL
        eventually(lambda: world.environment(post).needs_fetch, 20)
    assert world.wanted(main) is world.wanted(post) is Wanted.RUNNING


def test_a_poke_does_not_wait_for_the_interval(world: World) -> None:
    limits = dataclasses.replace(world.settings.limits, poll_interval_s=3600)
    world.settings = dataclasses.replace(world.settings, limits=limits)
    main = world.deployed()
    with world.running():
        eventually(listed(world), 10)
        world.shop.commit("main", {"a": "b"})
        world.poller.poke("shop")
        eventually(lambda: world.environment(main).needs_fetch, 10)


def test_a_deleted_branch_takes_its_environment_with_it_soon(world: World) -> None:
    limits = dataclasses.replace(world.settings.limits, poll_interval_s=3600)
    world.settings = dataclasses.replace(world.settings, limits=limits)
    world.shop.commit("side", {"a": "b"}, base="main")
    side = world.deployed("side")
    with world.running():
        eventually(listed(world), 10)
        world.shop.delete("side")
        world.operations.push("shop", "side", deleted=True, caller="test")
        eventually(lambda: world.wanted(side) is Wanted.ABSENT, 20)


def test_a_project_that_is_added_is_polled_and_one_that_left_is_not(world: World) -> None:
    both = world.settings
    world.settings = dataclasses.replace(both, projects={"shop": both.projects["shop"]})
    with world.running():
        eventually(listed(world), 10)
        assert world.blog_server.requests == []
        world.settings = dataclasses.replace(both, projects={"blog": both.projects["blog"]})
        eventually(lambda: world.store.branches.at("blog"), 10)
        eventually(lambda: "shop" not in world.poller._rounds, 10)


def listed(world: World) -> Callable[[], bool]:
    return lambda: world.store.branches.at("shop") is not None
