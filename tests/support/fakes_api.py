"""An agent without Docker: the real HTTP edge, operations and store, over a look at a world made up by the test."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

from agent import config
from agent.config import Settings
from agent.errors import RequestError
from agent.model.deployment import Deployment, Failure, Phase
from agent.model.dns import Alias, Record
from agent.model.edit import Edit
from agent.model.environment import Environment
from agent.model.finding import Finding, Verdict
from agent.model.labels import REVISION, SLUG
from agent.model.names import Hostname, Revision, Slug
from agent.model.observed import Container, ContainerState, Health, Network, Observed
from agent.model.route import Backend, Route, RouteTable
from agent.model.spot import SpotNotice
from agent.planning.plan import Plan, Step, Verb
from agent.runtime.dns import DnsAnswer, DnsKeeper, DnsLook
from agent.runtime.doctor import Doctor, Examination
from agent.runtime.edits import Edits
from agent.runtime.figures import Figures
from agent.runtime.inspect import Inspector, Listed, Shown
from agent.runtime.lending import Lender
from agent.runtime.metadata import Engine, Metadata
from agent.runtime.notifier import Notifier
from agent.runtime.operations import Operations
from agent.runtime.ports import Clock
from agent.runtime.roles import Assumer, RoleKeeper
from agent.runtime.spot import SpotWatch
from agent.runtime.vitals import Vitals
from agent.store import Store
from agent.web.deps import Deps
from agent.web.server import WebServer
from tests.support.blank import open_store
from tests.support.oneapp import served

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
R1 = Revision("1" * 40)
PLAN = Plan(steps=(Step(Verb.FETCH, "main", "asked by unix:anna"),), waiting=("web to be healthy",))
SETTINGS = """
domain = "staging.example.com"

[projects.shop]
remote = "https://git.example.com/shop.git"
auto_deploy = ["feature/*"]

