"""Credentials of roles: ready before somebody asks, renewed before they end, and nobody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent import config
from agent.errors import AgentError, OutsideError, RequestError
from agent.model.aws import AwsKeys, LentKeys, RoleWish
from agent.model.environment import Environment, Wanted
from agent.model.labels import INSTANCE, SLUG
from agent.model.names import Slug
from agent.model.observed import Container
from agent.runtime.metadata import Metadata
from agent.runtime.roles import RoleKeeper
from agent.store import Store
from tests.support.eventually import eventually
from tests.support.fakes_api import House, build_house, container
from tests.support.oneapp import client_of
from tests.support.stage import MovingClock

ROLE = "arn:aws:iam::123456789012:role/{}"
BASE = 'domain = "staging.example.com"\n'
SHOP = '[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
BLOG = '[projects.blog]\nremote = "https://git.example.com/blog.git"\n'
PLAIN = '[projects.plain]\nremote = "https://git.example.com/plain.git"\n'
REGION = 'region = "eu-west-1"\n'
BOTH = f'{BASE}{SHOP}role = "{ROLE.format("shop")}"\n{REGION}{BLOG}role = "{ROLE.format("blog")}"\n{REGION}{PLAIN}'
NONE = f"{BASE}{SHOP}{BLOG}{PLAIN}"
SECRET = "wJalrXUtnFEMI"
REFUSED = RequestError("AWS does not allow it.", hint="Let it.", code="aws-access-denied")
LIST = "/latest/meta-data/iam/security-credentials/"
HOUR = timedelta(hours=1)


@dataclass
class Sts:
    """`failure` is raised instead of an answer; every answer has another key."""

    clock: MovingClock
    failure: AgentError | None = None
    asked: list[RoleWish] = field(default_factory=list)

    def assume(self, wish: RoleWish) -> LentKeys:
        self.asked.append(wish)
        if self.failure is not None:
            raise self.failure
        return LentKeys(AwsKeys(f"ASIA{wish.session}{len(self.asked)}", SECRET, "session"), self.clock.now() + HOUR)


@dataclass
class Engine:
    """Each environment has a container at one address of its block."""

    addresses: dict[str, str]
    late: int = 0  # looks before the addresses are told

    def containers(self, filters: dict[str, str]) -> tuple[Container, ...]:
        assert filters[INSTANCE] == "butai"
        self.late -= 1
        addresses = {"net": self.addresses[filters[SLUG]]} if self.late < 0 else {}
        return (container(filters[SLUG], addresses=addresses),)


class World:
    """shop-1, shop-2, blog-1 and plain-1, with blocks 0 to 3."""

    def __init__(self, house: House) -> None:
        self.settings = config.parse(BOTH, Path("/nowhere"))
        self.clock = MovingClock()
        self.sts = Sts(self.clock)
        self.store: Store = house.store
        names = ("shop-1", "shop-2", "blog-1", "plain-1")
        self.at = dict(zip(names, ("10.200.0.130", "10.200.1.2", "10.200.1.130", "10.200.2.2"), strict=True))
        self.environments = {
            name: self.store.environments.restore(
                Environment(
                    slug=Slug(name),
                    project=name.partition("-")[0],
                    branch=name,
                    wanted=Wanted.RUNNING,
                    block=block,
                    created_at=datetime(2026, 1, 1, tzinfo=UTC),
                    created_by="test",
                )
            )
            for block, name in enumerate(names)
        }
        self.keeper = RoleKeeper(settings=lambda: self.settings, store=self.store, sts=self.sts, clock=self.clock)
        self.engine = Engine(dict(self.at))
        metadata = Metadata(
            settings=lambda: self.settings,
            store=self.store,
            engine=self.engine,  # type: ignore[arg-type]
            roles=self.keeper,
            clock=self.clock,
        )
        self._client = client_of(replace(house.deps, metadata=metadata, settings=lambda: self.settings))

    def ask(self, peer: str, path: str, *, method: str = "GET", **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in {"Host": "169.254.169.254", **headers}.items()}
        answer = self._client.open(path, method=method, headers=named, environ_overrides={"REMOTE_ADDR": peer})
        return answer.status_code, answer.text

    def token(self, name: str, ttl_s: int = 60) -> str:
        headers = {"X_aws_ec2_metadata_token_ttl_seconds": str(ttl_s)}
        status, text = self.ask(self.at[name], "/latest/api/token", method="PUT", **headers)
        assert status == 200, text
        return text

    def found(self, name: str, token: str = "") -> dict[str, Any]:
        """What Amazon's libraries do."""
        header = {"X_aws_ec2_metadata_token": token or self.token(name)}
        status, role = self.ask(self.at[name], LIST, **header)
        assert status == 200, role
        status, text = self.ask(self.at[name], f"{LIST}{role}", **header)
        return {"status": status, **json.loads(text)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    house = build_house(tmp_path)
    yield World(house)
    house.close()


def test_a_container_finds_the_credentials_of_its_own_environment_in_amazons_words(world: World) -> None:
    world.keeper.look()
    found = world.found("shop-2")
    assert found == {
        "status": 200,
        "Code": "Success",
        "LastUpdated": "2026-01-05T12:00:00Z",
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIAbutai.shop-23",
        "SecretAccessKey": SECRET,
        "Token": "session",
        "Expiration": "2026-11-23T13:00:00Z",
    }
    assert world.found("shop-1")["AccessKeyId"] == "ASIAbutai.shop-12"
    assert world.found("blog-1")["AccessKeyId"] == "ASIAbutai.blog-11"
    assert [wish.arn for wish in world.sts.asked] == [ROLE.format(name) for name in ("blog", "shop", "shop")]


def test_it_finds_the_region_wherever_amazons_libraries_look(world: World) -> None:
    header = {"X_aws_ec2_metadata_token": world.token("shop-1")}
    assert world.ask(world.at["shop-1"], LIST.rstrip("/"), **header) == (200, "shop")
    placement = "/latest/meta-data/placement/"
    assert world.ask(world.at["shop-1"], f"{placement}region", **header) == (200, "eu-west-1")
    assert world.ask(world.at["shop-1"], f"{placement}availability-zone/", **header) == (200, "eu-west-1a")
    status, text = world.ask(world.at["shop-1"], "/latest/dynamic/instance-identity/document", **header)
    assert (status, json.loads(text)) == (200, {"region": "eu-west-1"})
    assert world.ask(world.at["shop-1"], "/latest/user-data", **header)[0] == 404


@pytest.mark.parametrize("path", ["/latest/api/token", LIST, "/", "/api/environments", "/hooks/github"])
@pytest.mark.parametrize("peer", ["10.200.2.2", "10.200.9.9"])
def test_without_a_role_a_container_may_not_talk_to_the_agent_at_all(world: World, peer: str, path: str) -> None:
    assert world.ask(peer, path) == (403, "Containers may not talk to the agent.\n")


def test_with_one_it_reaches_its_credentials_and_nothing_else_of_the_agent(world: World) -> None:
    for path in ("/", "/api/environments", "/hooks/github", "/aws/credentials", "/metrics"):
        assert world.ask(world.at["shop-1"], path)[0] == 404, path


def test_an_address_that_no_container_has_gets_no_token(world: World) -> None:
    """Traefik's in the environment's network, for one."""
    world.engine.addresses["shop-1"] = "10.200.0.131"
    header = {"X_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert world.ask(world.at["shop-1"], "/latest/api/token", method="PUT", **header)[0] == 403


def test_a_program_that_asks_before_the_engine_tells_its_address_gets_a_token(world: World) -> None:
    """The engine's list learns of a container's start only after its first program runs."""
    world.engine.late = 1
    assert world.token("shop-1")


@pytest.mark.parametrize("path", [LIST, f"{LIST}shop", "/latest/meta-data/placement/region"])
def test_nothing_is_told_without_a_token_that_was_given_to_this_very_address(world: World, path: str) -> None:
    world.keeper.look()
    token = world.token("shop-1", 60)
    ends, _, signature = token.partition(".")
    for wrong in ("", "x", world.token("shop-2"), f"{int(ends) + 1}.{signature}", f"{ends}.", f"{ends}.\u00e9"):
        assert world.ask(world.at["shop-1"], path, X_aws_ec2_metadata_token=wrong)[0] == 401, wrong
    assert world.ask(world.at["shop-1"], path, X_aws_ec2_metadata_token=token)[0] == 200
    world.clock.forward(61)
    assert world.ask(world.at["shop-1"], path, X_aws_ec2_metadata_token=token)[0] == 401


def test_a_token_is_worth_nothing_to_the_next_environment_with_the_same_name_and_addresses(world: World) -> None:
    world.keeper.look()
    token, old = world.token("shop-1"), world.environments["shop-1"]
    world.store.environments.delete(old.slug)
    world.store.environments.restore(replace(old, created_at=old.created_at + HOUR))
    assert world.ask(world.at["shop-1"], LIST, X_aws_ec2_metadata_token=token)[0] == 401


@pytest.mark.parametrize("ttl", ["", "0", "21601", "-1", "1.5", "\u0661"])
def test_a_token_lives_as_long_as_amazons_may(world: World, ttl: str) -> None:
    headers = {"X_aws_ec2_metadata_token_ttl_seconds": ttl}
    assert world.ask(world.at["shop-1"], "/latest/api/token", method="PUT", **headers)[0] == 400


@pytest.mark.parametrize("headers", [{"Host": "rebound.example.com"}, {"X_Forwarded_For": "10.0.0.1"}])
def test_who_comes_by_another_name_or_a_proxy_is_refused(world: World, headers: dict[str, str]) -> None:
    ttl = {"X_aws_ec2_metadata_token_ttl_seconds": "60"}
    assert world.ask(world.at["shop-1"], "/latest/api/token", method="PUT", **ttl, **headers)[0] == 403


def test_credentials_are_renewed_in_time_and_not_before(world: World) -> None:
    world.keeper.look()
    first = world.found("shop-1")["AccessKeyId"]
    world.clock.forward(29 * 60)
    world.keeper.look()
    assert world.found("shop-1")["AccessKeyId"] == first
    world.clock.forward(61)
    world.keeper.look()
    assert world.found("shop-1")["AccessKeyId"] != first
    assert len(world.sts.asked) == 6


def test_old_credentials_are_given_until_they_end_while_new_ones_cannot_be_had(world: World) -> None:
    world.keeper.look()
    first = world.found("shop-1")["AccessKeyId"]
    world.sts.failure = OutsideError("STS does not answer.")
    world.clock.forward(45 * 60)
    world.keeper.look()
    assert world.found("shop-1")["AccessKeyId"] == first
    world.clock.forward(16 * 60)
    assert world.found("shop-1")["status"] == 503
    world.sts.failure = None
    world.keeper.look()
    assert world.found("shop-1")["AccessKeyId"] != first


def test_before_the_role_was_assumed_a_container_is_told_to_come_again(world: World) -> None:
    assert world.found("shop-1")["status"] == 503


def test_a_refusal_is_told_to_the_container_as_amazon_tells_it(world: World) -> None:
    world.sts.failure = REFUSED
    world.keeper.look()
    found = world.found("shop-1")
    assert (found["status"], found["Code"]) == (200, "AssumeRoleUnauthorizedAccess")
    assert found["Message"] == "AWS does not allow it."
    assert "AccessKeyId" not in found


def test_a_refusal_is_said_once_and_the_role_is_not_asked_for_again_at_that_look(world: World) -> None:
    world.sts.failure = REFUSED
    with capture_logs() as told:
        world.keeper.look()
        world.keeper.look()
    assert [line["slug"] for line in told] == ["blog-1", "shop-1", "shop-2"]
    assert len(world.sts.asked) == 4  # two roles, two looks
    assert world.keeper.problems == ("AWS does not allow it.",)
    world.sts.failure = None
    with capture_logs() as told:
        world.keeper.look()
    assert {line["event"] for line in told} == {"credentials of a role again"}
    assert world.keeper.problems == ()
    assert SECRET not in str(told)


def test_whoever_deploys_hears_why_there_are_none(world: World) -> None:
    environment = world.environments["shop-1"]
    world.sts.failure = REFUSED
    expected = "No AWS credentials for its containers: AWS does not allow it. Let it."
    assert world.keeper.prepare(environment) == expected
    world.sts.failure = None
    assert world.keeper.prepare(environment) == ""
    assert world.keeper.prepare(environment) == ""
    assert len(world.sts.asked) == 2
    assert world.keeper.prepare(world.environments["plain-1"]) == ""


def test_a_role_that_was_taken_out_of_the_settings_is_given_to_nobody_from_then_on(world: World) -> None:
    world.keeper.look()
    token = world.token("shop-1")
    world.settings = config.parse(NONE, Path("/nowhere"))
    assert world.ask(world.at["shop-1"], LIST, X_aws_ec2_metadata_token=token)[0] == 403
    world.settings = config.parse(BOTH.replace("role/shop", "role/other"), Path("/nowhere"))
    header = {"X_aws_ec2_metadata_token": token}
    assert world.ask(world.at["shop-1"], f"{LIST}other", **header)[0] == 503
    world.keeper.look()
    assert world.found("shop-1")["AccessKeyId"] == "ASIAbutai.shop-14"


def test_an_environment_that_is_being_destroyed_has_none(world: World) -> None:
    world.store.environments.update(Slug("shop-1"), wanted=Wanted.ABSENT)
    world.keeper.look()
    assert [str(wish.session) for wish in world.sts.asked] == ["butai.blog-1", "butai.shop-2"]
    assert world.ask(world.at["shop-1"], LIST)[0] == 403


def test_the_thread_survives_a_mistake_of_ours_looks_when_poked_and_ends_when_told(world: World) -> None:
    good, world.settings = world.settings, None  # type: ignore[assignment]
    stop = Event()
    thread = Thread(target=world.keeper.run, args=(stop,))
    thread.start()
    world.settings = good

    def poked() -> bool:
        world.keeper.poke()
        return len(world.sts.asked) == 3

    eventually(poked)
    stop.set()
    world.keeper.poke()
    thread.join(5)
    assert not thread.is_alive()
