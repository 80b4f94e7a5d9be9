"""Gathers what `/metrics` says, from what the parts know already: nobody is asked anything that may be slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from importlib.metadata import version

from agent.config import Settings
from agent.model.deployment import Phase
from agent.model.finding import Finding, Verdict
from agent.planning import metrics
from agent.planning.metrics import Values
from agent.runtime.care_ports import Host
from agent.runtime.caretaker import JOBS, Caretaker
from agent.runtime.controller import Load
from agent.runtime.tally import Tally
from agent.runtime.vitals import Vitals
from agent.store import Store

_STATES = ("ready", "deploying", "failed", "asleep", "removing")
_PHASES = tuple(str(phase) for phase in Phase if not phase.final)


class Figures:
    """`text` may be called from any thread."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        load: Callable[[], Load],
        vitals: Vitals,
        caretaker: Caretaker,
        tally: Tally,
        host: Host,
        findings: Callable[[], Iterable[Finding]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._load = load
        self._vitals = vitals
        self._caretaker = caretaker
        self._tally = tally
        self._host = host
        self._findings = findings
        self._version = version("butai")  # which reads a file

    def text(self) -> str:
        """All figures, in Prometheus' words. Raises what the store raises."""
        figures: dict[str, Values] = {
            "butai_info": {(self._version,): 1.0},
            "butai_ready": {(part.name,): float(not part.problem) for part in self._vitals.parts()},
            **self._of_environments(),
            **self._of_work(),
            **self._of_world(),
            **self._of_care(),
            "butai_host_findings": self._of_host(),
            **{name: {(): value} for name, value in self._host.own_figures().items()},
        }
        return metrics.render(figures, self._tally.durations())

    def _of_host(self) -> Values:
        found = Counter(finding.verdict for finding in self._findings())
        return {(verdict,): found[verdict] for verdict in Verdict} if found else {}

    def _of_environments(self) -> dict[str, Values]:
        found = [(each, self._store.deployments.last(each.slug)) for each in self._store.environments.all()]
        states = Counter(metrics.state_of(each, newest) for each, newest in found)
        phases = Counter(str(newest.phase) for _, newest in found if newest is not None)
        return {
            "butai_environments": {(state,): float(states[state]) for state in _STATES},
            "butai_deployments_unfinished": {(phase,): float(phases[phase]) for phase in _PHASES},
        }

    def _of_work(self) -> dict[str, Values]:
        load, store = self._load(), self._store
        listed = {name: store.branches.at(name) for name in self._settings().projects}
        return {
            "butai_reconcile_due": {(): load.due},
            "butai_reconcile_lag_seconds": {(): load.lag_s},
            "butai_reconcile_failing": {(): load.failing},
            "butai_workers_busy": {(): load.working},
            "butai_workers": {(): self._settings().limits.workers},
            "butai_messages_waiting": {(): store.outbox.waiting()},
            "butai_remote_listed_timestamp_seconds": {
                (name,): at.timestamp() for name, at in listed.items() if at is not None
            },
        }

    def _of_world(self) -> dict[str, Values]:
        look = self._vitals.last
        engine = look.engine
        return {
            "butai_engine_up": {(): float(not look.engine_problem)},
            "butai_engine_answer_seconds": {(): look.engine_s},
            "butai_engine_containers": {(state,): n for state, n in engine.containers.items()} if engine else {},
            "butai_engine_images": {(): engine.images} if engine else {},
            "butai_traefik_up": {(): float(not look.traefik_problem)},
            "butai_disk_size_bytes": {(disk.place,): disk.size_bytes for disk in look.disks},
            "butai_disk_free_bytes": {(disk.place,): disk.free_bytes for disk in look.disks},
            "butai_disk_inodes": {(disk.place,): disk.inodes for disk in look.disks},
            "butai_disk_free_inodes": {(disk.place,): disk.free_inodes for disk in look.disks},
            "butai_disk_nearly_full": {(): float(look.shortage is not None)},
        }

    def _of_care(self) -> dict[str, Values]:
        caretaker, failing = self._caretaker, self._caretaker.failing()
        backup_at = caretaker.last_backup_at()
        return {
            "butai_build_cache_bytes": {} if caretaker.cache_bytes is None else {(): caretaker.cache_bytes},
            "butai_build_cache_freed_bytes_total": {(): caretaker.freed_bytes},
            "butai_removed_total": {(what,): count for what, count in caretaker.removed.items()},
            "butai_care_failing": {(job,): float(job in failing) for job in JOBS},
            "butai_backup_timestamp_seconds": {(): backup_at.timestamp() if backup_at else 0.0},
        }
