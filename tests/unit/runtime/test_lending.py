"""Lending credentials to Traefik: to whoever says its token, for a short while, in Amazon's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent import config
from agent.errors import AgentError, OutsideError
from agent.model.aws import AwsKeys, LentKeys, RoleWish
from agent.runtime.lending import Lender
from tests.support.fakes_api import NOW, House, build_house
from tests.support.oneapp import client_of

TOKEN = "t" * 43
BASE = 'domain = "staging.example.com"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
ACME = f'{BASE}[traefik.acme]\nemail = "ops@example.com"\nzone = "Z1"\n'
SECRET = "wJalrXUtnFEMI"


class Keys:
    """`failure` is raised instead of an answer."""

    def __init__(self) -> None:
        self.failure: AgentError | None = None
        self.asked: list[str] = []

    def current(self, zone: str) -> AwsKeys:
        self.asked.append(zone)
        if self.failure is not None:
            raise self.failure
        return AwsKeys("AKIAEXAMPLE", SECRET, "session")


class Roles:
    """Lends another key than the host's own."""

    def __init__(self) -> None:
        self.asked: list[RoleWish] = []

    def assume(self, wish: RoleWish) -> LentKeys:
        self.asked.append(wish)
        return LentKeys(AwsKeys("ASIAROLE", SECRET, "session"), NOW + timedelta(seconds=wish.duration_s))


class World:
    def __init__(self, house: House) -> None:
        self.settings = config.parse(ACME, Path("/nowhere"))
        self.keys = Keys()
        self.roles = Roles()
        self.token = TOKEN
        lender = Lender(
            settings=lambda: self.settings,
            keys=self.keys,
            roles=self.roles,
            token=lambda: self.token,
            clock=house.deps.clock,
        )
        self._client = client_of(replace(house.deps, lender=lender))

    def ask(self, said: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": said, "Host": "127.0.0.1:8001"}
        answer = self._client.get("/aws/credentials", headers=headers)
        return answer.status_code, json.loads(answer.data)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    house = build_house(tmp_path)
    yield World(house)
    house.close()


def test_whoever_says_the_token_gets_keys_for_ten_minutes_in_amazons_words(world: World) -> None:
    status, body = world.ask(TOKEN)
    assert status == 200
    assert {name: body[name] for name in ("AccessKeyId", "SecretAccessKey", "Token")} == {
        "AccessKeyId": "AKIAEXAMPLE",
        "SecretAccessKey": SECRET,
        "Token": "session",
    }
    ends = datetime.strptime(body["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert (ends - NOW).total_seconds() == 600
    assert world.keys.asked == ["Z1"]


def test_with_a_role_traefik_gets_that_cut_down_to_the_challenge(world: World) -> None:
    arn = "arn:aws:iam::123456789012:role/butai-certificates"
    text = ACME.replace('zone = "Z1"', f'zone = "Z0123456789ABCDEFGHIJ"\nrole = "{arn}"')
    world.settings = config.parse(text, Path("/nowhere"))
    status, body = world.ask(TOKEN)
    assert (status, body["AccessKeyId"]) == (200, "ASIAROLE")
    assert world.keys.asked == []
    [wish] = world.roles.asked
    assert (wish.arn, wish.session, wish.tags, wish.duration_s) == (arn, "butai.traefik", (), 900)
    documented = json.loads((Path(__file__).parents[3] / "systemd/iam-policy.json").read_text())["Statement"]
    without_records = [one for one in documented if one.pop("Sid") != "Records"]
    assert json.loads(wish.policy)["Statement"] == without_records
    assert len(wish.policy) <= 2048  # as many characters as STS takes


@pytest.mark.parametrize("said", ["", "x", f"Bearer {TOKEN}", TOKEN[:-1], "\u00e9"])
def test_nobody_else_gets_any(world: World, said: str) -> None:
    status, body = world.ask(said)
    assert (status, body["code"]) == (401, "unauthorized")
    assert world.keys.asked == []


def test_without_acme_or_without_a_token_there_is_no_such_path(world: World) -> None:
    world.token = ""
    assert world.ask("")[0] == 404
    world.token = TOKEN
    world.settings = config.parse(BASE, Path("/nowhere"))
    assert world.ask(TOKEN)[0] == 404
    assert world.keys.asked == []


def test_when_there_are_none_the_agent_says_so_since_traefik_would_not(world: World) -> None:
    world.keys.failure = OutsideError("Route53 does not answer.", hint="Wait.")
    with capture_logs() as logged:
        assert world.ask(TOKEN)[0] == 503
    [line] = logged
    assert (line["log_level"], line["problem"]) == ("warning", "Route53 does not answer. Wait.")


def test_what_was_lent_is_in_no_log_and_does_not_print(world: World) -> None:
    with capture_logs() as logged:
        world.ask(TOKEN)
    assert SECRET not in str(logged)
    assert SECRET not in repr(AwsKeys("AKIAEXAMPLE", SECRET, SECRET))
