"""Operations and the record of deployments on a real store, with real settings: what a test asks, and what is written.

No git, no Docker, no Slack: what those would say is what a test writes with `fetched` and `verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import config
from agent.adapters.slack import Slack
from agent.config import Settings
from agent.model.deployment import Commit, Deployment, Failure, Phase
from agent.model.environment import Environment
from agent.model.names import Revision, Slug
from agent.model.notice import Notice
from agent.runtime.attempts import Attempts
from agent.runtime.notifier import Notifier
from agent.runtime.operations import Operations
from agent.runtime.record import Record
from agent.runtime.timings import Timings
from agent.store import Store
from tests.support.blank import open_store
from tests.support.plans import NOW, R1
from tests.support.stage import MovingClock

SETTINGS = """
domain = "staging.example.com"
state_dir = "{directory}"
[projects.shop]
remote = "https://git.example.com/shop.git"
auto_deploy = ["auto/*"]
"""
BLOG = """
[projects.blog]
remote = "https://git.example.com/blog.git"
hostname = "{project}-{branch}"
"""
ANNA = "unix:anna"
NOTICE = Notice(team="T0TEAM", channel="C0STAGE", user="U0ANNA")
BROKEN = Failure("build-failed", "The image of service `web` could not be built.", "Correct Dockerfile.", "web")


@dataclass
class Desk:
    """`woken`, `poked` and `expected` are what the controller, the poller and git were told, in order."""

    directory: Path
    settings: Settings
    clock: MovingClock
    store: Store
    attempts: Attempts
    timings: Timings
    operations: Operations
    record: Record
    woken: list[Slug] = field(default_factory=list)
    poked: list[str] = field(default_factory=list)
    expected: list[tuple[str, str, str]] = field(default_factory=list)

    def deploy(self, branch: str = "feature/x", **options: Any) -> Environment:
        return self.operations.deploy(branch, project="shop", caller=ANNA, **options).environment

    def fetched(self, environment: Environment, revision: Revision = R1) -> Environment:
        """What a fetch writes: the branch's head, and a deployment that knows it."""
        current = self.store.deployments.current(environment.slug)
        if current is None:
            current = self.store.deployments.begin(
                environment, cause=f"push of {revision.short}", caller="push", now=self.clock.now()
            )
        commit = Commit(revision, "Anna Example", "Change the colour", self.clock.now())
        self.store.deployments.update(current.id, revision=revision, commit=commit, phase=Phase.BUILDING)
        newest = self.row(environment)
        return self.store.environments.update(environment.slug, revision=revision, fetched=newest.request)

    def live(self, branch: str = "feature/x", revision: Revision = R1) -> Environment:
        """An environment that runs `revision`."""
        environment = self.fetched(self.deploy(branch), revision)
        self.record.live(environment, self.current(environment))
        return self.row(environment)

    def fails(self, environment: Environment, failure: Failure = BROKEN, *, final: bool = True) -> Environment:
        """Its deployment is refused; the row afterwards."""
        self.record.refused(self.row(environment), self.current(environment), failure, final=final)
        return self.row(environment)

    def row(self, environment: Environment) -> Environment:
        found = self.store.environments.get(environment.slug)
        assert found is not None
        return found

    def current(self, environment: Environment) -> Deployment:
        found = self.store.deployments.current(environment.slug)
        assert found is not None, "no deployment goes on"
        return found

    def last(self, environment: Environment) -> Deployment:
        found = self.store.deployments.last(environment.slug)
        assert found is not None
        return found

    def events(self, environment: Environment) -> list[str]:
        """`kind by caller: text` of each, in order."""
        found = self.store.events.list(slug=environment.slug)
        return [f"{event.kind} by {event.caller}: {event.text}" for event in found]


def desk(directory: Path, more: str = "") -> Desk:
    """`more` is further TOML; with BLOG there are two projects."""
    settings = config.parse(SETTINGS.replace("{directory}", str(directory)) + more, directory)
    clock = MovingClock(NOW)
    store = open_store(directory / "butai.db")
    attempts, timings = Attempts(clock), Timings(clock)
    notifier = Notifier(store=store, slack=Slack(lambda: settings), settings=lambda: settings, clock=clock)
    woken: list[Slug] = []
    poked: list[str] = []
    expected: list[tuple[str, str, str]] = []
    record = Record(
        store=store,
        attempts=attempts,
        timings=timings,
        notifier=notifier,
        clock=clock,
        fingerprint=lambda environment: settings.fingerprint(environment.project),
        url=lambda slug: settings.url(settings.hostname(slug)),
    )
    operations = Operations(
        settings=lambda: settings,
        store=store,
        clock=clock,
        wake=woken.append,
        poke=poked.append,
        expect=lambda project, branch, revision: expected.append((project, branch, revision)),
    )
    return Desk(directory, settings, clock, store, attempts, timings, operations, record, woken, poked, expected)
