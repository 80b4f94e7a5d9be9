"""One agent with the sample projects for most scenarios; those that harm or restart theirs make one of their own.

When a test fails, everything that explains it is in one folder below test-output/, printed first.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import evidence
from tests.support.agentd import Agentd
from tests.support.gitserver import GitServer
from tests.support.samples import sample, tiny
from tests.support.slackd import Slackd
from tests.support.theatre import Theatre

PROJECTS = ("classic", "site", "team", "tiny")

BuildTheatre = Callable[..., Theatre]

_running: list[Agentd] = []  # for the hook below, which knows no fixtures while one of them fails


@pytest.fixture(scope="session", name="git")
def git_fixture() -> Iterator[GitServer]:
    """All sample projects, with a `main` each; tests make branches of their own."""
    with tempfile.TemporaryDirectory(prefix="butai-git-") as root, GitServer(Path(root)) as server:
        for name in ("classic", "lasting", "site", "team"):
            server.create(name, sample(name))
        server.create("tiny", tiny())
        yield server


@pytest.fixture(scope="session", name="theatre")
def theatre_fixture(git: GitServer) -> Iterator[Theatre]:
    """The agent that most scenarios share: it polls once a second and has webhooks, Slack and a bot token."""
    with ExitStack() as stack:
        yield _open(stack, git, {})


@pytest.fixture(autouse=True)
def strike_fixture(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test put on stage at the shared agent goes when it ends: what idles there costs all that follow."""
    if "theatre" not in request.fixturenames:
        yield
        return
    theatre: Theatre = request.getfixturevalue("theatre")
    before = theatre.on_stage()
    yield
    for project, branch in theatre.on_stage() - before:
        theatre.destroy(project, branch)


@pytest.fixture(name="another_theatre")
def another_theatre_fixture(git: GitServer) -> Iterator[BuildTheatre]:
    """An agent of the test's own, on the same git server: `another_theatre(limits={...})`."""
    with ExitStack() as stack:
        yield lambda **options: _open(stack, git, options)


def _open(stack: ExitStack, git: GitServer, options: dict[str, Any]) -> Theatre:
    slack = stack.enter_context(Slackd())
    names = options.pop("projects", PROJECTS)
    more = options.pop("project_options", {})
    projects = {name: {"remote": git.url(name), **more.get(name, {})} for name in names}
    agent = stack.enter_context(Agentd(projects, slack=slack, **options))
    _running.append(agent)
    stack.callback(_running.remove, agent)
    return Theatre(agent, git, slack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep what explains a failure before anything is tidied."""
    report = yield
    if report.failed and _running:
        name = re.sub(r"[^\w.-]+", "-", item.name)[:100]
        folder = evidence.OUTPUT_DIR / f"{name}-{os.getpid()}"
        for agent in _running:
            evidence.keep(agent, folder / agent.instance)
        report.sections.insert(0, ("everything about this failure", str(folder)))
        terminal = item.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.write_line(f"\neverything about this failure: {folder}", red=True)
    return report
