"""A new branch: signed Slack command to its first page through Traefik, against clone and `docker compose up`.

Caches are warm, as for the second branch of any project, and every branch has a change of its own, for either side.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Any

from bench import report
from bench.browser import Browser
from bench.byhand import ByHand
from bench.projects import served
from bench.stage import theatre
from tests.support.gitserver import Content
from tests.support.samples import sample
from tests.support.theatre import Theatre

ROUNDS = 7
TARGET = 1.0
_PATIENCE_S = 0.02


@dataclass(frozen=True, slots=True)
class _Project:
    """What is staged; each branch has a `changed` file of its own, made by `content`, and shows it at once."""

    name: str
    files: Mapping[str, Content]
    changed: str
    content: str
    web_port: int
    more: tuple[str, ...] = ()  # services beside `web`


def _projects() -> tuple[_Project, ...]:
    return (
        _Project("classic", sample("classic"), "shop/page.py", 'HEADLINE = "{}"\n', 8000, ("mysql",)),
        _Project("site", sample("site"), "content/index.txt", "{}\nServed by nginx.\n", 80),
        _Project("thousands", served(), "index.html", "{}\n", 8080),
    )


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure; the line to print."""
    projects = _projects()
    with theatre({project.name: project.files for project in projects}) as stage:
        measured = {project.name: _Duel(stage, project).fight(rounds) for project in projects}
    worst = max(measured.values(), key=lambda line: line["ratio"])
    samples = {
        name: {key: line[key] for key in ("p50_s", "p95_s", "baseline_p50_s", "ratio", "spent_s")}
        for name, line in measured.items()
    }
    return {**worst, "worst": next(name for name in measured if measured[name] is worst), "samples": samples}


class _Duel:
    """One project, deployed in turn by the agent and by hand."""

    def __init__(self, stage: Theatre, project: _Project) -> None:
        self._stage = stage
        self._project = project
        self._numbers = count(1)
        self._spent: dict[str, list[float]] = defaultdict(list)

    def fight(self, rounds: int) -> dict[str, Any]:
        """The first round of each only warms the caches."""
        self._by_agent()
        self._by_hand()
        self._spent.clear()
        ours: list[float] = []
        theirs: list[float] = []
        for at in range(rounds):
            for deploy, samples in ((self._by_agent, ours), (self._by_hand, theirs))[:: 1 if at % 2 else -1]:
                samples.append(deploy())
            report.progress(f"deploy_cold {self._project.name}: {ours[-1]:.2f} s, by hand {theirs[-1]:.2f} s")
        return report.line(
            "deploy_cold",
            ours,
            baseline="git clone, docker compose up -d --build --wait, first 200",
            baseline_samples=theirs,
            target=TARGET,
            spent_s={verb: round(statistics.median(took), 3) for verb, took in self._spent.items()},
        )

    def _by_agent(self) -> float:
        branch, text = self._branch()
        stage, name = self._stage, self._project.name
        person, browser = (
            stage.agent.person(),
            Browser(stage.agent.port, stage.agent.host(branch), patience_s=_PATIENCE_S),
        )

        def deploy() -> None:
            status, answer = person.types(f"deploy {branch} in {name}")
            assert status == 200, answer
            browser.until(text)

        with closing(browser):
            took = report.seconds(deploy)
        stage.said(branch, lambda said: "is live" in said)
        for verb, seconds in stage.last(name, branch)["timings"].items():
            self._spent[verb].append(seconds)
        slug = stage.slug(name, branch)
        stage.agent.send(f"/environments/{slug}", method="DELETE")
        stage.gone(slug, seconds=60)
        return took

    def _by_hand(self) -> float:
        branch, text = self._branch()
        project, stage = self._project, self._stage
        place = ByHand(
            stage.agent.base_dir / "by-hand",
            stage.git.url(project.name),
            branch,
            web_port=project.web_port,
            more=project.more,
        )

        def deploy() -> None:
            place.clone()
            place.up("--wait")
            browser.until(text)

        try:
            with closing(place.browser(patience_s=_PATIENCE_S)) as browser:
                return report.seconds(deploy)
        finally:
            place.remove()

    def _branch(self) -> tuple[str, str]:
        """A new branch, and what only its page says."""
        number = next(self._numbers)
        branch, text = f"{self._project.name}-{number}", f"take {number} of {self._project.name}."
        content = self._project.content.format(text)
        self._stage.push(self._project.name, branch, {self._project.changed: content})
        return branch, text


if __name__ == "__main__":
    result = run()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(not result["ok"])
