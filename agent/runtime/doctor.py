"""Looks at this host and says what will bite: at the agent's start, each hour, and whenever somebody asks.

A thread of its own; nothing waits for it and nothing depends on what it finds. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event, Lock

import structlog

from agent.config import Settings
from agent.errors import AgentError, OutsideError, RequestError
from agent.model.facts import DoorFacts, Facts
from agent.model.finding import Finding, Verdict
from agent.planning import care
from agent.planning import doctor as planning
from agent.planning.doctor_host import SYSCTLS
from agent.planning.edge import agent_hostname, container_name, probe_address
from agent.runtime.doctor_ports import (
    Compose,
    Disks,
    Engine,
    FrontDoor,
    Host,
    Instance,
    Messenger,
    Records,
    Roles,
    Wall,
)
from agent.runtime.ports import Clock

log = structlog.get_logger(__name__)

_AGAIN_S = 3_600.0  # a certificate ends and a disk fills while the agent runs
_SOON_S = 300.0  # while something fails: who has repaired it wants to hear so
_SETTLE_S = 15.0  # in which Traefik comes up, which would else be told as missing
_ENGINE_PLACES = {"engine": "/var/lib/docker"}  # of one that does not answer: a full disk may be the reason


@dataclass(frozen=True, slots=True)
class Examination:
    """What one look at the host found, in the order in which to repair it."""

    at: datetime
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        return planning.worst(self.findings)

    @property
    def summary(self) -> str:
        return planning.summary(self.findings)

    @property
    def repairs(self) -> dict[str, int]:
        """Kernel settings that `--fix` raises, and to what."""
        return planning.repairs(self.findings)


class Doctor:
    """`run` is a thread's main loop; the rest may be called from any thread. `told` hears of every change."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        clock: Clock,
        host: Host,
        disks: Disks,
        engine: Engine,
        compose: Compose,
        instance: Instance,
        door: FrontDoor,
        records: Records | None = None,
        slack: Messenger | None = None,
        wall: Wall | None = None,
        roles: Roles | None = None,
        told: Callable[[Examination], None] = lambda _: None,
        settle_s: float = _SETTLE_S,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._host = host
        self._disks = disks
        self._engine = engine
        self._compose = compose
        self._instance = instance
        self._door = door
        self._records = records
        self._slack = slack
        self._wall = wall
        self._roles = roles
        self._told = told
        self._settle_s = settle_s
        self._looking = Lock()  # several people who ask at once are answered one after the other
        self._last: Examination | None = None

    @property
    def last(self) -> Examination | None:
        """What the last look found; None before the first."""
        return self._last

    def run(self, stop: Event) -> None:
        """Look once the agent has settled, then each hour, while something fails more often, until told to stop."""
        pause_s = self._settle_s
        while not stop.wait(pause_s):
            pause_s = _AGAIN_S
            try:
                if self.look().verdict is Verdict.FAILURE:
                    pause_s = _SOON_S
            except Exception:  # stages are served without this: it must not end the agent
                log.exception("a look at the host failed by a mistake of ours")

    def look(self) -> Examination:
        """Gather and judge, just now. Takes seconds where somebody outside does not answer."""
        with self._looking:
            settings = self._settings()
            facts = self._gather(settings)
            found = Examination(facts.taken_at, planning.examine(facts, settings))
            before, self._last = self._last, found
        if before is None or before.summary != found.summary:
            self._told(found)
        return found

    def _gather(self, settings: Settings) -> Facts:
        host = self._host.gather(sysctls=SYSCTLS, docker_host=settings.docker.host)
        facts = Facts(
            taken_at=self._clock.now(),
            host=replace(host, compose=self._compose.version()),
            is_ec2=self._host.is_ec2(),
            door=self._visited(settings),
            wall_problem=None if self._wall is None else self._wall.problem,
            role_problems=None if self._roles is None else self._roles.problems,
        )
        if facts.is_ec2:
            facts = replace(facts, instance=self._instance.facts())
        places: Mapping[str, str] = _ENGINE_PLACES
        try:
            facts = replace(facts, engine=(engine := self._engine.facts(edge=container_name(settings))))
            places = engine.places
        except AgentError as error:
            facts = replace(facts, engine_problem=error.message)
        return replace(facts, disks=self._disks.disks(care.places(settings, places)))

    def _visited(self, settings: Settings) -> DoorFacts:
        name = agent_hostname(settings)
        secure = settings.scheme == "https"
        team, refusal = self._slack_team()
        return DoorFacts(
            addresses=self._door.addresses(name),
            status=self._door.status(settings.url(name)),
            certificate=self._door.certificate(probe_address(settings), name) if secure else None,
            slack_team=team,
            slack_refusal=refusal,
            records_problem=self._records_problem(settings),
        )

    def _slack_team(self) -> tuple[str | None, str]:
        if self._slack is None or not self._slack.can_post:
            return None, ""
        try:
            return self._slack.verify(), ""
        except OutsideError:
            return None, ""
        except RequestError as error:
            return "", error.message

    def _records_problem(self, settings: Settings) -> str | None:
        if settings.dns is None or self._records is None:
            return None
        try:
            look = self._records.look()
        except AgentError as error:  # the settings were changed meanwhile
            return error.message
        if look.problem is not None:
            return look.problem.message
        return f"To be done in the zone: {'; '.join(map(str, look.changes))}." if look.changes else ""
