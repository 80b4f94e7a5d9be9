"""A theatre for benchmarks: a git server, a stand-in for Slack and a real agent, set up as it is shipped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import report
from tests.support.agentd import Agentd
from tests.support.gitserver import Content, GitServer
from tests.support.slackd import Slackd
from tests.support.theatre import Theatre

# Agentd's own are for tests that wait for a poll or a repair.
_AS_SHIPPED = {"poll_interval_s": 60, "repair_interval_s": 300}


@contextmanager
def theatre(projects: Mapping[str, Mapping[str, Content]], **options: Any) -> Iterator[Theatre]:
    """Each project has these files on its branch `main`."""
    with tempfile.TemporaryDirectory(prefix="butai-git-") as root, GitServer(Path(root)) as git, Slackd() as slack:
        for name, files in projects.items():
            git.create(name, files)
        remotes = {name: {"remote": git.url(name)} for name in projects}
        with Agentd(remotes, slack=slack, limits=_AS_SHIPPED, **options) as agent:
            try:
                yield Theatre(agent, git, slack)
            except BaseException:
                report.progress(f"the agent said:\n{agent.log()[-4000:]}")
                raise
