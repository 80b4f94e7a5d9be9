"""The agent dies without a word in the middle of things, and its next start ends where it would have ended."""

from __future__ import annotations

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.samples import page, restarting, slow_dockerfile, tiny
from tests.support.theatre import LIVE, Theatre


def test_killed_in_mid_build_it_completes_the_deployment_and_says_nothing_twice(
    another_theatre: BuildTheatre,
) -> None:
    theatre = another_theatre(projects=("tiny",))
    theatre.push("tiny", "killed", page("survived") | slow_dockerfile(4))
    theatre.agent.person().types("deploy killed in tiny")
    eventually(lambda: theatre.phase("tiny", "killed") == "building", 20)

    theatre.agent.kill9()
    theatre.agent.launch()
    theatre.agent.wait_until_ready()

    theatre.shows("killed", "survived", seconds=40)
    message = theatre.said("killed", LIVE.search)
    about_it = [one for one in theatre.slack.visible() if "`killed`" in one.text]
    assert len(about_it) == 1, "one request is one message"
    texts = [text for _, text in message.edits]
    assert len(texts) == len(set(texts)), texts
    assert len(theatre.agent.containers("killed")) == 1
    assert theatre.shown("tiny", "killed")["plan"]["steps"] == []
    _no_orphans(theatre)


def test_killed_at_any_moment_of_an_update_it_serves_and_ends_at_the_new_version(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))
    slug = theatre.stage("tiny", "struck", page("version 0"))

    for number, moment in enumerate(("fetching", "building", "starting"), 1):
        theatre.push("tiny", "struck", {**page(f"version {number}"), "stamp": str(number)})
        eventually(lambda phase=moment: theatre.phase("tiny", "struck") in (phase, "ready"), 20, pause_s=0.01)
        theatre.agent.kill9()
        assert theatre.agent.visit(slug).status_code == 200, "nobody needs the agent to see the site"
        theatre.agent.launch()
        theatre.agent.wait_until_ready()
        theatre.shows(slug, f"version {number}")

    eventually(lambda: theatre.shown("tiny", "struck")["plan"]["converged"], 20, pause_s=0.2)
    assert len(theatre.agent.containers(slug)) == 1
    _no_orphans(theatre)


def test_killed_while_it_removes_an_environment_it_ends_the_removal(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("classic",))
    slug = theatre.stage("classic", "doomed", {})

    theatre.agent.cli("destroy", "doomed", "--project", "classic", "--yes", "--detach")
    theatre.agent.kill9()
    theatre.agent.launch()
    theatre.agent.wait_until_ready()

    theatre.gone(slug)
    eventually(lambda: theatre.on_stage() == set(), 10)


def test_two_agents_never_share_a_state_directory(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))

    second = theatre.agent.cli("serve", check=False, timeout_s=30)

    assert second.returncode == 70
    assert str(theatre.agent.pid) in second.stderr


def test_a_lost_database_is_read_back_from_dockers_labels(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny", "classic"))
    tiny_slug = theatre.stage("tiny", "remembered", page("by its labels"))
    classic_slug = theatre.stage("classic", "feature/remembered", {})
    theatre.agent.visit(classic_slug, "/note?text=not+lost")
    swapped_slug = theatre.stage("tiny", "layered", restarting())
    theatre.push("tiny", "layered", page("on a delta image"))
    theatre.shows(swapped_slug, "on a delta image")
    eventually(lambda: len(theatre.agent.containers(swapped_slug)) == 1, 15)
    slugs = (tiny_slug, classic_slug, swapped_slug)
    before = theatre.on_stage()
    containers = {one["Id"] for slug in slugs for one in theatre.agent.containers(slug)}

    theatre.agent.stop()
    for path in theatre.agent.state_dir.glob("butai.db*"):
        path.unlink()
    theatre.agent.run_as_agent("rebuild-database")
    theatre.agent.launch()
    theatre.agent.wait_until_ready()

    assert theatre.on_stage() == before
    theatre.shows(tiny_slug, "by its labels")
    assert theatre.state(classic_slug)["notes"] == ["not lost"]
    theatre.shows(swapped_slug, "on a delta image")
    assert {one["Id"] for slug in slugs for one in theatre.agent.containers(slug)} == containers
    theatre.push("tiny", "remembered", page("and followed"))
    theatre.shows(tiny_slug, "and followed")


def test_without_its_database_it_removes_nothing(another_theatre: BuildTheatre) -> None:
    """Somebody deleted the file and started the agent: what runs is not taken for orphans."""
    theatre = another_theatre(projects=("tiny",))
    slug = theatre.stage("tiny", "spared", page("still here"))

    theatre.agent.stop()
    for path in theatre.agent.state_dir.glob("butai.db*"):
        path.unlink()
    theatre.agent.launch()
    theatre.agent.wait_until_ready()
    asked = len(theatre.git.requests)
    eventually(lambda: len(theatre.git.requests) >= asked + 8, 20)

    assert len(theatre.agent.containers(slug)) == 1
    assert tiny()  # the files are still those of the branch
    assert theatre.agent.visit(slug).text == "still here\n"


def _no_orphans(theatre: Theatre) -> None:
    """Everything with our label belongs to an environment that is on stage, or to Traefik."""
    slugs = {theatre.slug(project, branch) for project, branch in theatre.on_stage()}
    for container in theatre.agent.all_containers():
        labels = container["Labels"]
        assert labels.get("butai.slug") in slugs or labels.get("butai.role") == "edge", container["Names"]
