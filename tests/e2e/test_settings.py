"""A changed config.toml is taken up while the agent runs; a bad one leaves the old one in force and says so."""

from __future__ import annotations

from tests.e2e.conftest import BuildTheatre
from tests.support.eventually import eventually
from tests.support.place import toml
from tests.support.samples import page, tiny
from tests.support.theatre import Theatre


def test_a_new_project_can_be_deployed_without_a_restart(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))
    theatre.git.create("newcomer", tiny("hello from the newcomer"))
    pid = theatre.agent.pid

    theatre.agent.configure(projects={"newcomer": {"remote": theatre.git.url("newcomer")}})

    eventually(lambda: "newcomer" in _projects(theatre), 15)
    slug = theatre.deploy("newcomer", "main")
    assert "hello from the newcomer" in theatre.agent.visit(slug).text
    assert theatre.agent.pid == pid


def test_a_bad_file_leaves_the_old_settings_in_force_and_says_every_problem(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))
    slug = theatre.stage("tiny", "steady", page("one"))

    theatre.agent.write_config(toml(theatre.agent.settings) + '\n[limitz]\nbuilds = "two"\n')

    eventually(lambda: "stay in force" in theatre.agent.cli("events").stdout, 15, pause_s=0.3)
    checked = theatre.agent.cli("check-config", str(theatre.agent.config_path), check=False)
    assert checked.returncode == 78
    assert "limits" in checked.stderr, "a near miss comes with a suggestion"
    theatre.push("tiny", "steady", page("two"))
    theatre.shows(slug, "two")


def test_an_environment_variable_of_the_settings_reaches_the_compose_file(another_theatre: BuildTheatre) -> None:
    """A changed setting that matters to a project makes its environments new."""
    theatre = another_theatre(projects=("tiny",))
    compose = (
        "services:\n  web:\n    image: busybox:1.37\n    ports: ['8080']\n    command: "
        "['sh', '-c', 'mkdir /www; echo ${MOOD:-calm} > /www/index.html; exec httpd -f -p 8080 -h /www']\n"
    )
    slug = theatre.stage("tiny", "moody", {"compose.yaml": compose})
    assert theatre.agent.visit(slug).text == "calm\n"

    theatre.agent.configure(projects={"tiny": {"environment": {"MOOD": "stormy"}}})

    theatre.shows(slug, "stormy", seconds=30)


def test_settings_that_cannot_be_used_refuse_to_start(another_theatre: BuildTheatre) -> None:
    theatre = another_theatre(projects=("tiny",))
    theatre.agent.stop()
    theatre.agent.configure(traefik={"http_prot": 80}, limits={"builds": "two"})

    theatre.agent.launch()

    assert theatre.agent.wait() == 78
    assert "traefik.http_prot" in theatre.agent.log()
    assert "limits.builds" in theatre.agent.log()


def _projects(theatre: Theatre) -> set[str]:
    return {one["name"] for one in theatre.agent.ask("/projects")["projects"]}
