"""Git, Slack, Docker's objects and Traefik fail or are harmed by hand: what serves goes on, and it mends by itself."""

from __future__ import annotations

import contextlib
import shutil
import time

import httpx
from docker.errors import APIError

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.gitserver import Mood
from tests.support.samples import page, slow_dockerfile, tiny
from tests.support.slackd import Misbehaviour
from tests.support.theatre import LIVE, Theatre


def test_a_git_server_that_hangs_keeps_nobody_from_the_site_and_is_asked_again(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "hung", page("before"))
    stricken.push("tiny", "hung", page("after"))
    stricken.git.mood = Mood.HANGING
    try:
        stricken.agent.person().types("deploy hung in tiny")
        stricken.said("`hung`", lambda text: "did not answer" in text)
        assert "before" in stricken.agent.visit(slug).text
    finally:
        stricken.git.mood = Mood.WELL
    stricken.shows(slug, "after", seconds=60)
    message = stricken.said("`hung`", LIVE.search)
    assert "did not answer" not in message.text, "what held it up is over"


def test_a_git_server_that_refuses_is_named_once(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "refused", page("before"))
    stricken.push("tiny", "refused", page("after"))
    stricken.git.mood = Mood.FORBIDDEN
    try:
        stricken.agent.cli("deploy", "refused", "--project", "tiny", "--detach")
        asked = len(stricken.git.requests)
        eventually(lambda: len(stricken.git.requests) >= asked + 6, 60)
        [notice] = [one for one in stricken.last("tiny", "refused")["notices"] if one.startswith("Waiting:")]
        assert "refuses access" in notice
        assert "before" in stricken.agent.visit(slug).text
    finally:
        stricken.git.mood = Mood.WELL
    stricken.shows(slug, "after", seconds=90)


def test_what_waits_for_git_can_be_removed_without_it(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "given-up", page("here"))
    stricken.git.mood = Mood.HANGING
    try:
        stricken.agent.cli("deploy", "given-up", "--project", "tiny", "--detach")
        stricken.agent.cli("destroy", "given-up", "--project", "tiny", "--yes", "--detach")
        stricken.gone(slug)
    finally:
        stricken.git.mood = Mood.WELL


def test_without_slack_everything_works_and_the_messages_come_later(stricken: Theatre) -> None:
    stricken.push("tiny", "untold", page("untold"))
    stricken.slack.misbehave = [Misbehaviour(status=0)] * 1000
    stricken.agent.person().types("deploy untold in tiny")
    stricken.shows("untold", "untold", seconds=60)
    assert not [one for one in stricken.slack.visible() if "`untold`" in one.text]
    stricken.slack.misbehave = []
    stricken.said("`untold`", LIVE.search)
    assert len([one for one in stricken.slack.visible() if "`untold`" in one.text]) == 1


def test_containers_and_networks_that_somebody_removed_come_back(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "pruned", page("alive"))
    api = stricken.agent.docker.api
    for container in stricken.agent.containers(slug):
        api.remove_container(container["Id"], force=True)
    [network] = api.networks(filters={"label": f"butai.slug={slug}"})

    def is_removed() -> bool:
        """Meanwhile the agent makes containers again, and joins them to it."""
        with contextlib.suppress(APIError):
            for name in network_users(stricken, network["Id"]):
                api.disconnect_container_from_network(name, network["Id"], force=True)
            api.remove_network(network["Id"])
        return network["Id"] not in {one["Id"] for one in api.networks()}

    eventually(is_removed, 20)
    stricken.shows(slug, "alive", seconds=60)


def test_a_container_that_somebody_took_out_of_its_network_is_replaced(stricken: Theatre) -> None:
    """The engine says that it runs, and nobody reaches it; nor was it ever the deployment's own doing."""
    slug = stricken.stage("tiny", "detached", page("attached"))
    api = stricken.agent.docker.api
    [before] = stricken.agent.containers(slug)
    [network] = api.networks(filters={"label": f"butai.slug={slug}"})
    api.disconnect_container_from_network(before["Id"], network["Id"], force=True)

    eventually(lambda: before["Id"] not in {one["Id"] for one in stricken.agent.containers(slug)}, 30)

    stricken.shows(slug, "attached", seconds=30)
    assert stricken.last("tiny", slug)["failure"] is None


def test_a_worktree_that_somebody_removed_is_back_in_what_mounts_it_too(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "swept", {**tiny(service="    volumes: ['./www:/www:ro']\n"), **page("mounted")})
    assert "mounted" in stricken.agent.visit(slug).text

    shutil.rmtree(stricken.agent.checkout(slug))

    stricken.shows(slug, "mounted", seconds=30)
    stricken.push("tiny", "swept", page("and followed"))
    stricken.shows(slug, "and followed", seconds=30)
    assert (stricken.agent.checkout(slug) / "www").is_dir()


def test_a_network_that_went_while_the_environment_slept_is_made_again(stricken: Theatre) -> None:
    """`docker network prune` takes the networks of stopped containers; those refuse to start without them."""
    slug = stricken.stage("tiny", "dreaming", page("awake"))
    stricken.agent.cli("sleep", "dreaming", "--project", "tiny")
    eventually(lambda: {one["State"] for one in stricken.agent.containers(slug)} == {"exited"}, 30)
    api = stricken.agent.docker.api
    [network] = api.networks(filters={"label": f"butai.slug={slug}"})
    for name in network_users(stricken, network["Id"]):
        api.disconnect_container_from_network(name, network["Id"], force=True)
    api.remove_network(network["Id"])

    stricken.agent.cli("wake", "dreaming", "--project", "tiny")

    stricken.shows(slug, "awake")


