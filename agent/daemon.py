"""The composition root: builds every part once, starts the threads, waits, stops.

There is no resume code: the next start looks at the world and goes on (DESIGN 12).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

import structlog

from agent import config, logs
from agent.adapters import frontdoor, host, hostfacts, imds, iptables, lock, probe, sysctl, systemd, watch
from agent.adapters.clock import SystemClock
from agent.adapters.compose import ComposeCli
from agent.adapters.docker import DockerEngine, Recipes
from agent.adapters.git import GitMirrors
from agent.adapters.nameservers import NameServers
from agent.adapters.route53 import HostKeys, Route53
from agent.adapters.slack import Slack
from agent.adapters.traefik import Traefik
from agent.config import Settings
from agent.errors import AgentError, ConfigError, OutsideError, StateError
from agent.model.environment import Environment
from agent.model.finding import Verdict
from agent.model.labels import ROLE, SLUG
from agent.model.names import Slug
from agent.planning import edge, routing
from agent.runtime.attempts import Attempts
from agent.runtime.build import Builder
from agent.runtime.caretaker import Caretaker
from agent.runtime.controller import Controller
from agent.runtime.create import Creator
from agent.runtime.decider import Decider
from agent.runtime.dns import DnsKeeper
from agent.runtime.doctor import Doctor, Examination
from agent.runtime.drains import Drains
from agent.runtime.edits import Edits
from agent.runtime.executor import Executor
from agent.runtime.figures import Figures
from agent.runtime.firewall import FirewallKeeper
from agent.runtime.inspect import Inspector
from agent.runtime.lending import Lender
from agent.runtime.livesync import Livesync
from agent.runtime.notifier import Notifier
from agent.runtime.observer import Observer
from agent.runtime.operations import Operations
from agent.runtime.poller import Poller
from agent.runtime.reader import Reader
from agent.runtime.rebuild import rebuild
from agent.runtime.reconciler import Reconciler
from agent.runtime.record import Record
from agent.runtime.refresh import Refresher
from agent.runtime.spot import SpotWatch
from agent.runtime.tally import Tally
from agent.runtime.timings import Timings
from agent.runtime.vitals import Vitals
from agent.store import Store
from agent.web.app import create_app
from agent.web.deps import Deps
from agent.web.server import WebServer

log = structlog.get_logger(__name__)

_EDGE_AGAIN_S = 60.0
_RECONNECT_S = 1.0
_TELLING = ("die", "oom", "destroy", "health_status")  # what people, crashes and health checks do to containers


def main(config_path: Path) -> int:
    """Run the agent until SIGTERM or SIGINT. ConfigError and StateError refuse to start."""
    settings = config.load(config_path)
    logs.configure(settings)
    with lock.only_one(settings.state_dir):
        daemon = Daemon(config_path, settings)
        daemon.run()
    return daemon.exit_code


def rebuild_database(settings: Settings) -> tuple[Environment, ...]:
    """Read lost environments back from Docker's labels; the agent must not be running (StateError).

    May be run as root: what it makes belongs to the owner of the state directory.
    """
    with lock.only_one(settings.state_dir):
        try:
            engine = DockerEngine(settings.docker.host, settings.instance)
            store = Store.open(settings.state_dir / "butai.db")
            traefik = Traefik(lambda: settings, engine=engine, routing=routing, layout=edge)
            found = rebuild(settings=settings, store=store, engine=engine, edge=traefik, clock=SystemClock())
            store.close()
        finally:
            host.hand_over(settings.state_dir)
    return found


def doctor(settings: Settings) -> Doctor:
    """Looks at this host without an agent, with the rights of whoever asks; nothing is begun and nothing changed."""
    return Doctor(
        settings=lambda: settings,
        clock=SystemClock(),
        host=hostfacts,
        engine=DockerEngine(settings.docker.host, settings.instance),
        compose=ComposeCli(settings.docker.host),
        instance=_instance(),
        door=frontdoor,
    )


def fix(repairs: Mapping[str, int]) -> None:
    """Raise these settings of the kernel, for now and for good. RequestError: only root may."""
    sysctl.raise_to(repairs)


def _tell_of_host(found: Examination) -> None:
    """What is new, where an operator looks: in the log, and in what `systemctl status` shows."""
    write = log.info if found.verdict is Verdict.OK else log.warning
    write("doctor", summary=found.summary)
    systemd.status(f"doctor: {found.summary}; see `butai doctor`")


def _instance() -> imds.Imds:
    return imds.Imds(os.environ.get(imds.VARIABLE, imds.ENDPOINT))


class Daemon:
    """Every long-lived object, built here and nowhere else."""

    def __init__(self, config_path: Path, settings: Settings) -> None:
        self._config_path = config_path
        self._current = settings
        self.exit_code = 0
        self._stop = Event()
        self._reload = Event()
        self._edge_changed = Event()
        self._build_world(settings)
        self._build_runtime()
        self._build_web()

    def run(self) -> None:
        """Serve, reconcile and watch until told to stop; then let go of everything within the deadline."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        self._web.serve_socket(self.settings().server.socket)
        threads = [
            self._thread("controller", self.controller.run),
            self._thread("events", self._follow_events),
            self._thread("edge", self._keep_edge),
            self._thread("config", self._watch_config),
            self._thread("notifier", lambda: self.notifier.run(self._stop)),
            self._thread("poller", lambda: self.poller.run(self._stop)),
            self._thread("dns", lambda: self.dns.run(self._stop)),
            self._thread("firewall", lambda: self.firewall.run(self._stop)),
            self._thread("doctor", lambda: self.doctor.run(self._stop)),
            self._thread("vitals", lambda: self.vitals.run(self._stop)),
            self._thread("caretaker", lambda: self.caretaker.run(self._stop)),
            self._thread("spot", lambda: self.spot.run(self._stop)),
            self._thread("edits", lambda: self.edits.run(watch.events, self._stop)),
        ]
        if host.booted_since(self._current.state_dir):
            self.operations.recover("the host was started again")
        self._wake_all()
        systemd.ready()
        log.info("ready", domain=self.settings().domain, projects=sorted(self.settings().projects))
        while not self._stop.wait(1.0):
            if self._reload.is_set():
                self._reload.clear()
                self.reload()
        systemd.stopping()
        self._deps.stopping.set()
        self.firewall.poke()
        self._web.close()
        self.controller.stop()
        for thread in threads:
            thread.join(timeout=10)
        self.git.close()
        self.store.close()
        log.info("stopped")

    def reload(self) -> None:
        """Take up a changed file; a bad one leaves the old settings in force and says every problem."""
        old = self.settings()
        try:
            new = config.load(self._config_path)
        except ConfigError as error:
            for problem in error.problems:
                log.warning("settings not taken up", path=problem.path, problem=problem.message, hint=problem.hint)
            self._tell_settings(
                f"settings not taken up, the old ones stay in force: {len(error.problems)} problems",
                [str(problem) for problem in error.problems],
            )
            return
        if new == old:
            return
        waiting = config.needs_restart(old, new)
        self._current = config.keep(old, new)
        logs.configure(self._current)
        log.info("settings taken up", need_a_restart=list(waiting))
        self._tell_settings("settings taken up", [f"{path}: needs a restart of the agent" for path in waiting])
        self._edge_changed.set()
        self.firewall.poke()
        self._wake_all()

    def settings(self) -> Settings:
        """The settings in force now: every part asks again, since they change while the agent runs."""
        return self._current

    def _tell_settings(self, text: str, lines: list[str]) -> None:
        self.store.events.add("settings", caller="agent", text=text, now=self._clock.now(), data={"lines": lines})

    def _build_world(self, settings: Settings) -> None:
        self._clock = SystemClock()
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
            clock=self._clock,
            traefik_answers=self.edge.answers,
        )

    def _build_runtime(self) -> None:
        self.notifier = Notifier(store=self.store, slack=self.slack, settings=self.settings, clock=self._clock)
        self.attempts = Attempts(self._clock)
        timings = Timings(self._clock)
        self.reader = Reader(git=self.git, compose=self.compose, settings=self.settings)
        self.refresher = Refresher(
            git=self.git, store=self.store, clock=self._clock, notifier=self.notifier, poke=self._poke
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
            git=self.git, engine=self.engine, store=self.store, attempts=self.attempts, clock=self._clock
        )
        self.observer = Observer(
            settings=self.settings,
            git=self.git,
            engine=self.engine,
            edge=self.edge,
            reader=self.reader,
            attempts=self.attempts,
            clock=self._clock,
            probe=probe.accepts,
            store=self.store,
            decider=Decider(git=self.git, recipes=Recipes()),
            builder=builder,
            livesync=livesync,
            drains=Drains(engine=self.engine, clock=self._clock),
        )
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
            attempts=self.attempts,
        )
        record = Record(
            store=self.store,
            attempts=self.attempts,
            timings=timings,
            notifier=self.notifier,
            clock=self._clock,
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
            clock=self._clock,
            instance=_instance(),
            on_ec2=hostfacts.is_ec2,
            resumed=self._wake_all,
        )
        self.controller = Controller(
            settings=self.settings,
            store=self.store,
            reconciler=reconciler,
            record=record,
            refresher=self.refresher,
            clock=self._clock,
            alive=systemd.alive,
            admit=self.spot.admit,
        )
        self.operations = Operations(
            settings=self.settings,
            store=self.store,
            clock=self._clock,
            wake=self.controller.wake,
            poke=self._poke,
            expect=self.git.expect,
            shortage=self.vitals.shortage,
        )
        self.edits = Edits(
            settings=self.settings,
            store=self.store,
            git=self.git,
            clock=self._clock,
            release=self.observer.release,
            wake=self.controller.wake,
        )
        self.poller = Poller(
            settings=self.settings, store=self.store, git=self.git, operations=self.operations, clock=self._clock
        )
        self.dns = DnsKeeper(
            settings=self.settings,
            store=self.store,
            clock=self._clock,
            zones=Route53(),
            instance=_instance(),
            servers=NameServers(),
            us=lambda: host.identity(self.settings().state_dir),
        )

        self.firewall = FirewallKeeper(settings=self.settings, firewall=iptables)
        self.doctor = Doctor(
            settings=self.settings,
            clock=self._clock,
            host=hostfacts,
            engine=self.engine,
            compose=self.compose,
            instance=_instance(),
            door=frontdoor,
            records=self.dns,
            slack=self.slack,
            wall=self.firewall,
            told=_tell_of_host,
        )
        self.caretaker = Caretaker(
            settings=self.settings,
            store=self.store,
            engine=self.engine,
            host=host,
            clock=self._clock,
            shortage=self.vitals.shortage,
        )

    def _build_web(self) -> None:
        tally = Tally()
        self.store.deployments.tell(tally.count)
        inspector = Inspector(
            settings=self.settings, store=self.store, observer=self.observer, engine=self.engine, clock=self._clock
        )
        self._deps = Deps(
            settings=self.settings,
            operations=self.operations,
            inspector=inspector,
            store=self.store,
            clock=self._clock,
            notifier=self.notifier,
            edits=self.edits,
            dns=self.dns,
            lender=Lender(settings=self.settings, keys=HostKeys(), token=self.edge.token, clock=self._clock),
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
            ),
            spot=self.spot,
        )
        self._web = WebServer(create_app(self._deps))

    def _poke(self, project: str) -> None:
        self.poller.poke(project)

    def _thread(self, name: str, act: Callable[[], None]) -> Thread:
        thread = Thread(target=self._guarded, args=(name, act), name=name, daemon=True)
        thread.start()
        return thread

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        """A main loop that ends by an error ends the agent: systemd starts a whole one again."""
        try:
            act()
        except Exception:
            log.exception("a main loop ended", loop=name)
            self.exit_code = StateError.exit_code
            self._stop.set()

    def _wake_all(self) -> None:
        for environment in self.store.environments.all():
            self.controller.wake(environment.slug)

    def _follow_events(self) -> None:
        """Container events make reactions fast; the passes in between make them sure."""
        lost = False
        while not self._stop.is_set():
            try:
                self.engine.version()
                if lost:
                    self.firewall.poke()
                    self.operations.recover("Docker was away")
                for event in self.engine.events(self._stop.is_set):
                    self._on_event(event)
            except OutsideError as error:
                log.warning("no events from docker", error=str(error))
            lost = True
            self._stop.wait(_RECONNECT_S)

    def _on_event(self, event: Mapping[str, Any]) -> None:
        actor = event.get("Actor", {})
        action = str(event.get("Action", "")).partition(":")[0]
        labels = actor.get("Attributes", {})
        slug = labels.get(SLUG)
        if action in _TELLING and labels.get(ROLE) == "edge":
            self._edge_changed.set()
        if action == "die":
            self.attempts.died(str(actor.get("ID", "")))
        if action in _TELLING and slug:
            self.controller.nudge(Slug(slug))

    def _keep_edge(self) -> None:
        """Traefik runs and the agent listens where Traefik reaches it, whatever happens to either."""
        while not self._stop.is_set():
            pause = _EDGE_AGAIN_S
            try:
                if self.edge.ensure():
                    self._wake_all()
                address, port = edge.agent_address(self.settings())
                self._web.serve_tcp(address, port)
            except AgentError as error:
                log.warning("the edge is not up", error=str(error))
                pause = 5.0
            self._edge_changed.wait(pause)
            self._edge_changed.clear()

    def _watch_config(self) -> None:
        for _ in watch.changes(lambda: config.files(self._config_path, self._current), stop=self._stop):
            self._reload.set()

    def _reclaim(self, directory: Path) -> None:
        """Containers write into checkouts as root; a helper container makes the files ours again."""
        self.engine.own_tree(directory, uid=os.getuid(), gid=os.getgid())

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
        self._edge_changed.set()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload.set()
