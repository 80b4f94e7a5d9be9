"""One branch that benchmarks push to, as GitHub tells of it, and when the deployment of a push is over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bench import report
from bench.browser import Browser
from tests.support.eventually import eventually
from tests.support.theatre import Theatre

TIMEOUT_S = 180.0
_PATIENCE_S = 0.1  # each look costs the host what a push does


class Pushes:
    """Commits are made before the clock starts; what is waited for begins with a webhook."""

    def __init__(self, stage: Theatre, project: str, branch: str) -> None:
        self.stage = stage
        self.project = project
        self.branch = branch
        self._url = stage.git.url(project)
        self._head = ""

    def push(self, files: Mapping[str, str]) -> str:
        """The revision, of which nobody was told."""
        self._head = self.stage.push(self.project, self.branch, files)
        return self._head

    def tell(self) -> None:
        """The webhook."""
        assert self.stage.agent.webhook(self._url, self.branch, after=self._head) == 202

    def until_ended(self, revision: str) -> float:
        """Tell of a push; seconds until its deployment is ready.

        The end is when the deployment itself says, so looking seldom makes nothing longer.
        """
        began = time.time()
        self.tell()
        return self.ended(revision) - began

    def ended(self, revision: str) -> float:
        """When the deployment of a revision was ready; it is waited for."""

        def ready() -> dict[str, Any]:
            last = self.stage.last(self.project, self.branch)
            assert last["revision"] == revision, last["revision"]
            assert last["phase"] == "ready", last["phase"]
            return last

        last = eventually(ready, TIMEOUT_S, pause_s=_PATIENCE_S)
        return datetime.fromisoformat(last["finished_at"]).timestamp()

    def settled(self) -> None:
        """Wait for what follows a deployment (worktree, tags): nobody pushes again a tenth of a second later."""

        def nothing_left() -> bool:
            return bool(self.stage.shown(self.project, self.branch)["plan"]["text"] == "nothing to do")

        eventually(nothing_left, TIMEOUT_S, pause_s=_PATIENCE_S)

    def until_shown(self, browser: Browser, text: str, path: str = "/") -> float:
        """Tell of a push; seconds until people see `text`."""

        def push() -> None:
            self.tell()
            browser.until(text, path)

        return report.seconds(push)


def last_once_ended(stage: Theatre, project: str, branch: str) -> dict[str, Any]:
    """The last deployment of a branch, when it is over."""

    def ended() -> dict[str, Any]:
        last = stage.last(project, branch)
        assert last["finished_at"], last["phase"]
        return last

    return eventually(ended, 60, pause_s=0.02)


def instant(stage: Theatre, slug: str) -> frozenset[tuple[str, str]]:
    """Id and start of each container of an environment: what changes when one is touched."""
    inspect = stage.agent.docker.api.inspect_container
    return frozenset((one["Id"], inspect(one["Id"])["State"]["StartedAt"]) for one in stage.agent.containers(slug))
