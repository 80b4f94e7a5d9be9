"""`deploy` and its kin: live phases for the person, one line of result, an exit code for programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from agent.model.deployment import Commit, Failure, Phase
from agent.model.environment import Wanted
from agent.model.names import Slug
from tests.support.fakes_api import NOW, R1, House, meanwhile, wait_until
from tests.unit.cli.conftest import Run

FAILURE = Failure("unhealthy", "web exited with 1.", "Look at its Dockerfile.", "web", ("Traceback", "\x1b[31mboom"))


def controller(house: House, *, failure: Failure | None = None, slug: str = "main") -> None:
    """What the daemon does with a deployment, in the order in which it does it."""

    def work() -> None:
        wait_until(lambda: house.store.deployments.current(Slug(slug)))
        deployment = house.store.deployments.current(Slug(slug))
        assert deployment is not None
        house.inspector.build_logs[deployment.id] = b"fetched\n#1 RUN make\n\x1b[1mdone\n"
        for phase in (Phase.FETCHING, Phase.BUILDING):
            house.store.deployments.update(deployment.id, phase=phase)
        commit = Commit(revision=R1, author="Anna", subject="Fix it", committed_at=NOW)
        house.store.deployments.update(deployment.id, commit=commit, notices=("published port 3306 removed",))
        house.finish(deployment, failure)

    meanwhile(work)


def test_a_deploy_ends_with_the_url_and_the_seconds_on_stdout(house: House, run: Run) -> None:
    controller(house)
    result = run("deploy", "main", "--project", "shop")
    assert result.exit_code == 0
    assert result.stdout == "live at http://main.staging.example.com (3.0 s)\n"
    assert "queued ..." in result.stderr
    assert "published port 3306 removed" in result.stderr


def test_a_failed_deploy_says_why_and_what_to_do_and_exits_1(house: House, run: Run) -> None:
    controller(house, failure=FAILURE)
    result = run("deploy", "main", "-p", "shop")
    assert result.exit_code == 1
    assert result.stdout == ""
    for said in ("web exited with 1.", "service: web", "| Traceback", "1111111111 by Anna: Fix it", "its Dockerfile"):
        assert said in result.stderr
    assert "\x1b" not in result.stderr


def test_every_line_of_a_refusal_has_a_line_of_its_own(house: House, run: Run) -> None:
    lines = ("compose.yaml: web.privileged is refused.", "compose.yaml: web.pid is refused.")
    controller(house, failure=Failure("refused", "\n".join(lines), "Remove them."))
    result = run("deploy", "main", "-p", "shop")
    assert f"failed: {lines[0]}\n  {lines[1]}\n" in result.stderr
    assert all(line in run("show", "main").stdout for line in lines)
    assert "\\n" not in result.stderr + run("show", "main").stdout + run("events").stdout


def test_a_deploy_for_programs_prints_the_deployment(house: House, run: Run) -> None:
    controller(house, failure=FAILURE)
    result = run("deploy", "main", "-p", "shop", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failure"]["service"] == "web"


def test_detached_it_returns_at_once(house: House, run: Run) -> None:
    result = run("deploy", "feature/x", "--detach")
    assert (result.exit_code, result.stdout) == (0, "Deploying `feature/x` of shop.\n")
    current = house.store.deployments.current(Slug("feature-x"))
    assert current is not None
    assert current.caller.startswith("unix:")


def test_the_output_of_the_steps_is_shown_on_demand(house: House, run: Run) -> None:
    controller(house)
    result = run("deploy", "main", "-p", "shop", "-v")
    assert result.exit_code == 0
    assert result.stderr.count("#1 RUN make\n") == 1
    assert result.stdout.startswith("live at ")


def test_a_superseded_deploy_is_followed_by_the_one_in_its_place(house: House, run: Run) -> None:
    first = house.deploy()

    def work() -> None:
        wait_until(lambda: len(house.store.events.list(slug="main")) >= 2)
        house.deps.operations.redeploy(Slug("main"), caller="unix:ben")
        second = house.store.deployments.current(Slug("main"))
        assert second is not None
        assert second.id != first.id
        house.finish(second)

    meanwhile(work)
    result = run("deploy", "main", "-p", "shop")
    assert result.exit_code == 0
    assert "redeploy asked by unix:ben" in result.stderr
    assert result.stdout.startswith("live at ")


def test_a_deploy_that_gives_way_to_sleep_exits_75(house: House, run: Run) -> None:
    house.deploy()

    def work() -> None:
        wait_until(lambda: len(house.store.events.list(slug="main")) >= 2)
        house.deps.operations.sleep(Slug("main"), caller="unix:ben")

    meanwhile(work)
    result = run("deploy", "main", "-p", "shop")
    assert (result.exit_code, result.stdout) == (75, "")
    assert "superseded" in result.stderr


# Whoever runs the tests in the background may ignore SIGINT, and programs inherit that.
_AT_A_TERMINAL = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from agent.cli.main import main; main()"
)


def test_ctrl_c_leaves_the_deployment_alone_and_says_so(house: House) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_A_TERMINAL, "deploy", "main", "-p", "shop"],
        env={**os.environ, "BUTAI_SOCKET": str(house.socket)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    while "queued ..." not in said:
        said += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "goes on without you" in rest
    assert "Traceback" not in rest
    assert house.store.deployments.current(Slug("main")) is not None


def test_a_restart_of_the_agent_is_waited_out(house: House, run: Run) -> None:
    def work() -> None:
        wait_until(lambda: house.store.deployments.current(Slug("main")))
        assert house.server is not None
        house.deps.stopping.set()
        house.server.close()
        house.deps.stopping.clear()
        house.serve()
        deployment = house.store.deployments.current(Slug("main"))
        assert deployment is not None
        house.finish(deployment)

    meanwhile(work)
    result = run("deploy", "main", "-p", "shop")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("live at ")


def test_waking_what_is_awake_says_so(house: House, run: Run) -> None:
    house.finish(house.deploy())
    result = run("wake", "main")
    assert (result.exit_code, result.stdout) == (0, "`main` is awake already.\n")


@pytest.mark.parametrize(
    ("command", "said", "wanted", "pinned"),
    [
        ("sleep", "Putting `main` to sleep", Wanted.ASLEEP, False),
        ("pin", "`main` is pinned", Wanted.RUNNING, True),
        ("unpin", "`main` follows pushes again", Wanted.RUNNING, False),
    ],
)
def test_what_needs_no_waiting_prints_one_sentence(
    house: House, run: Run, command: str, said: str, wanted: Wanted, pinned: bool
) -> None:
    house.deploy()
    result = run(command, "main")
    assert result.exit_code == 0
    assert result.stdout.startswith(said)
    environment = house.store.environments.get(Slug("main"))
    assert environment is not None
    assert (environment.wanted, environment.pinned) == (wanted, pinned)


def test_redeploy_and_wake_follow_their_deployment(house: House, run: Run) -> None:
    house.finish(house.deploy())
    house.deps.operations.sleep(Slug("main"), caller="unix:anna")
    for command in ("wake", "redeploy"):
        controller(house)
        result = run(command, "main")
        assert (result.exit_code, result.stdout) == (0, "live at http://main.staging.example.com (3.0 s)\n")


def test_destroy_without_a_person_needs_yes(house: House, run: Run) -> None:
    house.deploy()
    result = run("destroy", "main")
    assert result.exit_code == 2
    assert "volume butai-main_data, its data is lost" in result.stderr
    assert "containers of web" in result.stderr
    assert "--yes" in result.stderr
    environment = house.store.environments.get(Slug("main"))
    assert environment is not None
    assert environment.wanted is Wanted.RUNNING


@pytest.mark.parametrize(("answer", "code", "wanted"), [("n", 1, Wanted.RUNNING), ("y", 0, Wanted.ABSENT)])
def test_destroy_asks_the_person(
    house: House, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, wanted: Wanted
) -> None:
    house.deploy()
    monkeypatch.setattr("agent.cli.commands_ask.somebody_is_here", lambda: True)
    result = run("destroy", "main", "--detach", input=f"{answer}\n")
    assert result.exit_code == code
    environment = house.store.environments.get(Slug("main"))
    assert environment is not None
    assert environment.wanted is wanted


def test_destroy_returns_when_it_is_gone(house: House, run: Run) -> None:
    house.deploy()

    def work() -> None:
        def absent() -> bool:
            row = house.store.environments.get(Slug("main"))
            return row is not None and row.wanted is Wanted.ABSENT

        wait_until(absent)
        house.store.environments.delete(Slug("main"))
        house.store.events.add("destroyed", slug="main", caller="agent", text="gone", now=NOW)

    meanwhile(work)
    result = run("destroy", "main", "--yes")
    assert (result.exit_code, result.stdout) == (0, "main is gone\n")


def test_a_destroy_that_somebody_took_back_says_so(house: House, run: Run) -> None:
    house.deploy()

    def work() -> None:
        wait_until(lambda: house.store.deployments.current(Slug("main")) is None)
        house.deploy()

    meanwhile(work)
    result = run("destroy", "main", "--yes")
    assert result.exit_code == 75
    assert "wanted again" in result.stderr
