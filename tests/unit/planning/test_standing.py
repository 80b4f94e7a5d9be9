"""A service that would harm its data by running twice, even for a moment, is replaced in place."""

from __future__ import annotations

from typing import Any

import pytest

from agent.planning.standing import why_in_place

VOLUME = {"type": "volume", "source": "data", "target": "/d"}


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ({"image": "nginx"}, ""),
        ({"image": "a", "volumes": [VOLUME]}, "writes the volume data"),
        ({"image": "a", "volumes": [{**VOLUME, "read_only": True}]}, ""),
        ({"image": "a", "volumes": [{"type": "volume", "target": "/anonymous"}]}, ""),
        ({"image": "a", "volumes": [{**VOLUME, "target": "/app/node_modules"}]}, ""),
        ({"image": "a", "volumes": [{"type": "bind", "source": "src", "target": "/s", "kind": "directory"}]}, ""),
        (
            {"image": "a", "volumes": [{"type": "bind", "source": "/srv/x", "target": "/s"}]},
            "writes /srv/x on the host",
        ),
        ({"image": "mariadb:11"}, "keeps data of its own"),
        ({"image": "registry.test/team/postgres-ext:1@sha256:0"}, "keeps data of its own"),
        ({"image": "redis", "build": {"context": "."}}, ""),
        ({"image": "a", "deploy": {"update_config": {"order": "stop-first"}}}, "asks for it with `order: stop-first`"),
        ({"image": "a", "volumes": [VOLUME], "deploy": {"update_config": {"order": "start-first"}}}, ""),
        ({"image": "a", "network_mode": "service:db"}, "shares the network of db"),
    ],
)
def test_why_a_service_cannot_run_twice(service: dict[str, Any], reason: str) -> None:
    assert why_in_place("web", {"web": service, "db": {"image": "a"}}) == reason


def test_a_service_whose_network_is_shared_is_replaced_in_place_too() -> None:
    services = {"web": {"image": "a"}, "side": {"image": "b", "network_mode": "service:web"}}
    assert why_in_place("web", services) == "shares its network with side"
