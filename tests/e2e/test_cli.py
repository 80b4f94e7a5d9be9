"""The command line on the host, as a person at three in the morning uses it: exit codes, output, finding things."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.samples import page
from tests.support.theatre import Theatre


@pytest.fixture(scope="module", name="slug")
def slug_fixture(theatre: Theatre) -> Iterator[str]:
    yield theatre.stage("classic", "night-shift", {})
    theatre.destroy("classic", "night-shift")


def test_deploy_waits_shows_the_phases_and_ends_with_the_address_and_the_seconds(theatre: Theatre) -> None:
    theatre.push("tiny", "watched", page("watched"))

    done = theatre.agent.cli("deploy", "watched", "--project", "tiny")

    assert re.fullmatch(r"live at http://watched\.stage\.localhost\S* \(\d+\.\d s\)\n", done.stdout)
    for phase in ("queued", "building", "starting"):
        assert phase in done.stderr


def test_deploy_with_build_output_shows_the_steps(theatre: Theatre) -> None:
    theatre.push("tiny", "verbose", {"Dockerfile": "FROM busybox:1.37\nRUN echo 'step by step'\n", **page("x")})

    done = theatre.agent.cli("deploy", "verbose", "--project", "tiny", "--build-output", check=False)

    assert "step by step" in done.stderr


def test_deploy_as_json_is_the_deployment(theatre: Theatre) -> None:
    theatre.push("tiny", "for-programs", page("x"))

    deployment = theatre.agent.json("deploy", "for-programs", "--project", "tiny")

    assert deployment["phase"] == "ready"
    assert deployment["url"] == theatre.agent.url("for-programs")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("deploy", "night-shift", "--project", "nobody"), 2),
        (("show", "never-heard-of"), 2),
        (("frobnicate",), 2),
        (("logs", "night-shift", "no-such-service"), 2),
        (("--socket", "/nonexistent/agent.sock", "list"), 69),
    ],
)
def test_what_cannot_be_ends_with_the_exit_code_of_its_kind(
    theatre: Theatre, slug: str, arguments: tuple[str, ...], status: int
) -> None:
    done = theatre.agent.cli(*arguments, check=False)

    assert done.returncode == status
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_show_tells_what_is_wanted_what_runs_and_how_the_last_attempt_went(theatre: Theatre, slug: str) -> None:
    shown = theatre.agent.cli("show", "night-shift").stdout

    for word in (theatre.agent.url(slug), "mysql", "healthy", "nothing to do", "ready", "Last deployment"):
        assert word in shown


def test_list_has_a_line_for_each_environment(theatre: Theatre, slug: str) -> None:
    [line] = [line for line in theatre.agent.cli("list").stdout.splitlines() if line.startswith("night-shift ")]

    assert "2/2 up" in line
    assert theatre.agent.url(slug) in line


def test_logs_are_of_the_service_that_was_named(theatre: Theatre, slug: str) -> None:
    theatre.agent.visit(slug, "/?marker=seen-in-the-log")

    assert "seen-in-the-log" in theatre.agent.cli("logs", "night-shift", "web").stdout
    assert "seen-in-the-log" not in theatre.agent.cli("logs", "night-shift", "mysql").stdout
    assert re.search(r"^web \| .*seen-in-the-log", theatre.agent.cli("logs", "night-shift").stdout, re.MULTILINE)


def test_exec_runs_in_the_entry_service_or_the_named_one_and_passes_the_exit_code_on(
    theatre: Theatre, slug: str
) -> None:
    name = theatre.agent.cli("exec", "night-shift", "--", "python", "-c", "print('in', 'web')").stdout
    database = theatre.agent.cli("exec", "night-shift", "mysql", "--", "sh", "-c", "echo $MARIADB_DATABASE").stdout
    failed = theatre.agent.cli("exec", "night-shift", "--", "sh", "-c", "exit 7", check=False)

    assert name == "in web\n"
    assert database == "shop\n"
    assert failed.returncode == 7


def test_exec_passes_standard_input_through(theatre: Theatre, slug: str) -> None:
    done = theatre.agent.cli("exec", "night-shift", "--", "cat", input_text="from outside\n")

    assert done.stdout == "from outside\n"


def test_events_say_who_asked_for_what(theatre: Theatre, slug: str) -> None:
    lines = theatre.agent.cli("events", "night-shift", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]

    assert [event["kind"] for event in events][:1] == ["deploy"]
    assert events[0]["caller"].startswith("unix:")
    assert "ready" in [event["kind"] for event in events]


def test_plan_says_that_there_is_nothing_to_do(theatre: Theatre, slug: str) -> None:
    assert theatre.agent.cli("plan", "night-shift").stdout == "nothing to do\n"


def test_destroy_without_a_person_to_ask_does_nothing(theatre: Theatre, slug: str) -> None:
    done = theatre.agent.cli("destroy", "night-shift", check=False)

    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "data" in done.stderr
    assert theatre.agent.visit(slug).status_code == 200


def test_a_branch_is_completed_in_the_shell(theatre: Theatre, slug: str) -> None:
    offered = theatre.agent.completions("show", "night-")

    assert "night-shift" in offered


def test_the_agent_looks_at_its_host_when_asked_and_sums_it_up_for_monitoring(theatre: Theatre) -> None:
    found = theatre.agent.ask("/doctor")

    verdicts = {one["check"]: one["verdict"] for one in found["findings"]}
    assert {verdicts[name] for name in ("traefik", "ports", "engine-limits", "slack")} == {"ok"}
    assert theatre.agent.ask("/health")["doctor"]["summary"] == found["summary"]
