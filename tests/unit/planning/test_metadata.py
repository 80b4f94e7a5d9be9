"""Leading containers to their credentials, on paper. tests/integration/test_firewall.py has it in a real firewall."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import config
from agent.config import Settings
from agent.config.checks import LONGEST_INSTANCE
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.planning import firewall
from agent.planning.metadata import changes, environment_at
from agent.planning.roles import wish

ARN = "arn:aws:iam::123456789012:role/staging/shop"
BASE = 'domain = "staging.example.com"\n'
SHOP = '[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
ROLE = f'role = "{ARN}"\nregion = "eu-west-1"\n'
RULE = "-A wall-butai-metadata -s 10.200.0.0/16 -d 169.254.169.254/32 -i br-+ -p tcp -m tcp --dport 80 -j "
DOCKERS = ("-P PREROUTING ACCEPT", "-N DOCKER", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER")
JUMP = "-A PREROUTING -j wall-butai-metadata"
ENVIRONMENT = Environment(
    slug=Slug("fix-1"),
    project="shop",
    branch="fix/1",
    wanted=Wanted.RUNNING,
    block=2,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    created_by="test",
)


def parsed(tmp_path: Path, more: str = "", role: str = ROLE) -> Settings:
    return config.parse(BASE + more + SHOP + role, tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return parsed(tmp_path)


def standing(settings: Settings) -> list[str]:
    lines = changes(settings, DOCKERS)
    return [*DOCKERS, "-N wall-butai-metadata", JUMP, *(line for line in lines if line.startswith("-A "))]


def test_containers_of_the_pool_are_led_to_the_agent_in_one_change(settings: Settings) -> None:
    assert changes(settings, DOCKERS) == (
        "*nat",
        ":wall-butai-metadata - [0:0]",
        "-A wall-butai-metadata -s 10.200.0.0/25 -j RETURN",
        f"{RULE}DNAT --to-destination 10.200.0.1:8480",
        "-I PREROUTING 1 -j wall-butai-metadata",
        "COMMIT",
    )
    assert changes(settings, standing(settings)) == ()


def test_whatever_somebody_does_to_the_rule_is_put_right(settings: Settings) -> None:
    for spoilt in (
        [rule for rule in standing(settings) if rule != JUMP],
        [*standing(settings), JUMP],
        standing(settings)[:-1],
        [*standing(settings), "-A wall-butai-metadata -j RETURN"],
    ):
        lines = changes(settings, spoilt)
        assert lines[1] == ":wall-butai-metadata - [0:0]"
        assert lines[-3:-1] == (standing(settings)[-1], "-I PREROUTING 1 -j wall-butai-metadata")
        assert lines.count("-D PREROUTING -j wall-butai-metadata") == spoilt.count(JUMP)


def test_an_agent_that_listens_on_all_addresses_is_found_at_the_bridges_own(tmp_path: Path) -> None:
    lines = changes(parsed(tmp_path, '[server]\nlisten = "0.0.0.0"\n'), DOCKERS)
    assert f"{RULE}REDIRECT --to-ports 8480" in lines


def test_when_no_project_has_a_role_any_more_the_rule_goes(tmp_path: Path, settings: Settings) -> None:
    without = parsed(tmp_path, role="")
    assert changes(without, DOCKERS) == ()
    assert changes(without, standing(settings)) == (
        "*nat",
        "-D PREROUTING -j wall-butai-metadata",
        "-F wall-butai-metadata",
        "-X wall-butai-metadata",
        "COMMIT",
    )


def test_the_wall_lets_in_who_was_led_and_only_then(tmp_path: Path, settings: Settings) -> None:
    def lets(settings: Settings, family: firewall.Family) -> list[str]:
        return [line for line in firewall.changes(settings, family, ()) if "ctstate" in line]

    [rule] = lets(settings, firewall.Family.V4)
    assert rule.endswith("--dport 8480 -m conntrack --ctstate DNAT --ctorigdst 169.254.169.254 -j RETURN")
    assert lets(settings, firewall.Family.V6) == []
    assert lets(parsed(tmp_path, role=""), firewall.Family.V4) == []


def test_the_chains_name_is_short_enough_for_the_kernel(tmp_path: Path) -> None:
    [name] = [
        line[1:].split()[0]
        for line in changes(parsed(tmp_path, f'instance = "{"a" * LONGEST_INSTANCE}"\n'), ())
        if line.startswith(":")
    ]
    assert len(name) <= 28


def test_an_address_belongs_to_the_environment_whose_block_it_is_in(settings: Settings) -> None:
    other = replace(ENVIRONMENT, slug=Slug("other"), block=0)
    found = {
        address: environment_at(address, (other, ENVIRONMENT), settings)
        for address in ("10.200.0.2", "10.200.0.128", "10.200.1.127", "10.200.1.128", "10.200.1.255", "10.201.0.1")
    }
    assert {address: str(one.slug) if one else "" for address, one in found.items()} == {
        "10.200.0.2": "",  # Traefik
        "10.200.0.128": "other",
        "10.200.1.127": "",  # a block that nobody has
        "10.200.1.128": "fix-1",
        "10.200.1.255": "fix-1",
        "10.201.0.1": "",
    }


def test_a_role_is_wished_for_with_a_session_that_names_the_environment(settings: Settings) -> None:
    found = wish(ENVIRONMENT, settings)
    assert found is not None
    assert (found.arn, found.region, found.name, found.session) == (ARN, "eu-west-1", "shop", "butai.fix-1")
    assert dict(found.tags) == {"butai:project": "shop", "butai:environment": "fix-1"}
    long = wish(replace(ENVIRONMENT, slug=Slug("a" * 63)), settings)
    assert long is not None
    assert long.session == f".{'a' * 63}"  # 64, as many as STS takes


def test_nothing_is_wished_for_without_a_role_a_project_or_an_environment(tmp_path: Path, settings: Settings) -> None:
    assert wish(ENVIRONMENT, parsed(tmp_path, role="")) is None
    assert wish(replace(ENVIRONMENT, project="gone"), settings) is None
    assert wish(replace(ENVIRONMENT, wanted=Wanted.ABSENT), settings) is None
