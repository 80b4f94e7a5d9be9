"""What the CLI shows: for a person at three in the morning, and for programs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from agent.model.deployment import Commit, Failure, Phase
from agent.model.names import Slug
from agent.model.spot import SpotNotice
from agent.web.api import document
from tests.support.eventually import eventually
from tests.support.fakes_api import EDIT, NOW, PATCH, R1, House, meanwhile
from tests.unit.cli.conftest import Run
from tests.unit.web.test_openapi import problems_of

BUTAI = [sys.executable, "-c", "from agent.cli.main import main; main()"]


@pytest.fixture
def failed(house: House) -> House:
    """An environment whose last deployment failed."""
    house.finish(house.deploy())
    last = house.deploy()
    commit = Commit(revision=R1, author="Anna", subject="Break \x1b[2Jit", committed_at=NOW)
    house.store.deployments.update(
        last.id, phase=Phase.BUILDING, revision=R1, commit=commit, timings={"building": 1.25}, done=("built web",)
    )
    house.finish(last, Failure("unhealthy", "web exited with 1.", "Look at it.", "web", ("boom \x1b]0;x\x07bang",)))
    return house


def test_the_list_says_that_aws_takes_the_host_back(house: House, run: Run) -> None:
    house.spot.notice = SpotNotice("terminate", NOW)
    assert run("list").stderr.splitlines()[-1] == "host: AWS ends this Spot instance at 12:00:00 UTC."


def test_show_tells_everything_one_needs_at_three_in_the_morning(failed: House, run: Run) -> None:
    result = run("show", "main")
    assert result.exit_code == 0
    for said in (
        "main of shop  http://main.staging.example.com",
        "running, follows pushes",
        "web      running  healthy  1111111111  butai-main-web-1  Up 3 minutes (healthy)",
        "main.staging.example.com -> web:80",
        "http://main--api.staging.example.com (api)",
        "fetch main: asked by unix:anna",
        "wait for web to be healthy",
        "failed after 3.0 s, ",
        " d ago",
        "1111111111 by Anna: Break it",
        "building 1.2 s",
        "failed   web exited with 1.",
        "service  web",
        "| boom bang",
        "hint     Look at it.",
        "volumes  butai-main_data",
        "Earlier",
    ):
        assert said in result.stdout
    assert "\x1b" not in result.stdout


def test_show_says_where_the_time_went(failed: House, run: Run) -> None:
    lines = [line.split() for line in run("show", "main", "--timing").stdout.splitlines()]
    assert ["building", "1250.0", "ms"] in lines
    assert ["the", "rest", "1750.0", "ms"] in lines
    assert ["all", "of", "it", "3000.0", "ms"] in lines


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [(("show", "main"), "Shown"), (("plan", "main"), "Plan"), (("sleep", "main"), "Accepted")],
)
def test_json_is_the_answer_of_the_api(failed: House, run: Run, arguments: tuple[str, ...], schema: str) -> None:
    result = run(*arguments, "--json")
    assert result.exit_code == 0
    assert problems_of(json.loads(result.stdout), {"$ref": f"#/components/schemas/{schema}"}) == []
    assert schema in document()["components"]["schemas"]


def test_list_shows_a_line_for_each_and_json_for_programs(failed: House, run: Run) -> None:
    failed.deploy("feature/x", project="blog")
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["BRANCH", "PROJECT", "SERVICES", "LAST", "URL", "SUMMARY"]
    assert [line.split()[:2] for line in lines[1:]] == [["feature/x", "blog"], ["main", "shop"]]
    [only] = json.loads(run("list", "--project", "blog", "--json").stdout)["environments"]
    assert only["environment"]["slug"] == "feature-x"


def test_an_empty_list_says_how_to_begin(run: Run) -> None:
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "butai deploy BRANCH" in result.stderr


def test_the_plan_prints_as_it_is(failed: House, run: Run) -> None:
    assert run("plan", "main").stdout == "fetch main: asked by unix:anna\nwait for web to be healthy\n"


def test_a_slug_is_as_good_as_a_branch(house: House, run: Run) -> None:
    house.deploy("feature/x")
    assert run("plan", "feature-x").stdout == run("plan", "feature/x").stdout != ""


def test_a_branch_of_several_projects_needs_the_project(house: House, run: Run) -> None:
    house.deploy("main", project="shop")
    house.deploy("main", project="blog")
    result = run("plan", "main")
    assert result.exit_code == 2
    assert "blog, shop" in result.stderr
    assert run("plan", "main", "--project", "blog").exit_code == 0


def test_an_unknown_branch_exits_2_with_the_nearest(house: House, run: Run) -> None:
    house.deploy("feature/x")
    result = run("show", "feature/y")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "feature/x" in result.stderr


def test_logs_name_the_service_and_one_service_needs_no_name(house: House, run: Run) -> None:
    house.deploy()
    house.inspector.log = [("web", "hello"), ("db", "ready")]
    assert run("logs", "main").stdout == "web | hello\ndb | ready\n"
    assert run("logs", "main", "db").stdout == "ready\n"
    assert run("logs", "main", "--tail", "1").stdout == "db | ready\n"
    assert json.loads(run("logs", "main", "db", "--json").stdout) == {"service": "db", "line": "ready"}


def test_followed_logs_arrive_while_they_are_written(house: House) -> None:
    house.deploy()
    environment = {**os.environ, "BUTAI_SOCKET": str(house.socket)}
    with subprocess.Popen(
        [*BUTAI, "logs", "-f", "main"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in ("one", "two"):
            house.inspector.live.put(("web", line))
            assert process.stdout.readline() == f"web | {line}\n"
        house.inspector.live.put(None)
        assert process.wait(20) == 0


def test_a_follower_that_went_away_is_noticed_at_the_next_heartbeat(house: House) -> None:
    house.deploy()
    environment = {**os.environ, "BUTAI_SOCKET": str(house.socket)}
    with subprocess.Popen([*BUTAI, "logs", "-f", "main"], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        house.inspector.live.put(("web", "one"))
        process.stdout.readline()
        process.kill()

    def noticed() -> bool:
        house.inspector.live.put(("", ""))
        return house.inspector.closed.is_set()

    eventually(noticed)


def test_the_steps_of_the_last_deployment_can_be_read_afterwards(house: House, run: Run) -> None:
    last = house.deploy()
    house.inspector.build_logs[last.id] = b"fetched\n#1 RUN make\nno end"
    assert run("logs", "main", "--build").stdout == "fetched\n#1 RUN make\nno end\n"
    house.finish(last)
    assert run("logs", "main", "--build", "--follow").stdout == "fetched\n#1 RUN make\nno end\n"


def test_steps_are_followed_to_the_end_of_the_deployment(house: House, run: Run) -> None:
    last = house.deploy()
    house.inspector.build_logs[last.id] = b"one\n"

    def work() -> None:
        house.store.deployments.update(last.id, phase=Phase.BUILDING)
        house.inspector.build_logs[last.id] += b"two\n"
        house.finish(last)

    meanwhile(work)
    assert run("logs", "main", "-bf").stdout == "one\ntwo\n"


def test_a_closed_pipe_is_quiet(house: House) -> None:
    house.deploy()
    house.inspector.log = [("web", "x" * 1000)] * 5000
    environment = {**os.environ, "BUTAI_SOCKET": str(house.socket)}
    with subprocess.Popen(
        [*BUTAI, "logs", "--tail", "10000", "main"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == ""


def test_a_terminal_is_never_sent_escapes_from_a_log(house: House) -> None:
    house.deploy()
    house.inspector.log = [("web", "\x1b]0;title\x07\x1b[2J\x1b[31mred\x9b1m \u202egnp\x07"), ("web", "50%\r100%")]
    shown = on_a_terminal(house, "logs", "main", "web")
    assert shown == "red \\u202egnp\\x07\r\n100%\r\n"


def test_colours_are_for_terminals_only(house: House) -> None:
    house.deploy()
    assert "\x1b[1mBRANCH" in on_a_terminal(house, "list")
    assert (
        "\x1b"
        not in subprocess.run(
            [*BUTAI, "--socket", str(house.socket), "list"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
    )


def on_a_terminal(house: House, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "BUTAI_SOCKET": str(house.socket), "TERM": "xterm"}
    with subprocess.Popen([*BUTAI, *arguments], env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # EIO: the other side is closed, on Linux
                break
            if not part:
                break
            shown += part
        assert process.wait(20) == 0, shown
    os.close(ours)
    return shown.decode()


def test_hostile_names_are_shown_escaped(house: House, run: Run) -> None:
    house.deploy("main\u202egnp")
    assert "main\\u202egnp" in run("list").stdout


def test_events_tell_who_asked(house: House, run: Run) -> None:
    house.deploy()
    house.deploy("feature/x")
    house.deps.operations.pin(Slug("main"), caller="slack:U012")
    lines = run("events", "main").stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("main pin: pin asked for (slack:U012)")
    newest = json.loads(run("events", "--json", "--limit", "1").stdout)
    assert (newest["kind"], newest["caller"]) == ("pin", "slack:U012")


def test_exec_becomes_docker_exec_in_the_container_of_the_service(
    house: House, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.deploy()
    argv: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda file, arguments: argv.append([file, *arguments]))
    wanted = ["docker", "docker", "--host", "unix:///var/run/docker.sock", "exec", "--interactive", "web0123456789ab"]
    assert run("exec", "main").exit_code == 0
    assert run("exec", "main", "web", "--", "sh", "-c", "--project x; ls -- *").exit_code == 0
    assert run("exec", "main", "--project", "shop", "--", "--", "x").exit_code == 0
    assert argv == [[*wanted, "sh"], [*wanted, "sh", "-c", "--project x; ls -- *"], [*wanted, "--", "x"]]


def test_exec_of_an_unknown_service_lists_the_services(house: House, run: Run) -> None:
    house.deploy()
    result = run("exec", "main", "wbe")
    assert result.exit_code == 2
    assert "Services: web." in result.stderr


def test_a_command_without_dashes_before_it_is_refused(house: House, run: Run) -> None:
    house.deploy()
    assert run("exec", "main", "web", "ls").exit_code == 2


def test_a_missing_docker_is_said(house: House, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    house.deploy()
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("exec", "main")
    assert result.exit_code == 69
    assert "docker" in result.stderr


def test_edits_are_listed_shown_and_printed_as_the_bytes_that_git_takes(house: House, run: Run) -> None:
    house.finish(house.deploy())
    listed = run("edits", "main")
    assert listed.exit_code == 0
    assert f"{EDIT.id}  " in listed.stdout
    assert "anna" in listed.stdout
    assert "app.py" in listed.stdout
    shown = run("edits", "main", "--show", EDIT.id)
    assert f"edit {EDIT.id} by anna" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert run("edits", "main", "--patch", EDIT.id).stdout_bytes == PATCH


def test_an_edit_is_put_back_by_whoever_asks(house: House, run: Run) -> None:
    house.finish(house.deploy())
    assert "is back" in run("edits", "main", "--restore", EDIT.id).stdout
    for wrong in (("--restore", "../x"), ("--show", "20260105T120000.000001Z")):
        assert "See the" in run("edits", "main", *wrong).stderr
    assert run("edits", "main", "--show", EDIT.id, "--patch", EDIT.id).exit_code == 2


def test_show_tells_who_edited_how_many_files(house: House, run: Run) -> None:
    house.finish(house.deploy())
    house.store.environments.update(Slug("main"), edited=EDIT.revision, edited_by="anna", edited_files=3)
    said = run("show", "main").stdout
    assert "edited   by anna: 3 files" in said
    assert "2222222222 wanted" in said
