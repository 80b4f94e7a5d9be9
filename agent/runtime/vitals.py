"""How the parts fare that the agent needs: database, Docker, Traefik, what the remotes said, and room on the disks.

A thread of its own asks those that may be slow; whoever wants to know gets the last answer at once, and is told when
one is overdue. So a Docker that hangs makes nobody else hang.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Event

import structlog

from agent.config import Settings
from agent.errors import AgentError, OutsideError
from agent.model.care import Disk, EngineFigures, Part, Shortage
from agent.planning import care
from agent.runtime.care_ports import CareEngine, Host
from agent.runtime.ports import Clock
from agent.store import Store

log = structlog.get_logger(__name__)

_TICK_S = 1.0  # how late changed settings may be noticed
_LOOK_S = 15.0
_AGAIN_S = 2.0  # while something is away
_PATIENCE_S = 5.0  # an engine that takes longer to tell about itself is of no use for a deployment


@dataclass(frozen=True, slots=True)
class Look:
    """What was found the last time; `engine_problem` and `traefik_problem` in words, "" when all is well."""

    disks: tuple[Disk, ...] = ()
    shortage: Shortage | None = None
    engine: EngineFigures | None = None
    engine_problem: str = "Docker was not asked yet."
    engine_s: float = 0.0
    traefik_problem: str = "Traefik was not asked yet."


class Vitals:
    """`run` is a thread's main loop; `last`, `shortage` and `parts` may be called from any thread."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        engine: CareEngine,
        host: Host,
        clock: Clock,
        traefik_answers: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._host = host
        self._clock = clock
        self._traefik_answers = traefik_answers
        self._last = Look()
        self._asked_at: float | None = None  # monotonic, while the engine is being asked
        self._engine_places: Mapping[str, str] = {}

    def run(self, stop: Event) -> None:
        """Look again and again, until told to stop."""
        while not stop.is_set():
            before = self._settings().care
            due = self._clock.monotonic() + self._guarded_look()
            while self._clock.monotonic() < due and self._settings().care == before:
                if stop.wait(_TICK_S):
                    return

    def _guarded_look(self) -> float:
        """After how many seconds to look again."""
        try:
            look = self.look()
        except Exception:  # stages are served and pushed to without this: it must not end the agent
            log.exception("a look at the agent's parts failed by a mistake of ours")
            self._last = replace(self._last, engine_problem="The last look at it failed by a mistake of ours.")
            return _LOOK_S
        return _AGAIN_S if look.engine_problem or look.traefik_problem else _LOOK_S

    def look(self) -> Look:
        """Ask everything once. The engine comes last, as it is what may hang."""
        self._measure()
        traefik_problem = "" if self._traefik_answers() else "Traefik does not answer."
        self._last = replace(self._last, traefik_problem=traefik_problem)
        asked_at = self._asked_at = self._clock.monotonic()
        engine, problem = None, ""
        try:
            engine = self._engine.figures()
        except OutsideError as error:
            problem = error.message
        finally:
            self._asked_at = None
        took_s = self._clock.monotonic() - asked_at
        self._last = replace(self._last, engine=engine, engine_problem=problem, engine_s=took_s)
        if engine is not None and engine.places != self._engine_places:
            self._engine_places = engine.places  # kept while Docker is away
            self._measure()
        return self._last

    @property
    def last(self) -> Look:
        return self._last

    def shortage(self) -> Shortage | None:
        """Which disk is nearly full; None while there is room."""
        return self._last.shortage

    def parts(self) -> tuple[Part, ...]:
        """Each part and, in words, why it cannot be used."""
        return (
            Part("database", self._database_problem()),
            Part("engine", self._engine_problem()),
            Part("traefik", self._last.traefik_problem),
            Part("git", self._git_problem()),
        )

    def _measure(self) -> None:
        settings = self._settings()
        disks = self._host.disks(care.places(settings, self._engine_places))
        self._last = replace(self._last, disks=disks, shortage=care.shortage(disks, settings.care))

    def _database_problem(self) -> str:
        try:
            self._store.environments.all()
        except AgentError as error:
            return error.message
        return ""

    def _engine_problem(self) -> str:
        asked_at = self._asked_at
        waiting_s = 0.0 if asked_at is None else self._clock.monotonic() - asked_at
        if waiting_s > _PATIENCE_S:
            return f"Docker has not answered for {waiting_s:.0f} s."
        return self._last.engine_problem

    def _git_problem(self) -> str:
        """Whether every project was listed once; that a remote is away now and then is no reason not to be ready."""
        try:
            unknown = [name for name in sorted(self._settings().projects) if self._store.branches.at(name) is None]
        except AgentError as error:
            return error.message
        return f"Not read yet: the remotes of {', '.join(unknown)}." if unknown else ""
