"""What a push does to running containers: files copied where a rule says so, images built where they must be."""

from __future__ import annotations

from typing import Any

from tests.support.eventually import eventually
from tests.support.samples import page, tiny
from tests.support.theatre import Theatre

WATCHED = """\
services:
  web:
    build: .
    ports: ['8080']
    develop:
      watch:
        - {path: ./www, target: /www, action: sync}
  worker:
    build: ./worker
    command: sleep infinity
"""
WORKER = {"worker/Dockerfile": "FROM busybox:1.37\nCOPY job.txt /job.txt\n", "worker/job.txt": "one\n"}


def containers(theatre: Theatre, slug: str) -> dict[str, str]:
    """Service -> id of its container."""
    return {one["Labels"]["butai.service"]: one["Id"] for one in theatre.agent.containers(slug)}


def started_at(theatre: Theatre, container: str) -> str:
    return str(theatre.agent.docker.api.inspect_container(container)["State"]["StartedAt"])


def ready(theatre: Theatre, branch: str, revision: str) -> dict[str, Any]:
    """The deployment of a revision, once it is live."""

    def live() -> dict[str, Any]:
        last = theatre.last("tiny", branch)
        assert (last["revision"], last["phase"]) == (revision, "ready"), last
        return last

    return eventually(live, 30)


def test_files_under_a_watch_rule_are_copied_and_no_container_is_replaced(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "synced", {**tiny("one", compose=WATCHED), **WORKER})
    before = containers(theatre, slug)

    revision = theatre.push("tiny", "synced", {**page("two"), "www/new.html": "new\n"})

    answer = theatre.shows(slug, "two")
    eventually(lambda: theatre.agent.visit(slug).headers["X-Butai-Revision"] == revision, 15)
    assert answer.is_success
    assert theatre.agent.visit(slug, "/new.html").text == "new\n"
    eventually(lambda: theatre.last("tiny", "synced")["phase"] == "ready", 15)
    assert "synced 2 files to web" in theatre.last("tiny", "synced")["done"]
    assert containers(theatre, slug) == before


def test_a_deleted_file_is_gone_from_the_container_too(theatre: Theatre) -> None:
    files = {**tiny("one", compose=WATCHED), **WORKER, "www/old.html": "old\n"}
    slug = theatre.stage("tiny", "deleting", files)
    assert theatre.agent.visit(slug, "/old.html").is_success
    before = containers(theatre, slug)

    theatre.repository("tiny").commit("deleting", {}, delete=("www/old.html",))

    eventually(lambda: theatre.agent.visit(slug, "/old.html").status_code == 404, 15)
    assert containers(theatre, slug) == before


def test_a_push_that_no_service_uses_touches_no_container_and_says_so(theatre: Theatre) -> None:
    ignoring = {".dockerignore": "*.md\ndocs\n"}
    slug = theatre.stage("tiny", "idle", {**tiny("one", compose=WATCHED), **WORKER, **ignoring})
    before = containers(theatre, slug)

    revision = theatre.push("tiny", "idle", {"docs/notes.md": "words\n"})

    eventually(lambda: theatre.last("tiny", "idle")["revision"] == revision, 15)
    eventually(lambda: theatre.last("tiny", "idle")["phase"] == "ready", 15)
    last = theatre.last("tiny", "idle")
    assert last["done"] == ["nothing to do: no service uses what changed"]
    assert "checkout" not in last["timings"], "nobody waits for a worktree that no container mounts"
    eventually(lambda: theatre.shown("tiny", "idle")["plan"]["text"] == "nothing to do", 15)
    assert (theatre.agent.state_dir / "checkouts" / slug / "docs/notes.md").read_text() == "words\n"
    assert theatre.last("tiny", "idle") == last, "what follows makes no deployment of its own"
    assert containers(theatre, slug) == before


def test_a_push_into_what_a_container_mounts_is_there_at_once_and_says_so(theatre: Theatre) -> None:
    compose = "services:\n  web: {build: ., ports: ['8080'], volumes: ['./www:/www']}\n"
    slug = theatre.stage("tiny", "mounting", tiny("one", compose=compose))
    before = containers(theatre, slug)

    revision = theatre.push("tiny", "mounting", page("two"))

    theatre.shows(slug, "two")
    eventually(lambda: theatre.last("tiny", "mounting")["revision"] == revision, 15)
    eventually(lambda: theatre.last("tiny", "mounting")["phase"] == "ready", 15)
    assert theatre.last("tiny", "mounting")["done"] == ["checked out 1 file that web mounts"]
    assert containers(theatre, slug) == before


def test_what_runs_an_image_as_it_is_is_restarted_for_what_it_mounts(theatre: Theatre) -> None:
    side = "  side: {image: 'busybox:1.37', init: true, command: sleep infinity, volumes: ['./conf:/conf']}\n"
    conf = {"conf/a.ini": "one\n", ".dockerignore": "conf\n"}
    compose = f"x-butai: {{reload: restart}}\n{WATCHED}{side}"
    slug = theatre.stage("tiny", "reloading", {**tiny("one", compose=compose), **WORKER, **conf})
    before = containers(theatre, slug)
    started = [started_at(theatre, before["side"])]

    for text in ("two", "three"):
        revision = theatre.push("tiny", "reloading", {"conf/a.ini": f"{text}\n"})
        assert ready(theatre, "reloading", revision)["done"] == ["restarted side"]
        started.append(started_at(theatre, before["side"]))
    assert started == sorted(set(started))
    assert containers(theatre, slug)["side"] == before["side"]


def test_only_the_service_whose_image_changed_is_replaced(theatre: Theatre) -> None:
    ignoring = {".dockerignore": "worker\n"}
    slug = theatre.stage("tiny", "partly", {**tiny("one", compose=WATCHED), **WORKER, **ignoring})
    before = containers(theatre, slug)

    theatre.push("tiny", "partly", {"worker/job.txt": "two\n"})

    eventually(lambda: containers(theatre, slug)["worker"] != before["worker"], 20)
    eventually(lambda: theatre.last("tiny", "partly")["phase"] == "ready", 20)
    assert containers(theatre, slug)["web"] == before["web"]


def test_a_container_made_anew_after_a_sync_has_the_newest_files(theatre: Theatre) -> None:
    """Files that were copied live in one container only: its successor must not bring the old ones back."""
    slug = theatre.stage("tiny", "made-anew", {**tiny("one", compose=WATCHED), **WORKER})
    theatre.push("tiny", "made-anew", page("two"))
    theatre.shows(slug, "two")

    theatre.agent.cli("redeploy", "made-anew", "--project", "tiny")

    assert "two" in theatre.agent.visit(slug).text
