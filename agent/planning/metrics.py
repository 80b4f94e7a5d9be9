"""Every figure that the agent gives Prometheus, and the text in which it does.

The text is version 0.0.4 of Prometheus' exposition format. What is not in CATALOGUE is not given: the documents, the
dashboard and the alerts are held to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agent.model.deployment import Deployment
from agent.model.environment import Environment, Wanted

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
DURATION = "butai_deployment_duration_seconds"

_BUILDS = frozenset({"build", "pull"})
_RESTARTS = frozenset({"create", "start", "restart", "delta"})


class Type(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    type: Type
    help: str
    labels: tuple[str, ...] = ()


@dataclass(slots=True)
class Histogram:
    """How many values were at most each of BUCKETS_S, and of any size."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total: float = 0.0

    def add(self, value: float) -> None:
        self.counts[next((place for place, most in enumerate(BUCKETS_S) if value <= most), len(BUCKETS_S))] += 1
        self.total += value


Values = Mapping[tuple[str, ...], float]  # by the values of the labels, in their order
Figures = Mapping[str, Values]
Durations = Mapping[tuple[str, ...], Histogram]


def _gauge(help_: str, *labels: str) -> Metric:
    return Metric(Type.GAUGE, help_, labels)


def _counter(help_: str, *labels: str) -> Metric:
    return Metric(Type.COUNTER, help_, labels)


CATALOGUE: Mapping[str, Metric] = {
    "butai_info": _gauge("1; its label is the version of the agent.", "version"),
    "butai_ready": _gauge("Whether a part that the agent needs can be used, as /readyz says.", "part"),
    "butai_environments": _gauge(
        "Environments by what became of them: ready, deploying, failed, asleep or removing.", "state"
    ),
    "butai_deployments_unfinished": _gauge("Deployments that go on now, by their phase.", "phase"),
    DURATION: Metric(
        Type.HISTOGRAM,
        "Time from request to end of the deployments that ended since the start: build, restart, sync or nothing.",
        ("kind", "result"),
    ),
    "butai_reconcile_due": _gauge("Environments that wait for a worker."),
    "butai_reconcile_lag_seconds": _gauge("For how long the first of them has waited."),
    "butai_reconcile_failing": _gauge("Environments whose last look failed; each is looked at again."),
    "butai_workers_busy": _gauge("Environments that are worked on now."),
    "butai_workers": _gauge("Environments that may be worked on at the same time."),
    "butai_messages_waiting": _gauge("Messages to Slack that are not delivered yet."),
    "butai_remote_listed_timestamp_seconds": _gauge("When a project's remote was read last.", "project"),
    "butai_engine_up": _gauge("Whether Docker answered at the last look."),
    "butai_engine_answer_seconds": _gauge("How long it took to."),
    "butai_engine_containers": _gauge("Containers on the engine, ours or not.", "state"),
    "butai_engine_images": _gauge("Images on the engine, ours or not."),
    "butai_build_cache_bytes": _gauge("Size of the engine's build cache when it was last looked after."),
    "butai_traefik_up": _gauge("Whether Traefik answered at the last look."),
    "butai_disk_size_bytes": _gauge(
        "Size of a disk: `state` has the state directory, `engine` Docker's, `images` containerd's.", "place"
    ),
    "butai_disk_free_bytes": _gauge("Free space on it.", "place"),
    "butai_disk_inodes": _gauge("How many files it has room for.", "place"),
    "butai_disk_free_inodes": _gauge("How many more.", "place"),
    "butai_disk_nearly_full": _gauge("1 while nothing new goes on stage for lack of room."),
    "butai_host_findings": _gauge(
        "What `butai doctor` finds, at the agent's last look: failure, warning, unknown, ok or not-applicable.",
        "verdict",
    ),
    "butai_removed_total": _counter(
        "What was cleaned away: image, tag, step_log, backup, deployment or event.", "what"
    ),
    "butai_build_cache_freed_bytes_total": _counter("What was cut off the build cache."),
    "butai_care_failing": _gauge("1 while something of what the agent does for itself fails.", "task"),
    "butai_backup_timestamp_seconds": _gauge("When the newest copy of the database was made; 0 when there is none."),
    "process_cpu_seconds_total": _counter("Processor time that the agent has taken."),
    "process_resident_memory_bytes": _gauge("Memory that the agent takes."),
    "process_start_time_seconds": _gauge("When the agent was started."),
    "process_open_fds": _gauge("Files and connections that the agent has open."),
    "process_threads": _gauge("Threads of the agent."),
}


def state_of(environment: Environment, newest: Deployment | None) -> str:
    """In one word what a person would say of it. `newest` is its newest deployment."""
    if environment.wanted is Wanted.ABSENT:
        return "removing"
    if environment.wanted is Wanted.ASLEEP:
        return "asleep"
    if newest is None or not newest.phase.final:
        return "deploying"
    return "failed" if newest.failure is not None else "ready"


def kind_of(deployment: Deployment) -> str:
    """What it took, by the most expensive of its steps."""
    steps = deployment.timings.keys()
    if steps & _BUILDS:
        return "build"
    if steps & _RESTARTS:
        return "restart"
    return "sync" if "sync" in steps else "nothing"


def render(figures: Figures, durations: Durations) -> str:
    """The text. ValueError for a figure that is not in the catalogue or has other labels: a mistake of ours."""
    lines: list[str] = []
    for name in figures:
        if name not in CATALOGUE:
            raise ValueError(f"{name} is not in the catalogue")
    for name, metric in CATALOGUE.items():
        values = figures.get(name, {})
        if metric.type is Type.HISTOGRAM:
            samples = [line for key, found in durations.items() for line in _histogram(name, metric, key, found)]
        else:
            samples = [_sample(name, metric.labels, key, value) for key, value in values.items()]
        if samples:
            lines += [f"# HELP {name} {_escaped(metric.help)}", f"# TYPE {name} {metric.type}", *samples]
    return "\n".join(lines) + "\n"


def _histogram(name: str, metric: Metric, key: tuple[str, ...], found: Histogram) -> Iterable[str]:
    labels = (*metric.labels, "le")
    so_far = 0
    for most, count in zip((*BUCKETS_S, math.inf), found.counts, strict=True):
        so_far += count
        yield _sample(f"{name}_bucket", labels, (*key, _number(most)), so_far)
    yield _sample(f"{name}_sum", metric.labels, key, found.total)
    yield _sample(f"{name}_count", metric.labels, key, so_far)


def _sample(name: str, labels: Sequence[str], key: tuple[str, ...], value: float) -> str:
    pairs = ",".join(f'{label}="{_escaped(text, quoted=True)}"' for label, text in zip(labels, key, strict=True))
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
