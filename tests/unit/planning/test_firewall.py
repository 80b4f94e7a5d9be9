"""The wall on paper: what is changed for what stands there. tests/integration/test_firewall.py has it in a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent import config
from agent.config import Settings
from agent.config.checks import LONGEST_INSTANCE
from agent.planning.firewall import Family, ahead, bars_agent, bars_metadata, changes

SETTINGS = 'domain = "staging.example.com"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
DOCKERS = (
    "-P INPUT ACCEPT",
    "-P FORWARD DROP",
    "-N DOCKER-USER",
    "-A FORWARD -j DOCKER-USER",
    "-A DOCKER-USER -j RETURN",
)
FIRST = """\
*filter
:wall-butai-forward - [0:0]
:wall-butai-input - [0:0]
-A wall-butai-forward -d fd00:ec2::253/128 -p udp -m udp --dport 53 -j RETURN
-A wall-butai-forward -d fd00:ec2::253/128 -p tcp -m tcp --dport 53 -j RETURN
-A wall-butai-forward -d fd00:ec2::/32 -p tcp -j REJECT --reject-with tcp-reset
-A wall-butai-forward -d fd00:ec2::/32 -j REJECT --reject-with icmp6-port-unreachable
-I DOCKER-USER 1 -j wall-butai-forward
"""


def parsed(tmp_path: Path, more: str = "") -> Settings:
    return config.parse(SETTINGS + more, tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return parsed(tmp_path)


def standing(settings: Settings) -> list[str]:
    """What `iptables -S` says after the first change."""
    rules = [line for line in changes(settings, Family.V4, DOCKERS) if line.startswith("-A wall-")]
    new = ["-N wall-butai-forward", "-N wall-butai-input", "-A INPUT -j wall-butai-input"]
    return [*DOCKERS[:3], *new, DOCKERS[3], "-A DOCKER-USER -j wall-butai-forward", DOCKERS[4], *rules]


def moved_last(rules: list[str], rule: str) -> list[str]:
    return [*(other for other in rules if other != rule), rule]


def test_the_chains_are_filled_and_jumped_to_in_one_change(settings: Settings) -> None:
    text = "\n".join(changes(settings, Family.V6, DOCKERS))
    assert text.startswith(FIRST)
    assert text.endswith("-I INPUT 1 -j wall-butai-input\nCOMMIT")


def test_a_wall_that_stands_is_left_alone(settings: Settings) -> None:
    assert changes(settings, Family.V4, standing(settings)) == ()
    assert bars_metadata(settings, standing(settings))
    assert bars_agent(settings, standing(settings))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rules: [rule for rule in rules if rule != "-A INPUT -j wall-butai-input"],
        lambda rules: [rule for rule in rules if rule != "-A DOCKER-USER -j wall-butai-forward"],
        lambda rules: moved_last(rules, "-A DOCKER-USER -j wall-butai-forward"),
        lambda rules: [*rules, "-A INPUT -j wall-butai-input"],
        lambda rules: ["-A INPUT -p tcp -j ACCEPT", *rules],
        lambda rules: ["-A FORWARD -j ACCEPT", *rules],
        lambda rules: rules[:-1],
        lambda rules: [*rules, "-A wall-butai-forward -j ACCEPT"],
        lambda rules: [rule for rule in rules if rule != "-A FORWARD -j DOCKER-USER"],
    ],
    ids=[
        "no-input",
        "no-forward",
        "too-late",
        "twice",
        "accepted-before",
        "forwarded-before",
        "rule-gone",
        "rule-more",
        "dockers-gone",
    ],
)
def test_whatever_somebody_does_to_it_is_put_right(settings: Settings, spoil: Callable[[list[str]], list[str]]) -> None:
    lines = changes(settings, Family.V4, spoil(standing(settings)))
    assert lines[:3] == ("*filter", ":wall-butai-forward - [0:0]", ":wall-butai-input - [0:0]")
    assert [line for line in lines if line.startswith("-A wall-")] == [
        line for line in changes(settings, Family.V4, DOCKERS) if line.startswith("-A wall-")
    ]


def test_before_docker_has_started_the_wall_stands_in_a_chain_that_docker_will_find(settings: Settings) -> None:
    """Docker puts its own rules before what it finds in FORWARD, and leaves its users' chain as it is."""
    lines = ahead(settings, Family.V4, DOCKERS[:2])
    assert lines[:2] == ("*filter", ":DOCKER-USER - [0:0]")
    assert lines[-2:] == ("-I FORWARD 1 -j DOCKER-USER", "COMMIT")
    assert "-I DOCKER-USER 1 -j wall-butai-forward" in lines


