"""Every long-lived object of the agent, built once, here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import structlog

from agent import logs
from agent.adapters import frontdoor, host, hostfacts, imds, iptables, probe, systemd
from agent.adapters.aws import HostKeys, Route53, Sts
from agent.adapters.clock import SystemClock
from agent.adapters.compose import ComposeCli
from agent.adapters.docker import DockerEngine, Recipes
from agent.adapters.git import GitMirrors
from agent.adapters.nameservers import NameServers
from agent.adapters.slack import Slack
from agent.adapters.traefik import Traefik
from agent.config import Settings
from agent.model.finding import Verdict
from agent.planning import edge, routing
from agent.runtime.attempts import Attempts
from agent.runtime.build import Builder
from agent.runtime.caretaker import Caretaker
from agent.runtime.controller import Controller
from agent.runtime.create import Creator
from agent.runtime.curtain import Curtain
from agent.runtime.decider import Decider
from agent.runtime.dns import DnsKeeper
from agent.runtime.doctor import Doctor, Examination
from agent.runtime.drains import Drains
from agent.runtime.edits import Edits
from agent.runtime.edits_loop import EditsLoop
from agent.runtime.executor import Executor
from agent.runtime.figures import Figures
from agent.runtime.firewall import FirewallKeeper
from agent.runtime.inspect import Inspector
from agent.runtime.lending import Lender
from agent.runtime.livesync import Livesync
from agent.runtime.metadata import Metadata
from agent.runtime.notifier import Notifier
from agent.runtime.observer import Observer
from agent.runtime.operations import Operations
from agent.runtime.poller import Poller
from agent.runtime.reader import Reader
from agent.runtime.reconciler import Reconciler
from agent.runtime.record import Record
from agent.runtime.refresh import Refresher
from agent.runtime.roles import RoleKeeper
from agent.runtime.spot import SpotWatch
from agent.runtime.tally import Tally
from agent.runtime.timings import Timings
from agent.runtime.vitals import Vitals
from agent.store import Store
from agent.web.app import create_app
from agent.web.deps import Deps
from agent.web.server import WebServer

log = structlog.get_logger(__name__)


class Parts:
    """What there is of each kind; `settings` tells those in force now. Nothing runs yet."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._build_world(settings())
        self._build_runtime()
        self._build_web()

    def wake_all(self) -> None:
        """Look at every environment now."""
        for environment in self.store.environments.all():
            self.controller.wake(environment.slug)

    def _build_world(self, settings: Settings) -> None:
        self.store = Store.open(settings.state_dir / "butai.db", redactor=lambda: logs.redactor(self.settings()))
        self.engine = DockerEngine(
            settings.docker.host,
            settings.instance,
            scratch_dir=settings.state_dir / "scratch",
            ownership_image=settings.docker.ownership_image,
        )
        self.git = GitMirrors(self.settings, reclaim=self._reclaim)
        self.compose = ComposeCli(settings.docker.host)
        self.edge = Traefik(self.settings, engine=self.engine, routing=routing, layout=edge)
        self.slack = Slack(self.settings)

        self.vitals = Vitals(
            settings=self.settings,
            store=self.store,
            engine=self.engine,
            host=host,
            clock=self.clock,
            traefik_answers=self.edge.answers,
        )

    def _build_runtime(self) -> None:
        self.notifier = Notifier(store=self.store, slack=self.slack, settings=self.settings, clock=self.clock)
        self.attempts = Attempts(self.clock)
        timings = Timings(self.clock)
        self.reader = Reader(git=self.git, compose=self.compose, settings=self.settings)
        self.refresher = Refresher(
            git=self.git, store=self.store, clock=self.clock, notifier=self.notifier, poke=self._poke
        )
        builder = Builder(
            settings=self.settings,
            git=self.git,
            engine=self.engine,
            compose=self.compose,
            reader=self.reader,
            shortage=self.vitals.shortage,
        )
        livesync = Livesync(
            git=self.git, engine=self.engine, store=self.store, attempts=self.attempts, clock=self.clock
        )
        self.observer = Observer(
            settings=self.settings,
            git=self.git,
            engine=self.engine,
            edge=self.edge,
            reader=self.reader,
            attempts=self.attempts,
            clock=self.clock,
            probe=probe.accepts,
            store=self.store,
            decider=Decider(git=self.git, recipes=Recipes()),
            builder=builder,
            livesync=livesync,
            drains=Drains(engine=self.engine, clock=self.clock),
        )
        self.sts = Sts()
        self.roles = RoleKeeper(settings=self.settings, store=self.store, sts=self.sts, clock=self.clock)
        executor = Executor(
            settings=self.settings,
            store=self.store,
            git=self.git,
            engine=self.engine,
            edge=self.edge,
            reader=self.reader,
            refresher=self.refresher,
            builder=builder,
            livesync=livesync,
            creator=Creator(settings=self.settings, git=self.git, compose=self.compose),
            roles=self.roles,
            attempts=self.attempts,
        )
        record = Record(
            store=self.store,
            attempts=self.attempts,
            timings=timings,
            notifier=self.notifier,
            clock=self.clock,
            fingerprint=lambda environment: self.observer.context(environment).fingerprint,
            url=lambda slug: self.settings().url(self.settings().hostname(slug)),
        )
        reconciler = Reconciler(
            store=self.store,
            observer=self.observer,
            executor=executor,
            engine=self.engine,
            attempts=self.attempts,
            timings=timings,
            notifier=self.notifier,
            record=record,
        )
        self.spot = SpotWatch(
            settings=self.settings,
            store=self.store,
            notifier=self.notifier,
            clock=self.clock,
            instance=instance(),
            on_ec2=hostfacts.is_ec2,
            resumed=self.wake_all,
        )
        self.controller = Controller(
            settings=self.settings,
            store=self.store,
            reconciler=reconciler,
            record=record,
            refresher=self.refresher,
            clock=self.clock,
            alive=systemd.alive,
            admit=self.spot.admit,
        )
        self.curtain = Curtain(
            settings=self.settings, store=self.store, engine=self.engine, edge=self.edge, nudge=self.controller.nudge
        )
        self.operations = Operations(
            settings=self.settings,
            store=self.store,
            clock=self.clock,
            wake=self.controller.wake,
            poke=self._poke,
            expect=self.git.expect,
            shortage=self.vitals.shortage,
        )
        self.edits = Edits(
            settings=self.settings,
            store=self.store,
            git=self.git,
            clock=self.clock,
            release=self.observer.release,
            wake=self.controller.wake,
        )
        self.edits_loop = EditsLoop(
            settings=self.settings, store=self.store, git=self.git, clock=self.clock, edits=self.edits
        )
        self.poller = Poller(
            settings=self.settings, store=self.store, git=self.git, operations=self.operations, clock=self.clock
        )
        self.dns = DnsKeeper(
            settings=self.settings,
            store=self.store,
            clock=self.clock,
            zones=Route53(),
            instance=instance(),
            servers=NameServers(),
            us=lambda: host.identity(self.settings().state_dir),
        )

        self.firewall = FirewallKeeper(settings=self.settings, firewall=iptables)
        self.doctor = Doctor(
            settings=self.settings,
            clock=self.clock,
            host=hostfacts,
            disks=host,
            engine=self.engine,
            compose=self.compose,
            instance=instance(),
            door=frontdoor,
            records=self.dns,
            slack=self.slack,
            wall=self.firewall,
            roles=self.roles,
            told=_tell_of_host,
        )
        self.caretaker = Caretaker(
            settings=self.settings,
            store=self.store,
            engine=self.engine,
            host=host,
            clock=self.clock,
            shortage=self.vitals.shortage,
        )

    def _build_web(self) -> None:
        tally = Tally()
        self.store.deployments.tell(tally.count)
        inspector = Inspector(
            settings=self.settings, store=self.store, observer=self.observer, engine=self.engine, clock=self.clock
        )
        self.deps = Deps(
            settings=self.settings,
            operations=self.operations,
            inspector=inspector,
            store=self.store,
            clock=self.clock,
            notifier=self.notifier,
            edits=self.edits,
            dns=self.dns,
            lender=Lender(
                settings=self.settings, keys=HostKeys(), roles=self.sts, token=self.edge.token, clock=self.clock
            ),
            metadata=Metadata(
                settings=self.settings, store=self.store, engine=self.engine, roles=self.roles, clock=self.clock
            ),
            doctor=self.doctor,
            vitals=self.vitals,
            figures=Figures(
                settings=self.settings,
                store=self.store,
                load=self.controller.load,
                vitals=self.vitals,
                caretaker=self.caretaker,
                tally=tally,
                host=host,
                findings=lambda: () if (last := self.doctor.last) is None else last.findings,
            ),
            spot=self.spot,
        )
        self.web = WebServer(create_app(self.deps))

    def _poke(self, project: str) -> None:
        self.poller.poke(project)

    def _reclaim(self, directory: Path) -> None:
        """Containers write into checkouts as root; a helper container makes the files ours again."""
        self.engine.own_tree(directory, uid=os.getuid(), gid=os.getgid())


def instance() -> imds.Imds:
    """The metadata service of this host."""
    return imds.Imds(os.environ.get(imds.VARIABLE, imds.ENDPOINT))


def _tell_of_host(found: Examination) -> None:
    """What is new, where an operator looks: in the log, and in what `systemctl status` shows."""
    write = log.info if found.verdict is Verdict.OK else log.warning
    write("doctor", summary=found.summary)
    systemd.status(f"doctor: {found.summary}; see `butai doctor`")
