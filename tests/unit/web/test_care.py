"""`/healthz`, `/readyz` and `/metrics`: what they answer, and that nobody else reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from flask.testing import FlaskClient

from agent.config import Secret
from agent.errors import OutsideError
from agent.runtime.figures import Figures
from agent.web.deps import CALLER, LISTENER, SOCKET, Deps
from tests.support.careworld import NOW, CareWorld, build_world
from tests.support.fakes_api import House, build_house
from tests.support.oneapp import client_of

PATHS = ("/healthz", "/readyz", "/metrics")
AGENT = "butai.staging.example.com"
TOKEN = "a-token-for-the-figures"


class FakeFigures:
    def text(self) -> str:
        return "butai_engine_up 1\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CareWorld]:
    (tmp_path / "care").mkdir()
    world = build_world(tmp_path / "care")
    world.store.branches.replace("shop", {}, NOW)
    world.vitals.look()
    yield world
    world.store.close()


@pytest.fixture
def house(tmp_path: Path, world: CareWorld) -> Iterator[House]:
    house = build_house(tmp_path)
    house.deps = replace(house.deps, vitals=world.vitals, figures=cast("Figures", FakeFigures()))
    yield house
    house.close()


def on_socket(deps: Deps) -> FlaskClient:
    client = client_of(deps)
    client.environ_base |= {LISTENER: SOCKET, CALLER: "unix:anna"}
    return client


def status(deps: Deps, path: str, *, host: str = AGENT, peer: str = "10.200.0.2", token: str = "") -> int:
    headers = {"Host": host} | ({"Authorization": f"Bearer {token}"} if token else {})
    environ = {"REMOTE_ADDR": peer, "REQUEST_URI": path}
    return int(client_of(deps).get(path, headers=headers, environ_overrides=environ).status_code)


def with_token(house: House) -> Deps:
    settings = house.deps.settings()
    server = replace(settings.server, token=Secret(TOKEN, Path("/nowhere")))
    settings = replace(settings, server=server)
    return replace(house.deps, settings=lambda: settings)


def test_the_process_answers_whatever_else_is_away(house: House, world: CareWorld) -> None:
    world.engine.failure = OutsideError("Docker does not answer.", code="docker-down")
    world.vitals.look()
    answer = on_socket(house.deps).get("/healthz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})


def test_an_agent_that_can_deploy_is_ready(house: House) -> None:
    answer = on_socket(house.deps).get("/readyz")
    assert (answer.status_code, answer.get_json()["ready"]) == (200, True)
    assert [part["name"] for part in answer.get_json()["parts"]] == ["database", "engine", "traefik", "git"]


def test_an_agent_that_cannot_says_which_part_keeps_it(house: House, world: CareWorld) -> None:
    world.traefik[0] = False
    world.vitals.look()
    answer = on_socket(house.deps).get("/readyz")
    assert (answer.status_code, answer.get_json()["ready"]) == (503, False)
    assert [part for part in answer.get_json()["parts"] if not part["ready"]] == [
        {"name": "traefik", "ready": False, "problem": "Traefik does not answer."}
    ]


def test_the_figures_are_served_as_prometheus_reads_them(house: House) -> None:
    answer = on_socket(house.deps).get("/metrics")
    assert (answer.status_code, answer.text) == (200, "butai_engine_up 1\n")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
def test_over_tcp_nobody_reads_them_without_the_token(house: House, path: str) -> None:
    assert status(house.deps, path) == 404
    tokened = with_token(house)
    assert status(tokened, path) == 401
    assert status(tokened, path, token=TOKEN + "x") == 401
    assert status(tokened, path, token=TOKEN) == 200
    assert status(tokened, path, token=TOKEN, host="10.200.0.1:8480", peer="192.0.2.7") == 200


@pytest.mark.parametrize("path", PATHS)
def test_containers_and_stages_never_read_them(house: House, path: str) -> None:
    tokened = with_token(house)
    assert status(tokened, path, token=TOKEN, peer="10.200.7.9") == 403
    assert status(tokened, path, token=TOKEN, host="main.staging.example.com") == 404
    assert status(house.deps, path, host="main.staging.example.com") == 404
