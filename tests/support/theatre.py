"""A whole theatre for end-to-end tests: git server, Slack, a real agent between them, and people who look and push."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.agentd import Agentd
from tests.support.eventually import eventually
from tests.support.gitserver import Content, GitServer, Program, Repository, Symlink
from tests.support.slackd import Message, Slackd

LIVE = re.compile(r"is live at (http://\S+) \((\d+\.\d) s\)")

Files = Mapping[str, Content | Symlink | Program]


@dataclass(frozen=True)
class Theatre:
    """What one scenario acts on and looks at. Branches are named `project, branch`; places by their slug."""

    agent: Agentd
    git: GitServer
    slack: Slackd

    # -- what people do ----------------------------------------------------------------------------------------

    def repository(self, project: str) -> Repository:
        return Repository(self.git.root / f"{project}.git")

    def push(
        self, project: str, branch: str, files: Files, *, delete: Sequence[str] = (), message: str = "Change something"
    ) -> str:
        """Commit on `branch`, which starts at main when it is new; the revision."""
        repository = self.repository(project)
        return repository.commit(branch, files, base="main", delete=delete, message=message)

    def deploy(self, project: str, branch: str) -> str:
        """Put a branch on stage, or bring it up to date, and wait for it; its slug."""
        asked = self.agent.send("/environments", {"branch": branch, "project": project}).json()

        def ready() -> bool:
            last = self.last(project, branch)
            assert last["id"] >= asked["deployment"]["id"]
            if last["phase"] == "failed":
                raise RuntimeError(f"{branch} of {project} cannot be put on stage: {last['failure']}")
            assert last["phase"] == "ready", last["phase"]
            return True

        eventually(ready, 120, pause_s=0.1)
        return str(asked["environment"]["slug"])

    def destroy(self, project: str, branch: str) -> None:
        """Ask for its end; `gone` waits for it."""
        self.agent.send(f"/environments/{self.slug(project, branch)}", method="DELETE")

    def stage(self, project: str, branch: str, files: Files) -> str:
        """A new branch with these files, on stage; its slug."""
        assert self.repository(project).revision(branch) is None, f"another test has a branch {branch} of {project}"
        self.push(project, branch, files)
        return self.deploy(project, branch)

    # -- what they see -----------------------------------------------------------------------------------------

    def slug(self, project: str, branch: str) -> str:
        return str(self.agent.ask("/find", reference=branch, project=project)["slug"])

    def shown(self, project: str, branch: str) -> dict[str, Any]:
        """What `butai show --json` prints."""
        return self.agent.ask(f"/environments/{self.slug(project, branch)}")

    def phase(self, project: str, branch: str) -> str:
        return str(self.last(project, branch)["phase"])

    def last(self, project: str, branch: str) -> dict[str, Any]:
        """Its newest deployment."""
        found = self.agent.ask(f"/environments/{self.slug(project, branch)}/deployments", limit="1")
        return dict(found["deployments"][0])

    def failure(self, project: str, branch: str, seconds: float = 60) -> dict[str, Any]:
        """Why the last deployment failed, once it has."""

        def failed() -> dict[str, Any]:
            last = self.last(project, branch)
            assert last["phase"] == "failed", f"{last['phase']}: {last['failure']}"
            return last

        return eventually(failed, seconds, pause_s=0.2)

    def on_stage(self) -> set[tuple[str, str]]:
        """(project, branch) of every environment."""
        listed = self.agent.ask("/environments")["environments"]
        return {(one["environment"]["project"], one["environment"]["branch"]) for one in listed}

    def shows(self, slug: str, text: str, *, path: str = "/", seconds: float = 30, **where: str) -> httpx.Response:
        """The page, once it says `text`."""

        def page() -> httpx.Response | None:
            answer = self.agent.visit(slug, path, **where)
            assert text in answer.text, f"{answer.status_code}: {answer.text[:500]}"
            return answer

        found = eventually(page, seconds, pause_s=0.05)
        assert found is not None
        return found

    def state(self, slug: str) -> dict[str, Any]:
        """What the classic sample says of itself."""
        return dict(json.loads(self.agent.visit(slug, "/state.json").text))

    def gone(self, slug: str, seconds: float = 30) -> None:
        """Nothing of it is left anywhere, and its address says so: the agent forgets it last."""

        def nothing_left() -> bool:
            assert self.agent.leftovers(slug) == []
            answer = self.agent.visit(slug)
            assert answer.status_code == 404, f"{answer.status_code}: {answer.text}"
            return True

        eventually(nothing_left, seconds, pause_s=0.5)

    def said(self, about: str, fits: Callable[[str], object], *, channel: str = "", seconds: float = 60) -> Message:
        """The newest message that everybody sees and that names `about`, once its text fits."""

        def message() -> Message | None:
            visible = [one for one in self.slack.visible() if about in one.text and channel in ("", one.channel)]
            assert visible, f"nobody said anything about {about}: {[one.text for one in self.slack.visible()][-3:]}"
            assert fits(visible[-1].text), visible[-1].text
            return visible[-1]

        found = eventually(message, seconds, pause_s=0.1)
        assert found is not None
        return found
