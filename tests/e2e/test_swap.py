"""A replaced entry service is let go of gently: what people have open with the old container ends as it should."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.samples import SAMPLES_DIR, tiny
from tests.support.theatre import Theatre
from tests.support.websocket import WebSocket

LIMIT_S = 10
DOWNLOAD_S = 2
READERS = 4
APP = "app.py"


@pytest.fixture(name="swapped", scope="module")
def swapped_fixture() -> dict[str, str]:
    """What is pushed to have the service rebuilt."""
    return {APP: (SAMPLES_DIR / "lasting" / APP).read_text().replace('VERSION = "one"', 'VERSION = "two"')}


@pytest.fixture(name="stage")
def stage_fixture(another_theatre: BuildTheatre) -> Theatre:
    return another_theatre(projects=("lasting",), limits={"drain_timeout_s": LIMIT_S})


def entry_containers(theatre: Theatre, slug: str) -> int:
    return len(theatre.agent.containers(slug, "web"))


def test_downloads_that_were_open_during_a_swap_end_whole(stage: Theatre, swapped: dict[str, str]) -> None:
    slug = stage.stage("lasting", "downloads", {"notes.md": "x\n"})
    is_switched = Event()

    def downloads() -> list[str]:
        texts = []
        while not is_switched.is_set():
            texts.append(stage.agent.visit(slug, f"/slow?s={DOWNLOAD_S}").text)
        return texts

    with ThreadPoolExecutor(READERS) as pool:
        reading = [pool.submit(downloads) for _ in range(READERS)]
        try:
            stage.push("lasting", "downloads", swapped)
            stage.shows(slug, "two", path="/version")
            eventually(lambda: stage.phase("lasting", "downloads") == "ready", 10)
        finally:
            is_switched.set()
        got = [text for one in reading for text in one.result(30)]
    assert set(got) == {"." * 10}
    eventually(lambda: entry_containers(stage, slug) == 1, LIMIT_S + 10)


def test_a_websocket_is_cut_only_at_the_limit_and_holds_up_no_newer_push(
    stage: Theatre, swapped: dict[str, str]
) -> None:
    slug = stage.stage("lasting", "websockets", {"notes.md": "x\n"})
    with WebSocket(stage.agent.port, stage.agent.host(slug), timeout_s=LIMIT_S + 20) as socket:
        stage.push("lasting", "websockets", swapped)
        stage.shows(slug, "two", path="/version")
        live_at = time.monotonic()
        assert socket.echo(b"still here") == b"still here"

        stage.push("lasting", "websockets", {"www/index.html": "newer page\n"})
        stage.shows(slug, "newer page", seconds=LIMIT_S - 1)
        assert socket.echo(b"and here") == b"and here"

        socket.until_cut()
    assert time.monotonic() - live_at >= LIMIT_S - 1
    eventually(lambda: entry_containers(stage, slug) == 1, 15)


DEPENDING = """\
services:
  web:
    build: .
    ports: ['8080']
    depends_on:
      worker: {condition: service_started, restart: true}
  worker:
    build: ./worker
    command: sleep infinity
"""
WORKER = {
    ".dockerignore": "worker\n",
    "worker/Dockerfile": "FROM busybox:1.37\nCOPY job.txt /job.txt\n",
    "worker/job.txt": "one\n",
}


def test_a_service_is_restarted_once_after_what_it_depends_on_was_replaced(theatre: Theatre) -> None:
    def web() -> dict[str, Any]:
        (found,) = theatre.agent.containers(slug, "web")
        return dict(theatre.agent.docker.api.inspect_container(found["Id"]))

    slug = theatre.stage("tiny", "depending", {**tiny("one", compose=DEPENDING), **WORKER})
    assert not any("restarted" in words for words in theatre.last("tiny", "depending")["done"])
    before = web()

    revision = theatre.push("tiny", "depending", {"worker/job.txt": "two\n"})

    eventually(lambda: theatre.last("tiny", "depending")["revision"] == revision, 20)
    eventually(lambda: theatre.phase("tiny", "depending") == "ready", 30)
    restarts = [words for words in theatre.last("tiny", "depending")["done"] if "restarted" in words]
    assert restarts == ["restarted web, as it depends on worker with `restart: true`"]
    assert web()["Id"] == before["Id"]
    assert web()["State"]["StartedAt"] > before["State"]["StartedAt"]
