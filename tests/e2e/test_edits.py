"""A file saved on the host is live like a push, is kept when a push overwrites it, and comes back when asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.samples import tiny
from tests.support.theatre import Theatre

WATCHED = {
    "compose.yaml": (
        "services:\n  web:\n    build: .\n    init: true\n    ports: ['8080']\n"
        "    develop: {watch: [{action: sync, path: ./www, target: /www}]}\n"
    ),
    ".gitignore": "*.log\ncache/\n",
}


@contextmanager
def on_stage(theatre: Theatre, branch: str, text: str) -> Iterator[tuple[str, Path]]:
    """Its slug and its worktree, once nothing goes on there."""
    slug = theatre.stage("tiny", branch, {**tiny(text), **WATCHED})
    theatre.shows(slug, text)
    yield slug, theatre.agent.state_dir / "checkouts" / slug
    theatre.destroy("tiny", branch)


def save(path: Path, text: str) -> None:
    """As an editor of somebody who may write there: a new file in the place of the old one."""
    beside = path.with_name(f".{path.name}.swp.log")
    beside.write_text(text)
    beside.replace(path)


def settled(theatre: Theatre, branch: str, fits: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Its last deployment, once that has ended and fits, and the worktree is where that brings it."""

    def ended() -> dict[str, Any]:
        last = theatre.last("tiny", branch)
        assert last["finished_at"], last["phase"]
        assert fits(last), last
        assert "checkout" not in theatre.shown("tiny", branch)["plan"]["text"]
        return last

    return eventually(ended, 30, pause_s=0.05)


def told(theatre: Theatre, branch: str) -> list[str]:
    """Of which kept edits its deployments tell, the newest first."""
    found = theatre.agent.ask(f"/environments/{theatre.slug('tiny', branch)}/deployments")["deployments"]
    return [note for deployment in found for note in deployment["notices"] if "butai edits" in note]


def test_a_file_saved_on_the_host_is_live_without_a_push_and_tells_whose_it_is(theatre: Theatre) -> None:
    with on_stage(theatre, "edited", "pushed") as (slug, folder):
        save(folder / "www/index.html", "edited on the host\n")
        theatre.shows(slug, "edited on the host", seconds=10)

        last = settled(theatre, "edited", lambda last: "edit of" in last["cause"])
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        assert (last["cause"], last["caller"]) == (f"edit of index.html by {user}", f"unix:{user}")
        assert last["phase"] == "ready"
        assert "synced 1 file to web" in last["done"]
        shown = theatre.agent.cli("show", slug).stdout
        assert f"by {user}: 1 file" in shown
        assert f"edited by {user}" in theatre.agent.cli("list").stdout


def test_the_next_push_overwrites_edits_and_they_come_back_when_asked(theatre: Theatre) -> None:
    with on_stage(theatre, "overwritten", "pushed") as (slug, folder):
        save(folder / "www/index.html", "precious edit\n")
        save(folder / "www/new.html", "a new page\n")
        theatre.shows(slug, "a new page", path="/new.html", seconds=10)
        theatre.shows(slug, "precious edit", seconds=10)
        settled(theatre, "overwritten", lambda last: last["phase"] == "ready")

        theatre.push("tiny", "overwritten", {"www/index.html": "pushed again\n", "www/other.html": "other\n"})
        theatre.shows(slug, "pushed again")
        last = settled(theatre, "overwritten", lambda last: "push" in last["cause"])
        [note] = told(theatre, "overwritten")
        assert last["notices"] == [note]
        assert (folder / "www/index.html").read_text() == "pushed again\n"
        assert not (folder / "www/new.html").exists()
        assert theatre.shown("tiny", "overwritten")["environment"]["edited"] is None

        [newest, *_] = theatre.agent.json("edits", slug)["edits"]
        assert newest["files"] == ["www/index.html", "www/new.html"]
        patch = theatre.agent.cli("edits", slug, "--patch", newest["id"]).stdout
        assert "+precious edit" in patch
        assert "+precious edit" in theatre.agent.cli("edits", slug, "--show", newest["id"]).stdout

        theatre.agent.cli("edits", slug, "--restore", newest["id"])
        theatre.shows(slug, "precious edit", seconds=10)
        theatre.shows(slug, "a new page", path="/new.html", seconds=10)
        theatre.shows(slug, "other", path="/other.html")