def test_where_dockers_chain_is_there_the_wall_is_put_up_as_always(tmp_path: Path, settings: Settings) -> None:
    assert ahead(settings, Family.V4, DOCKERS) == changes(settings, Family.V4, DOCKERS)
    assert ahead(settings, Family.V4, standing(settings)) == ()
    assert ahead(parsed(tmp_path, "[firewall]\nmanage = false\n"), Family.V4, DOCKERS[:2]) == ()


def test_jumps_that_are_in_the_wrong_place_go(settings: Settings) -> None:
    flushed = [rule for rule in standing(settings) if rule != "-A FORWARD -j DOCKER-USER"]
    lines = changes(settings, Family.V4, flushed)
    assert "-D DOCKER-USER -j wall-butai-forward" in lines
    assert "-I FORWARD 1 -j wall-butai-forward" in lines


def test_where_something_comes_before_dockers_chain_the_jump_comes_before_both(settings: Settings) -> None:
    """`iptables -I FORWARD -j ACCEPT`, as many a guide has it, makes Docker's chain an ornament."""
    lines = changes(settings, Family.V4, ["-A FORWARD -j ACCEPT", *standing(settings)])
    assert "-D DOCKER-USER -j wall-butai-forward" in lines
    assert "-I FORWARD 1 -j wall-butai-forward" in lines
    rules = [rule for rule in standing(settings) if rule != "-A DOCKER-USER -j wall-butai-forward"]
    moved = ["-A FORWARD -j wall-butai-forward", "-A FORWARD -j ACCEPT", *rules]
    assert changes(settings, Family.V4, moved) == ()
    assert bars_metadata(settings, moved)


def test_the_jump_of_another_agent_may_come_before_ours(settings: Settings) -> None:
    both = ["-A INPUT -j wall-other-input", "-A DOCKER-USER -j wall-other-forward", *standing(settings)]
    assert changes(settings, Family.V4, both) == ()


@pytest.mark.parametrize(
    ("more", "family", "expected"),
    [
        ("", Family.V4, ["-s 10.200.0.2/32 -d 10.200.0.1/32 RETURN", "-d 10.200.0.1/32 REJECT"]),
        ("", Family.V6, []),
        (
            '[traefik]\nmanaged = false\ndirectory = "/srv"\nagent_url = "http://127.0.0.1:8480"\n',
            Family.V4,
            ["-d 127.0.0.1/32 REJECT"],
        ),
        (
            '[server]\nlisten = "0.0.0.0"\n',
            Family.V4,
            ["-s 10.200.0.2/32 RETURN", "-s 10.200.0.0/16 REJECT", "-i docker0 REJECT", "-i br-+ REJECT"],
        ),
        ('[server]\nlisten = "0.0.0.0"\n', Family.V6, ["-i docker0 REJECT", "-i br-+ REJECT"]),
        (
            '[server]\nlisten = "2001:db8::1"\n',
            Family.V6,
            ["-d 2001:db8::1/128 -i docker0 REJECT", "-d 2001:db8::1/128 -i br-+ REJECT"],
        ),
        ('[server]\nlisten = "2001:db8::1"\n', Family.V4, []),
    ],
)
def test_the_agents_port_is_for_traefik_and_for_whom_an_operator_opens_it(
    tmp_path: Path, more: str, family: Family, expected: list[str]
) -> None:
    lines = changes(parsed(tmp_path, more), family, DOCKERS)
    port = [line.removeprefix("-A wall-butai-input ") for line in lines if "--dport 8480" in line]
    said = [line.replace("-p tcp -m tcp --dport 8480 -j ", "").replace(" --reject-with tcp-reset", "") for line in port]
    assert said == expected


def test_without_manage_only_what_is_ours_goes(tmp_path: Path, settings: Settings) -> None:
    off = parsed(tmp_path, "[firewall]\nmanage = false\n")
    assert changes(off, Family.V4, DOCKERS) == ()
    assert changes(off, Family.V4, ["-N wall-other-input", "-A INPUT -j wall-other-input"]) == ()
    assert changes(off, Family.V4, standing(settings)) == (
        "*filter",
        "-D INPUT -j wall-butai-input",
        "-D DOCKER-USER -j wall-butai-forward",
        "-F wall-butai-forward",
        "-F wall-butai-input",
        "-X wall-butai-forward",
        "-X wall-butai-input",
        "COMMIT",
    )


def test_the_names_of_chains_are_short_enough_for_the_kernel(tmp_path: Path) -> None:
    text = f'instance = "{"a" * LONGEST_INSTANCE}"\n{SETTINGS}'
    lines = changes(config.parse(text, tmp_path), Family.V4, DOCKERS)
    names = [line[1:].split()[0] for line in lines if line.startswith(":")]
    assert max(map(len, names)) <= 28  # of 29 bytes, XT_EXTENSION_MAXNAMELEN