[projects.blog]
remote = "https://git.example.com/blog.git"
"""


class FixedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def container(slug: str, service: str = "web", **changes: object) -> Container:
    base = Container(
        id=f"{service}0123456789ab",
        name=f"butai-{slug}-{service}-1",
        service=service,
        number=1,
        state=ContainerState.RUNNING,
        health=Health.HEALTHY,
        exit_code=None,
        image_id="sha256:1",
        created_at=int(NOW.timestamp()),
        labels={SLUG: slug, REVISION: R1},
        addresses={f"butai-{slug}_default": "10.200.0.2"},
        status="Up 3 minutes (healthy)",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


EDIT = Edit("20260105T120000.000000Z", Revision("2" * 40), R1, "anna", NOW, ("app.py", "caf\udce9.txt"))
PATCH = b"--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-one\n+caf\xe9 \x1b[2J\n"


class FakeEdits:
    """One edit with the signatures of `Edits`; `restored` is what was asked for."""

    def __init__(self) -> None:
        self.restored: list[tuple[str, str, str]] = []

    def kept(self, slug: Slug, *, limit: int) -> tuple[Edit, ...]:
        return (EDIT,)

    def find(self, slug: Slug, edit_id: str) -> Edit:
        if edit_id == EDIT.id:
            return EDIT
        raise RequestError(f"No edit `{edit_id}`.", hint="See the list.", code="no-such-edit", http_status=404)

    def patch(self, slug: Slug, edit: Edit) -> bytes:
        return PATCH

    def worktree(self, slug: Slug) -> tuple[Path, bool]:
        return Path("/var/lib/butai/checkouts") / slug, slug == "main"

    def restore(self, slug: Slug, edit_id: str, *, caller: str) -> str:
        self.find(slug, edit_id)
        self.restored.append((slug, edit_id, caller))
        return f"Edit {edit_id} is back in `{slug}`: app.py."


@dataclass
class FakeDns:
    """Records with the signatures of `DnsKeeper`; `adopted` is who took them over."""

    seen: DnsLook = field(
        default_factory=lambda: DnsLook(
            "staging.example.com",
            "Z1",
            "ours",
            "theirs",
            wanted=(Record("*.staging.example.com", "A", 60, ("203.0.113.10",)),),
            observed=(
                Record("*.staging.example.com", "A", 300, ("203.0.113.99",)),
                Record("staging.example.com", "A", alias=Alias("lb.example.net", "Z2")),
            ),
            problem=RequestError("The records belong to another agent.", hint="See.", code="dns-foreign"),
        )
    )
    answers: tuple[DnsAnswer, ...] = (DnsAnswer("ns1.example.net", "staging.example.com", "A", ("203.0.113.10",)),)
    adopted: list[str] = field(default_factory=list)

    def look(self) -> DnsLook:
        return self.seen

    def check(self) -> tuple[DnsAnswer, ...]:
        return self.answers

    def adopt(self, *, caller: str) -> str:
        self.adopted.append(caller)
        return "The records of staging.example.com are this agent's now."


@dataclass
class FakeDoctor:
    """Findings with the signatures of `Doctor`; `last` is None until somebody looks."""

    findings: tuple[Finding, ...] = (
        Finding(Verdict.FAILURE, "Only 128 programs may watch files.", "sysctl -w a.b=8192", {"a.b": 8192}, "inotify"),
        Finding(Verdict.UNKNOWN, "The firewall is told to root only.", "sudo butai doctor", check="firewall"),
        Finding(Verdict.OK, "git 2.50.1.", check="git"),
    )
    last: Examination | None = None

    def look(self) -> Examination:
        self.last = Examination(NOW, self.findings)
        return self.last


@dataclass
class FakeSpot:
    """What AWS has announced, with the signature of `SpotWatch`."""

    notice: SpotNotice | None = None


@dataclass
class FakeInspector:
    """The read side with the signatures of `Inspector`; what it sees is what the test put in."""

    store: Store
    settings: Settings
    observed: dict[str, Observed] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    live: queue.Queue[tuple[str, str] | None] = field(default_factory=queue.Queue)
    closed: Event = field(default_factory=Event)
    build_logs: dict[int, bytes] = field(default_factory=dict)
    next: Plan = PLAN

    def listing(self) -> tuple[Listed, ...]:
        return tuple(
            Listed(
                environment=row,
                deployment=self.store.deployments.last(row.slug),
                url=self._url(row.slug),
                summary="ready",
                services="1/1 up",
            )
            for row in self.store.environments.all()
        )

    def show(self, slug: Slug) -> Shown:
        row = self._environment(slug)
        history = self.store.deployments.history(slug, limit=6)
        return Shown(
            environment=row,
            url=self._url(slug),
            urls={"api": f"http://{slug}--api.staging.example.com"},
            summary="ready",
            deployment=history[0] if history else None,
            previous=tuple(history[1:]),
            observed=self._observed(slug),
            plan=self.next,
        )

    def plan(self, slug: Slug) -> Plan:
        self._environment(slug)
        return self.next

    def containers(self, slug: Slug) -> tuple[Container, ...]:
        self._environment(slug)
        return self._observed(slug).containers

    def container(self, slug: Slug, service: str = "") -> Container:
        for one in self.containers(slug):
            if one.service == (service or "web"):
                return one
        raise RequestError(
            f"No container of service `{service}` in {slug}.",
            hint="Services: web.",
            code="no-such-service",
            http_status=404,
        )

    def logs(self, slug: Slug, *, service: str = "", tail: int = 100) -> list[tuple[str, str]]:
        self.containers(slug)
        return [pair for pair in self.log if service in ("", pair[0])][-tail:]

    def follow(self, slug: Slug, *, service: str = "", tail: int = 10) -> Iterator[tuple[str, str]]:
        begun = self.logs(slug, service=service, tail=tail)

        def lines() -> Iterator[tuple[str, str]]:
            try:
                yield from begun
                while (pair := self.live.get(timeout=10)) is not None:
                    yield pair
            finally:
                self.closed.set()

        return lines()

    def build_log(self, deployment_id: int, *, offset: int = 0) -> tuple[str, int]:
        data = self.build_logs.get(deployment_id, b"")[offset:]
        return data.decode(), offset + len(data)

    def _observed(self, slug: str) -> Observed:
        table = RouteTable(
            slug=Slug(slug),
            backend=Backend.CONTAINERS,
            revision=R1,
            routes=(Route(Hostname(f"{slug}.staging.example.com"), "web", 80, (f"butai-{slug}-web-1",)),),
        )
        everything = Observed(
            containers=(container(slug),),
            networks={f"butai-{slug}_default": Network("1", ())},
            volumes=(f"butai-{slug}_data",),
            own_images=(f"butai/{slug}/web:111111111111",),
            checkout=R1,
            routed=table,
            confirmed=True,
        )
        return self.observed.setdefault(slug, everything)

    def _url(self, slug: str) -> str:
        return f"http://{slug}.staging.example.com"

    def _environment(self, slug: Slug) -> Environment:
        row = self.store.environments.get(slug)
        if row is None:
            raise RequestError(
                f"No environment `{slug}`.", hint="See `butai list`.", code="no-such-environment", http_status=404
            )
        return row


@dataclass
class House:
    """Everything behind the API, and the socket it is served on."""

    store: Store
    deps: Deps
    inspector: FakeInspector
    socket: Path
    woken: list[str]
    dns: FakeDns
    doctor: FakeDoctor
    spot: FakeSpot
    server: WebServer | None = None

    def deploy(self, branch: str = "main", *, project: str = "shop") -> Deployment:
        accepted = self.deps.operations.deploy(branch, project=project, caller="unix:anna")
        assert accepted.deployment is not None
        return accepted.deployment

    def finish(self, deployment: Deployment, failure: Failure | None = None) -> Deployment:
        phase = Phase.FAILED if failure else Phase.READY
        url = "" if failure else f"http://{deployment.slug}.staging.example.com"
        return self.store.deployments.finish(deployment.id, phase, now=self.now(), url=url, failure=failure)

    def now(self) -> datetime:
        """Three seconds after everything began, so that deployments take 3.0 s."""
        return NOW.replace(second=3)

    def serve(self) -> None:
        self.server = WebServer(served(self.deps))
        self.server.serve_socket(self.socket)

    def close(self) -> None:
        self.deps.stopping.set()
        self.inspector.live.put(None)
        if self.server is not None:
            self.server.close()
        self.store.close()


def build_house(directory: Path) -> House:
    """A store in `directory` and everything above it; `serve` puts it on a socket there."""
    settings = config.parse(SETTINGS, directory)
    store = open_store(directory / "butai.db")
    store.branches.replace("shop", {"main": R1, "feature/x": R1, "$(touch x)": R1}, NOW)
    woken: list[str] = []
    clock = FixedClock()
    operations = Operations(
        settings=lambda: settings,
        store=store,
        clock=clock,
        wake=woken.append,
        poke=lambda project: None,
        expect=lambda project, branch, revision: None,
    )
    inspector = FakeInspector(store, settings)
    dns, doctor, spot = FakeDns(), FakeDoctor(), FakeSpot()
    deps = Deps(
        settings=lambda: settings,
        operations=operations,
        inspector=cast("Inspector", inspector),
        store=store,
        clock=clock,
        notifier=cast("Notifier", None),
        edits=cast("Edits", FakeEdits()),
        dns=cast("DnsKeeper", dns),
        lender=cast("Lender", None),
        metadata=without_roles(lambda: settings, store, clock),
        doctor=cast("Doctor", doctor),
        vitals=cast("Vitals", None),
        figures=cast("Figures", None),
        spot=cast("SpotWatch", spot),
    )
    return House(store, deps, inspector, directory / "agent.sock", woken, dns, doctor, spot)


def without_roles(settings: Callable[[], Settings], store: Store, clock: Clock) -> Metadata:
    """What containers are answered by an agent whose projects have no roles."""
    roles = RoleKeeper(settings=settings, store=store, sts=cast("Assumer", None), clock=clock)
    return Metadata(settings=settings, store=store, engine=cast("Engine", None), roles=roles, clock=clock)


def meanwhile(act: Callable[[], Any]) -> Thread:
    """Run `act` beside the test, as the controller would."""
    thread = Thread(target=act, daemon=True)
    thread.start()
    return thread


def wait_until(check: Callable[[], object], seconds: float = 10.0) -> None:
    """For threads beside the test: they may not use assertions of pytest."""
    bell = Event()
    for _ in range(int(seconds / 0.02)):
        if check():
            return
        bell.wait(0.02)
    raise TimeoutError
