"""The team sample: two public services, a WebSocket, a queue, a worker, a migration that runs once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import websocket

from tests.support.eventually import eventually
from tests.support.theatre import Theatre


@pytest.fixture(scope="module", name="slug")
def slug_fixture(theatre: Theatre) -> Iterator[str]:
    yield theatre.stage("team", "ensemble", {})
    theatre.destroy("team", "ensemble")


def test_the_address_leads_to_the_entry_service_which_reaches_the_others(theatre: Theatre, slug: str) -> None:
    """`schema 2` is what the migration has written before the API was started."""
    answer = theatre.agent.visit(slug)

    assert "Team one" in answer.text
    assert "API one, schema 2" in answer.text


def test_a_second_public_service_has_an_address_of_its_own(theatre: Theatre, slug: str) -> None:
    state = json.loads(theatre.agent.visit(slug, service="api").text)

    assert state["version"] == "one"
    assert state["greeting"] == "hello from .env"
    assert state["front"] == theatre.agent.url(slug)


def test_a_websocket_passes(theatre: Theatre, slug: str) -> None:
    socket = websocket.create_connection(
        f"ws://127.0.0.1:{theatre.agent.port}/socket", host=theatre.agent.host(slug), timeout=10
    )
    try:
        assert socket.recv() == "welcome to Team one"
        socket.send("break a leg")
        assert socket.recv() == "echo: break a leg"
    finally:
        socket.close()


def test_the_worker_takes_jobs(theatre: Theatre, slug: str) -> None:
    theatre.agent.visit(slug, "/add", service="api")

    eventually(lambda: json.loads(theatre.agent.visit(slug, service="api").text)["done"] >= 1, 10)


def test_the_migration_ran_once_and_its_end_is_no_failure(theatre: Theatre, slug: str) -> None:
    [migration] = theatre.agent.containers(slug, "migrate")

    assert migration["State"] == "exited"
    assert migration["Status"].startswith("Exited (0)")
    assert theatre.shown("team", "ensemble")["plan"]["steps"] == []


def test_a_profile_that_nobody_enabled_does_not_run(theatre: Theatre, slug: str) -> None:
    assert theatre.agent.containers(slug, "debug") == []


def test_a_push_to_one_service_replaces_that_service_only(theatre: Theatre, slug: str) -> None:
    before = {one["Labels"]["butai.service"]: one["Id"] for one in theatre.agent.containers(slug)}

    revision = theatre.push("team", "ensemble", {"front/title.json": '{ "title": "Team two" }\n'})
    theatre.shows(slug, "Team two", seconds=60)

    def settled() -> dict[str, str]:
        assert theatre.shown("team", "ensemble")["plan"]["converged"]
        return {one["Labels"]["butai.service"]: one["Id"] for one in theatre.agent.containers(slug)}

    after = eventually(settled, 30, pause_s=0.2)
    assert {service for service in before if before[service] != after[service]} == {"front"}
    assert theatre.agent.visit(slug, service="api").headers["X-Butai-Revision"] == revision
