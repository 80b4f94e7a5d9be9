"""The agent without its world: the real edge, operations, notifier and store, with a clock that tests move."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from flask.testing import FlaskClient

from agent import config
from agent.adapters.slack import Slack
from agent.config import Settings
from agent.model.deployment import Commit, Deployment, Failure, Phase
from agent.model.environment import Environment
from agent.model.names import Revision, Slug
from agent.runtime.dns import DnsKeeper
from agent.runtime.doctor import Doctor
from agent.runtime.edits import Edits
from agent.runtime.figures import Figures
from agent.runtime.inspect import Inspector
from agent.runtime.lending import Lender
from agent.runtime.notifier import Notifier
from agent.runtime.operations import Operations
from agent.runtime.spot import SpotWatch
from agent.runtime.vitals import Vitals
from agent.store import Store
from agent.web.deps import Deps
from tests.support.blank import open_store
from tests.support.fakes_api import FakeDoctor, FakeSpot, without_roles
from tests.support.oneapp import client_of
from tests.support.signed import SIGNING_SECRET, WEBHOOK_SECRET, Answer, Headers, SlackPerson
from tests.support.slackd import TOKEN, Slackd

HOST = "butai.staging.example.com"
REMOTE = "https://github.com/acme/shop.git"
R1, R2, R3 = (Revision(digit * 40) for digit in "123")
SETTINGS = """
domain = "staging.example.com"
[traefik]
certificate_file = "{directory}/cert.pem"
key_file = "{directory}/key.pem"
[slack]
signing_secret_file = "{directory}/signing"
{token}
team = "T0TEAM"
{people}
api_url = "{api_url}"
response_hosts = ["{location}"]
[forges.github]
webhook_secret_file = "{directory}/webhook"
[projects.shop]
remote = "https://github.com/acme/shop.git"
auto_deploy = ["auto/*"]
[projects.blog]
remote = "git@github.com:acme/blog.git"
"""


@dataclass
class MovingClock:
    at: datetime = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class FakeInspector:
    """What the Slack edge asks of the read side."""

    names: tuple[str, ...] = ("db_data", "uploads")

    def volumes(self, slug: Slug) -> tuple[str, ...]:
        return self.names


@dataclass
class Stage:
    """`work` lets the notifier tell and send what is due, as its thread would."""

    directory: Path
    slack: Slackd
    clock: MovingClock
    settings: Settings
    store: Store
    operations: Operations
    notifier: Notifier
    deps: Deps
    client: FlaskClient
    woken: list[str] = field(default_factory=list)
    poked: list[str] = field(default_factory=list)
    expected: list[tuple[str, str, str]] = field(default_factory=list)

    def person(self, **who: Any) -> SlackPerson:
        return SlackPerson(self.slack, self.send, clock=lambda: self.clock.now().timestamp(), **who)

    def send(self, path: str, body: bytes, headers: Headers) -> Answer:
        answer = self.client.post(path, data=body, headers={**headers, "Host": HOST})
        return answer.status_code, answer.data

    def work(self, seconds: float = 0.0) -> None:
        self.clock.forward(seconds)
        self.notifier.work()

    def restart(self) -> None:
        """Only what was written down survives."""
        self.store.close()
        fresh = build(self.directory, self.slack, settings=self.settings, clock=self.clock)
        self.__dict__.update(fresh.__dict__)

    def environment(self, branch: str, project: str = "shop") -> Environment:
        [found] = self.store.environments.find(branch, project=project)
        return found

    def fetched(self, branch: str, revision: Revision = R1) -> Environment:
        """What a fetch writes: the branch's head, and a deployment that knows it."""
        environment = self.environment(branch)
        current = self.store.deployments.current(environment.slug)
        if current is None:
            current = self.store.deployments.begin(
                environment, cause=f"push of {revision.short}", caller="push", now=self.clock.now()
            )
        commit = Commit(revision, "Anna Example", "Change the colour", self.clock.now())
        self.store.deployments.update(current.id, revision=revision, commit=commit, phase=Phase.BUILDING)
        return self.store.environments.update(environment.slug, revision=revision, fetched=environment.request)

    def phase(self, branch: str, phase: Phase) -> None:
        environment = self.environment(branch)
        current = self.store.deployments.current(environment.slug)
        assert current is not None
        self.tell(environment, self.store.deployments.update(current.id, phase=phase))

    def finish(self, branch: str, failure: Failure | None = None, **fields: Any) -> Deployment:
        """Ready, or failed, at the revision that was fetched; as the reconciler would write and tell it."""
        environment = self.environment(branch)
        current = self.store.deployments.current(environment.slug)
        assert current is not None
        if fields:
            self.store.deployments.update(current.id, **fields)
        phase = Phase.FAILED if failure else Phase.READY
        url = "" if failure else f"https://{environment.slug}.staging.example.com"
        ended = self.store.deployments.finish(current.id, phase, now=self.clock.now(), url=url, failure=failure)
        if failure is None:
            environment = self.store.environments.update(environment.slug, deployed_revision=ended.revision)
        self.tell(environment, ended)
        return ended

    def tell(self, environment: Environment, deployment: Deployment) -> None:
        self.notifier.deployment_changed(environment, deployment)
        self.notifier.work()


def settings_for(directory: Path, slack: Slackd, *, token: bool, users: str = "", channels: str = "") -> Settings:
    return settings_of(
        directory, api_url=slack.api_url, location=slack.location, token=token, users=users, channels=channels
    )


def settings_of(
    directory: Path, *, api_url: str, location: str, token: bool, users: str = "", channels: str = ""
) -> Settings:
    for name, value in {"signing": SIGNING_SECRET, "webhook": WEBHOOK_SECRET, "token": TOKEN}.items():
        path = directory / name
        path.write_text(value)
        path.chmod(0o600)
    for name in ("cert.pem", "key.pem"):
        path = directory / name
        path.write_text("not looked at here")
        path.chmod(0o600)
    people = "\n".join(f"{key} = {value}" for key, value in (("users", users), ("channels", channels)) if value)
    text = SETTINGS.format(
        directory=directory,
        token=f'bot_token_file = "{directory}/token"' if token else "",
        people=people,
        api_url=api_url,
        location=location,
    )
    return config.parse(text, directory)


def build(directory: Path, slack: Slackd, *, settings: Settings, clock: MovingClock) -> Stage:
    store = open_store(directory / "butai.db")
    woken: list[str] = []
    poked: list[str] = []
    expected: list[tuple[str, str, str]] = []
    operations = Operations(
        settings=lambda: settings,
        store=store,
        clock=clock,
        wake=woken.append,
        poke=poked.append,
        expect=lambda project, branch, revision: expected.append((project, branch, revision)),
    )
    notifier = Notifier(store=store, slack=Slack(lambda: settings), settings=lambda: settings, clock=clock)
    deps = Deps(
        settings=lambda: settings,
        operations=operations,
        inspector=cast("Inspector", FakeInspector()),
        store=store,
        clock=clock,
        notifier=notifier,
        edits=cast("Edits", None),
        dns=cast("DnsKeeper", None),
        lender=cast("Lender", None),
        metadata=without_roles(lambda: settings, store, clock),
        doctor=cast("Doctor", FakeDoctor()),
        vitals=cast("Vitals", None),
        figures=cast("Figures", None),
        spot=cast("SpotWatch", FakeSpot()),
    )
    client = client_of(deps)
    return Stage(directory, slack, clock, settings, store, operations, notifier, deps, client, woken, poked, expected)
