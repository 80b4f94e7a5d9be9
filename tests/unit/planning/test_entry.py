"""The bare URL leads to the service that can be meant, and where it cannot be told the candidates are listed."""

from __future__ import annotations

from typing import Any

import pytest

from agent.config import Project
from agent.errors import DeployError
from agent.planning.entry import choose_entry, is_public, ports_of
from agent.planning.policy import Wish


def published(*ports: int, protocol: str = "tcp") -> dict[str, Any]:
    return {"ports": [{"target": port, "published": str(port), "protocol": protocol} for port in ports]}


def choose(services: dict[str, Any], wish: Wish | None = None, **settings: Any) -> tuple[str, int]:
    project = Project(name="shop", remote="/srv/shop", **settings)
    return choose_entry(services, wish or Wish(), project, branch="main")


def test_the_only_service_with_a_port_is_the_entry_service() -> None:
    assert choose({"web": published(8000), "db": {}}) == ("web", 8000)
    assert choose({"web": {"expose": ["3000"]}, "worker": {}}) == ("web", 3000)


def test_a_database_that_publishes_its_port_is_no_candidate() -> None:
    assert choose({"web": published(8000), "db": published(3306), "cache": published(6379)}) == ("web", 8000)


def test_the_compose_file_comes_before_the_setting_and_the_setting_before_the_ports() -> None:
    services = {"a": published(1000), "b": published(2000), "c": published(3000)}
    assert choose(services, Wish(entry="b"), entry_service="c") == ("b", 2000)
    assert choose(services, entry_service="c") == ("c", 3000)
    assert choose(services, Wish(entry="b", port=9), entry_port=8) == ("b", 9)
    assert choose(services, Wish(entry="b"), entry_port=8) == ("b", 8)


def test_a_port_that_speaks_http_comes_before_others() -> None:
    assert ports_of(published(1025, 443, 8025)) == (8025, 443, 1025)
    assert choose({"mail": published(1025, 8025)}) == ("mail", 8025)
    assert ports_of({**published(53, protocol="udp"), "expose": ["4000-4002", "5/udp", "6/tcp", "x"]}) == (
        4000,
        4001,
        4002,
        6,
    )


def test_only_services_that_publish_a_port_for_browsers_are_public() -> None:
    assert is_public(published(80))
    assert is_public(published(443))
    assert not is_public(published(5432))
    assert not is_public(published(80, protocol="udp"))
    assert not is_public({"expose": ["80"]})


@pytest.mark.parametrize(
    ("services", "settings", "words"),
    [
        ({"web": {}, "db": {}}, {}, ["no service with a port", "Add `ports:`"]),
        ({"a": published(1000), "b": published(2000)}, {}, ["a, b", "x-butai: {entry: a}"]),
        ({"a": published(1000)}, {"entry_service": "z"}, ["`z`", "It has a."]),
        ({"a": {}}, {"entry_service": "a"}, ["no port", "{entry: a, port: 8000}"]),
    ],
)
def test_what_cannot_be_told_is_asked_for(services: dict[str, Any], settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(DeployError) as caught:
        choose(services, **settings)
    for word in words:
        assert word in str(caught.value)
