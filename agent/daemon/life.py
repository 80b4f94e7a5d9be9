"""The agent's life: starts the threads of all parts, waits, takes up changed settings, stops.

There is no resume code: the next start looks at the world and goes on (DESIGN 12).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

import structlog

from agent import config, logs
from agent.adapters import host, systemd, watch
from agent.config import Settings
from agent.daemon.parts import Parts
from agent.errors import AgentError, ConfigError, OutsideError, StateError
from agent.model.labels import ROLE, SLUG
from agent.model.names import Slug
from agent.planning import edge

log = structlog.get_logger(__name__)

_EDGE_AGAIN_S = 60.0
_RECONNECT_S = 1.0
_TELLING = ("die", "oom", "destroy", "health_status")  # what people, crashes and health checks do to containers


class Daemon:
    """One agent, from its start to its end."""

    def __init__(self, config_path: Path, settings: Settings) -> None:
        self._config_path = config_path
        self._current = settings
        self.exit_code = 0
        self._stop = Event()
        self._reload = Event()
        self._edge_changed = Event()
        self.parts = Parts(self.settings)

    def run(self) -> None:
        """Serve, reconcile and watch until told to stop; then let go of everything within the deadline."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        self.parts.web.serve_socket(self.settings().server.socket)
        threads = [
            self._thread("controller", self.parts.controller.run),
            self._thread("events", self._follow_events),
            self._thread("edge", self._keep_edge),
            self._thread("config", self._watch_config),
            self._thread("notifier", lambda: self.parts.notifier.run(self._stop)),
            self._thread("poller", lambda: self.parts.poller.run(self._stop)),
            self._thread("dns", lambda: self.parts.dns.run(self._stop)),
            self._thread("firewall", lambda: self.parts.firewall.run(self._stop)),
            self._thread("roles", lambda: self.parts.roles.run(self._stop)),
            self._thread("doctor", lambda: self.parts.doctor.run(self._stop)),
            self._thread("vitals", lambda: self.parts.vitals.run(self._stop)),
            self._thread("caretaker", lambda: self.parts.caretaker.run(self._stop)),
            self._thread("spot", lambda: self.parts.spot.run(self._stop)),
            self._thread("edits", lambda: self.parts.edits_loop.run(watch.events, self._stop)),
        ]
        if host.booted_since(self._current.state_dir):
            self.parts.operations.recover("the host was started again")
        host.remember_boot(self._current.state_dir)
        self.parts.wake_all()
        systemd.ready()
        log.info("ready", domain=self.settings().domain, projects=sorted(self.settings().projects))
        while not self._stop.wait(1.0):
            if self._reload.is_set():
                self._reload.clear()
                self.reload()
        systemd.stopping()
        self.parts.deps.stopping.set()
        self.parts.firewall.poke()
        self.parts.roles.poke()
        self.parts.web.close()
        self.parts.controller.stop()
        for thread in threads:
            thread.join(timeout=10)
        self.parts.git.close()
        self.parts.store.close()
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
        self.parts.firewall.poke()
        self.parts.roles.poke()
        self.parts.wake_all()

    def settings(self) -> Settings:
        """The settings in force now: every part asks again, since they change while the agent runs."""
        return self._current

    def _tell_settings(self, text: str, lines: list[str]) -> None:
        self.parts.store.events.add(
            "settings", caller="agent", text=text, now=self.parts.clock.now(), data={"lines": lines}
        )

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

    def _follow_events(self) -> None:
        """Container events make reactions fast; the passes in between make them sure."""
        lost = False
        while not self._stop.is_set():
            try:
                self.parts.engine.version()
                self.parts.curtain.fall()
                if lost:
                    self.parts.firewall.poke()
                    self.parts.operations.recover("Docker was away")
                for event in self.parts.engine.events(self._stop.is_set):
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
            self.parts.attempts.died(str(actor.get("ID", "")))
        if action in _TELLING and slug:
            self.parts.controller.nudge(Slug(slug))

    def _keep_edge(self) -> None:
        """Traefik runs and the agent listens where Traefik reaches it, whatever happens to either."""
        while not self._stop.is_set():
            pause = _EDGE_AGAIN_S
            try:
                if self.parts.edge.ensure():
                    self.parts.wake_all()
                address, port = edge.agent_address(self.settings())
                self.parts.web.serve_tcp(address, port)
            except AgentError as error:
                log.warning("the edge is not up", error=str(error))
                pause = 5.0
            self._edge_changed.wait(pause)
            self._edge_changed.clear()

    def _watch_config(self) -> None:
        for _ in watch.changes(lambda: config.files(self._config_path, self._current), stop=self._stop):
            self._reload.set()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
        self._edge_changed.set()

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self._reload.set()