def test_ignored_files_and_the_agents_own_work_make_no_deployment(theatre: Theatre) -> None:
    with on_stage(theatre, "quiet", "one") as (slug, folder):
        theatre.push("tiny", "quiet", {"www/index.html": "two\n"})
        theatre.shows(slug, "two")
        before = settled(theatre, "quiet", lambda last: "push" in last["cause"])["id"]
        (folder / "cache").mkdir()
        (folder / "cache/x").write_text("ignored")
        (folder / "app.log").write_text("ignored")
        os.utime(folder / "www/index.html")

        save(folder / "www/index.html", "an edit after all of that\n")
        theatre.shows(slug, "an edit after all of that", seconds=10)

        last = settled(theatre, "quiet", lambda last: "edit of" in last["cause"])
        assert last["id"] == before + 1
        assert theatre.shown("tiny", "quiet")["environment"]["edited_files"] == 1


def test_a_thousand_files_at_once_are_one_or_two_deployments(theatre: Theatre) -> None:
    with on_stage(theatre, "storm", "calm") as (slug, folder):
        before = theatre.last("tiny", "storm")["id"]
        for at in range(1000):
            (folder / f"www/{at}.html").write_text(f"page {at}\n")
        theatre.shows(slug, "page 999", path="/999.html", seconds=20)
        last = settled(theatre, "storm", lambda last: last["phase"] == "ready")
        assert last["id"] <= before + 2


def test_an_edit_that_cannot_run_leaves_the_last_good_one_and_the_file(theatre: Theatre) -> None:
    with on_stage(theatre, "broken-edit", "good") as (slug, folder):
        good = (folder / "compose.yaml").read_text()
        save(folder / "compose.yaml", "services: [\n")
        last = settled(theatre, "broken-edit", lambda last: last["phase"] == "failed")
        assert "compose.yaml" in last["failure"]["message"]
        theatre.shows(slug, "good")
        assert (folder / "compose.yaml").read_text() == "services: [\n", "its author still has it open"

        save(folder / "compose.yaml", good)
        settled(theatre, "broken-edit", lambda last: "edits undone" in last["cause"] and last["phase"] == "ready")
        assert theatre.shown("tiny", "broken-edit")["environment"]["edited"] is None


def test_edits_survive_a_deploy_without_news_and_a_pin(theatre: Theatre) -> None:
    with on_stage(theatre, "kept-edit", "pushed") as (slug, folder):
        save(folder / "www/index.html", "edited\n")
        theatre.shows(slug, "edited", seconds=10)
        settled(theatre, "kept-edit", lambda last: last["phase"] == "ready")
        theatre.deploy("tiny", "kept-edit")
        assert "edited" in theatre.agent.visit(slug).text
        theatre.agent.cli("pin", slug)
        save(folder / "www/index.html", "edited again\n")
        theatre.shows(slug, "edited again", seconds=10)


def test_what_was_edited_while_the_agent_was_down_is_live_when_it_is_back(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))
    with on_stage(theatre, "while-down", "before") as (slug, folder):
        theatre.agent.stop()
        save(folder / "www/index.html", "while it was down\n")
        theatre.agent.start()
        theatre.shows(slug, "while it was down", seconds=20)


def test_edits_that_nobody_could_notice_before_a_push_are_kept_and_told_once(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))
    with on_stage(theatre, "unnoticed", "before") as (slug, folder):
        theatre.agent.stop()
        save(folder / "www/index.html", "while it was down\n")
        theatre.push("tiny", "unnoticed", {"www/index.html": "pushed meanwhile\n"})
        theatre.agent.start()
        theatre.shows(slug, "pushed meanwhile")
        settled(theatre, "unnoticed", lambda last: any("butai edits" in note for note in last["notices"]))
        assert (folder / "www/index.html").read_text() == "pushed meanwhile\n"

        [newest, *_] = theatre.agent.json("edits", slug)["edits"]
        [note] = told(theatre, "unnoticed")
        assert newest["id"] in note
        assert "+while it was down" in theatre.agent.cli("edits", slug, "--patch", newest["id"]).stdout
        assert theatre.phase("tiny", "unnoticed") == "ready"
