"""A replaced entry service is let go of gently: what people have open with the old container ends as it should."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests.e2e.conftest import BuildTheatre
from tests.support.agentd import under_load
from tests.support.eventually import eventually
from tests.support.samples import SAMPLES_DIR, page, restarting, tiny
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


def web(theatre: Theatre, slug: str) -> dict[str, Any]:
    """The only container of the entry service, once nothing drains any more."""

    def only() -> dict[str, Any]:
        newest, *draining = theatre.agent.containers(slug, "web")
        assert not draining
        return newest

    return eventually(only, 20, pause_s=0.05)


def live(theatre: Theatre, branch: str, revision: str) -> list[str]:
    """What was done once the revision is live."""

    def done() -> list[str]:
        last = theatre.last("tiny", branch)
        assert (last["revision"], last["phase"]) == (revision, "ready"), last
        return list(last["done"])

    return eventually(done, 30, pause_s=0.02)


def built(theatre: Theatre, slug: str, revision: str) -> str:
    """The id of the image that was built in full of a revision, once it is there."""
    tag = f"{theatre.agent.instance}/{slug}/web:{revision[:12]}"
    return str(eventually(lambda: [one["Id"] for one in theatre.agent.docker.api.images(name=tag)], 30)[0])


def tags(theatre: Theatre, name: str) -> set[str]:
    """Of all images that are there of a service."""
    return {tag for image in theatre.agent.docker.api.images(name=name) for tag in image["RepoTags"] or ()}


def test_a_restart_of_what_people_reach_drops_no_request(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "restarting", restarting())
    before = web(theatre, slug)
    with under_load(theatre.agent.port, theatre.agent.host(slug)) as failed:
        revision = theatre.push("tiny", "restarting", {**page("two"), "www/new.html": "new\n"})
        theatre.shows(slug, "two")
        assert live(theatre, "restarting", revision) == ["restarted web beside the old one, with 2 files"]
        after = web(theatre, slug)
    assert failed == []
    assert after["Id"] != before["Id"]
    assert theatre.agent.visit(slug, "/new.html").text == "new\n"


def test_the_image_that_is_built_later_replaces_no_container(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "catching-up", restarting())
    revision = theatre.push("tiny", "catching-up", page("two"))
    assert live(theatre, "catching-up", revision) == ["restarted web beside the old one, with 1 file"]
    container = web(theatre, slug)

    image = built(theatre, slug, revision)
    assert image != container["ImageID"]
    name = f"{theatre.agent.instance}/{slug}/web"
    eventually(lambda: tags(theatre, name) == {f"{name}:{revision[:12]}", f"{name}:{revision[:12]}-delta"}, 15)
    revision = theatre.push("tiny", "catching-up", {"notes.md": "of no service"})
    assert live(theatre, "catching-up", revision) == ["nothing to do: no service uses what changed"]
    revision = theatre.push("tiny", "catching-up", {"live/a.txt": "two\n"})
    assert live(theatre, "catching-up", revision) == ["synced 1 file to web"]
    assert web(theatre, slug)["Id"] == container["Id"]

    built(theatre, slug, revision)
    with under_load(theatre.agent.port, theatre.agent.host(slug)) as failed:
        revision = theatre.push("tiny", "catching-up", page("three"))
        assert live(theatre, "catching-up", revision) == ["restarted web beside the old one, with 1 file"]
        theatre.shows(slug, "three")
    assert failed == []


def test_pushes_in_quick_succession_drop_no_request_either(theatre: Theatre) -> None:
    """The next begins before the image of the last was built, or while its container comes up."""
    slug = theatre.stage("tiny", "hurrying", restarting())
    with under_load(theatre.agent.port, theatre.agent.host(slug)) as failed:
        for number in range(3):
            theatre.push("tiny", "hurrying", {"www/other.html": f"{number}\n", **page(f"half {number}")})
            revision = theatre.push("tiny", "hurrying", page(f"take {number}"))
            theatre.shows(slug, f"take {number}")
            live(theatre, "hurrying", revision)
        theatre.push("tiny", "hurrying", {"live/a.txt": "two\n"})
        theatre.push("tiny", "hurrying", page("last"))
        theatre.shows(slug, "last")
        web(theatre, slug)
    assert failed == []
    assert theatre.agent.visit(slug, "/other.html").text == "2\n"

    theatre.destroy("tiny", "hurrying")
    theatre.gone(slug)


def test_a_restart_that_fails_leaves_the_old_one_serving(theatre: Theatre) -> None:
    dockerfile = str(restarting()["Dockerfile"]).replace("mkdir /read &&", "mkdir /read && test ! -e /www/broken &&")
    slug = theatre.stage("tiny", "breaking", {**restarting(), "Dockerfile": dockerfile})
    before = web(theatre, slug)
    with under_load(theatre.agent.port, theatre.agent.host(slug)) as failed:
        theatre.push("tiny", "breaking", {**page("two"), "www/broken": "so that it ends\n"})
        assert theatre.failure("tiny", "breaking")["failure"]["service"] == "web"
        assert web(theatre, slug)["Id"] == before["Id"]
    assert failed == []
    assert "one" in theatre.agent.visit(slug).text
