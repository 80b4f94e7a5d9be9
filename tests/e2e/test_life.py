"""The life of an environment after its first page: sleep, wake, redeploy, pin, destroy."""

from __future__ import annotations

import httpx

from tests.support.agentd import under_load
from tests.support.eventually import eventually
from tests.support.samples import page
from tests.support.theatre import Theatre


def test_an_environment_sleeps_with_its_data_and_wakes_with_it(theatre: Theatre) -> None:
    slug = theatre.stage("classic", "sleeper", {})
    theatre.agent.visit(slug, "/note?text=kept+overnight")

    theatre.agent.cli("sleep", "sleeper", "--project", "classic")

    def asleep() -> httpx.Response:
        states = {container["State"] for container in theatre.agent.containers(slug)}
        assert states == {"exited"}
        answer = theatre.agent.visit(slug, accept="text/html")
        assert answer.status_code == 503
        return answer

    answer = eventually(asleep, 30, pause_s=0.2)
    assert "asleep" in answer.text

    theatre.agent.cli("wake", "sleeper", "--project", "classic")

    assert theatre.state(slug)["notes"] == ["kept overnight"]


def test_a_push_to_a_sleeping_environment_is_there_when_it_wakes(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "dreamer", page("before"))
    theatre.agent.cli("sleep", "dreamer", "--project", "tiny")
    eventually(lambda: theatre.agent.visit(slug).status_code == 503, 20)

    theatre.push("tiny", "dreamer", page("after"))
    theatre.agent.cli("wake", "dreamer", "--project", "tiny")

    theatre.shows(slug, "after", seconds=15)


def test_a_redeploy_replaces_every_container_without_a_dropped_request(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "renewed", page("steady"))
    before = {container["Id"] for container in theatre.agent.containers(slug)}

    with under_load(theatre.agent.port, theatre.agent.host(slug)) as bad:
        done = theatre.agent.cli("redeploy", "renewed", "--project", "tiny")

    assert bad == []
    assert "live at" in done.stdout
    eventually(lambda: len(theatre.agent.containers(slug)) == 1, 15)
    after = {container["Id"] for container in theatre.agent.containers(slug)}
    assert before.isdisjoint(after)


def test_a_push_replaces_the_entry_service_without_a_dropped_request(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "swapped", page("one"))

    with under_load(theatre.agent.port, theatre.agent.host(slug)) as bad:
        theatre.push("tiny", "swapped", page("two"))
        theatre.shows(slug, "two")
        eventually(lambda: len(theatre.agent.containers(slug)) == 1, 15)

    assert bad == []


def test_a_redeploy_keeps_the_data(theatre: Theatre) -> None:
    slug = theatre.stage("classic", "renewed-with-data", {})
    theatre.agent.visit(slug, "/note?text=still+here")

    theatre.agent.cli("redeploy", "renewed-with-data", "--project", "classic")

    assert theatre.state(slug)["notes"] == ["still here"]


def test_a_pinned_environment_ignores_pushes_until_it_is_unpinned(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "pinned", page("pinned"))
    theatre.agent.cli("pin", "pinned", "--project", "tiny")

    theatre.push("tiny", "pinned", page("later"))
    theatre.stage("tiny", "not-pinned", page("polls went on"))
    assert "pinned" in theatre.agent.visit(slug).text

    theatre.agent.cli("unpin", "pinned", "--project", "tiny")
    theatre.shows(slug, "later")


def test_destroy_leaves_nothing_behind(theatre: Theatre) -> None:
    slug = theatre.stage("classic", "short-run", {})
    kinds = {line.split()[0] for line in theatre.agent.leftovers(slug)}
    assert kinds == {"container", "network", "volume", "image", "file"}, "what there is to remove"

    done = theatre.agent.cli("destroy", "short-run", "--project", "classic", "--yes")

    assert "gone" in done.stdout
    assert theatre.agent.leftovers(slug) == []
    assert theatre.agent.visit(slug).status_code == 404
    assert ("classic", "short-run") not in theatre.on_stage()


def test_destroy_in_slack_asks_first_and_says_what_is_lost(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "asked-first", page("here"))
    person = theatre.agent.person()

    _, answer = person.types("destroy asked-first in tiny")
    question = theatre.slack.messages[-1]
    assert theatre.agent.visit(slug).status_code == 200
    assert "cannot be undone" in str(answer)

    person.clicks(question, "Destroy it")
    theatre.gone(slug)
    theatre.said("asked-first", lambda text: "was removed" in text)


def test_a_branch_can_come_back_after_it_was_destroyed(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "encore", page("first"))
    theatre.agent.cli("destroy", "encore", "--project", "tiny", "--yes")

    assert theatre.deploy("tiny", "encore") == slug
    assert "first" in theatre.agent.visit(slug).text


def test_a_container_that_somebody_removed_comes_back(theatre: Theatre) -> None:
    slug = theatre.stage("tiny", "wounded", page("alive"))
    [container] = theatre.agent.containers(slug)

    theatre.agent.docker.api.remove_container(container["Id"], force=True)

    theatre.shows(slug, "alive", seconds=30)


def test_files_that_containers_wrote_as_root_block_neither_an_update_nor_a_destroy(theatre: Theatre) -> None:
    """The agent is not root; the container writes into its checkout, over tracked files and where new ones will be."""
    mess = (
        "umask 077; mkdir -p /src/www/later /src/cache/deep; echo mine > /src/www/index.html;"
        " echo mine > /src/www/later/page.html; echo mine > /src/cache/deep/file; chmod 500 /src/cache/deep /src/www;"
        " exec httpd -f -p 8080 -h /src/www"
    )
    compose = (
        "services:\n  web:\n    image: busybox:1.37\n    ports: ['8080']\n    volumes: ['.:/src']\n"
        f"    command: ['sh', '-c', {mess!r}]\n"
    )
    slug = theatre.stage("tiny", "messy", {"compose.yaml": compose})
    assert theatre.agent.visit(slug).text == "mine\n"

    revision = theatre.push("tiny", "messy", {"www/later/page.html": "theirs\n", "compose.yaml": compose + "# again\n"})

    eventually(lambda: theatre.last("tiny", "messy")["phase"] == "ready", 30)
    eventually(lambda: theatre.agent.visit(slug).headers.get("X-Butai-Revision") == revision, 30)
    assert (theatre.agent.checkout(slug) / "cache/deep/file").exists(), "untracked files are kept"

    theatre.agent.cli("destroy", "messy", "--project", "tiny", "--yes")
    assert theatre.agent.leftovers(slug) == []
