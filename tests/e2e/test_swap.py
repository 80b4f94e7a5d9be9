"""A replaced entry service is let go of gently: what people have open with the old container ends as it should."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.samples import sample
from tests.support.theatre import Theatre
from tests.support.websocket import WebSocket

LIMIT_S = 10
DOWNLOAD_S = 2
READERS = 4
APP = "app.py"


@pytest.fixture(name="swapped", scope="module")
def swapped_fixture() -> dict[str, str]:
    """What is pushed to have the service rebuilt."""
    return {APP: str(sample("lasting")[APP], "utf-8").replace('VERSION = "one"', 'VERSION = "two"')}


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