def test_a_route_file_that_somebody_removed_is_written_again(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "lost-route", page("found"))
    [path] = [one for one in stricken.agent.state_dir.rglob("*.yml") if slug in one.name]
    path.unlink()
    eventually(path.exists, 30)
    stricken.shows(slug, "found")


def test_a_traefik_that_somebody_removed_is_back_within_seconds(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "edgeless", page("routed"))
    [traefik] = [one for one in stricken.agent.all_containers() if one["Labels"].get("butai.role") == "edge"]
    stricken.agent.docker.api.remove_container(traefik["Id"], force=True)
    begun = time.monotonic()
    eventually(lambda: _answers(stricken, slug, "routed"), 30, pause_s=0.1)
    assert time.monotonic() - begun < 30


def test_put_to_sleep_in_mid_start_it_wakes_without_being_blamed_for_that(stricken: Theatre) -> None:
    """The containers that sleep stopped belong to a deployment that was superseded: no failure of the next one."""
    slow = tiny(service="    healthcheck: {test: ['CMD', 'test', '-e', '/tmp/go'], interval: 1s, retries: 60}\n")
    stricken.push("tiny", "drowsy", {**slow, **page("drowsy")})
    stricken.agent.cli("deploy", "drowsy", "--project", "tiny", "--detach")
    eventually(lambda: [one for one in stricken.agent.containers("drowsy") if one["State"] == "running"], 60)
    stricken.agent.cli("sleep", "drowsy", "--project", "tiny")
    eventually(lambda: {one["State"] for one in stricken.agent.containers("drowsy")} == {"exited"}, 30)

    stricken.agent.cli("wake", "drowsy", "--project", "tiny", "--detach")

    [container] = eventually(lambda: [c for c in stricken.agent.containers("drowsy") if c["State"] == "running"], 30)
    execution = stricken.agent.docker.api.exec_create(container["Id"], ["touch", "/tmp/go"])
    stricken.agent.docker.api.exec_start(execution["Id"])
    stricken.shows("drowsy", "drowsy", seconds=60)
    eventually(lambda: stricken.phase("tiny", "drowsy") == "ready", 30)


def test_a_deploy_right_after_a_destroy_is_what_counts(stricken: Theatre) -> None:
    slug = stricken.stage("tiny", "undecided", page("stays"))
    for _ in range(3):
        stricken.agent.cli("destroy", "undecided", "--project", "tiny", "--yes", "--detach")
        stricken.deploy("tiny", "undecided")
        stricken.shows(slug, "stays")


def test_settings_that_forbid_what_serves_are_told_once_and_it_goes_on_serving(another_theatre: BuildTheatre) -> None:
    """Nobody pushed anything, so there is nothing to try again: one failed deployment, not one after the other."""
    allowed = {"tiny": {"allow": {"extra_hosts": ["192.0.2.7"]}}}
    theatre = another_theatre(projects=("tiny",), project_options=allowed, limits={"repair_interval_s": 1})
    files = tiny("served", service="    extra_hosts: ['elsewhere:192.0.2.7']\n")
    slug = theatre.stage("tiny", "forbidden", files)

    theatre.agent.configure(projects={"tiny": {"allow": {"extra_hosts": []}}})

    failed = theatre.failure("tiny", "forbidden")
    assert "extra_hosts" in failed["failure"]["message"]
    asked = len(theatre.git.requests)
    eventually(lambda: len(theatre.git.requests) >= asked + 10, 30)
    assert theatre.last("tiny", "forbidden")["id"] == failed["id"]
    assert "served" in theatre.agent.visit(slug).text

    heard = theatre.agent.log().count("settings taken up")
    theatre.agent.configure(projects={"tiny": {"allow": {"extra_hosts": ["192.0.2.7"]}}})
    eventually(lambda: theatre.agent.log().count("settings taken up") > heard)
    theatre.agent.cli("deploy", "forbidden", "--project", "tiny")
    assert "served" in theatre.agent.visit(slug).text


def test_told_to_stop_in_mid_build_it_stops_in_time_and_the_next_start_completes(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))
    theatre.push("tiny", "paused", page("completed") | slow_dockerfile(5))
    theatre.agent.person().types("deploy paused in tiny")
    eventually(lambda: theatre.phase("tiny", "paused") == "building", 30)
    deployment = theatre.last("tiny", "paused")["id"]

    begun = time.monotonic()
    assert theatre.agent.stop() == 0
    assert time.monotonic() - begun < 15
    theatre.agent.start()

    theatre.shows("paused", "completed", seconds=60)
    theatre.said("`paused`", LIVE.search)
    assert len([one for one in theatre.slack.visible() if "`paused`" in one.text]) == 1
    assert (theatre.last("tiny", "paused")["id"], theatre.phase("tiny", "paused")) == (deployment, "ready")


def test_told_to_stop_while_git_hangs_it_stops_in_time_and_blames_nobody(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",), limits={"fetch_timeout_s": 30})
    slug = theatre.stage("tiny", "waiting", page("before"))
    theatre.push("tiny", "waiting", page("after"))
    theatre.git.mood = Mood.HANGING
    try:
        theatre.agent.cli("deploy", "waiting", "--project", "tiny", "--detach")
        eventually(lambda: theatre.phase("tiny", "waiting") == "fetching", 20)
        assert theatre.agent.stop() == 0
    finally:
        theatre.git.mood = Mood.WELL
    theatre.agent.start()
    theatre.shows(slug, "after", seconds=60)
    assert not [event for event in theatre.agent.ask("/events")["events"] if event["kind"] in ("bug", "failed")]


def network_users(theatre: Theatre, network: str) -> list[str]:
    return list(theatre.agent.docker.api.inspect_network(network)["Containers"] or {})


def _answers(theatre: Theatre, slug: str, text: str) -> bool:
    try:
        return text in theatre.agent.visit(slug).text
    except httpx.TransportError:
        return False
