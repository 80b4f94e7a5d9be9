"""The read side: what people and programs may see of an environment, looked up just now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread

from agent.config import Settings
from agent.errors import OutsideError, RequestError
from agent.model.deployment import Deployment, Phase
from agent.model.environment import Environment, Wanted
from agent.model.labels import INSTANCE, SLUG
from agent.model.names import Slug
from agent.model.observed import Container, Health, Observed
from agent.planning import reconcile
from agent.planning.plan import Plan
from agent.runtime.observer import Observer
from agent.runtime.ports import Clock, Engine, LogStream
from agent.runtime.steplog import log_path
from agent.store import Store


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `butai list`."""

    environment: Environment
    deployment: Deployment | None
    url: str
    summary: str
    services: str


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that `butai show` tells of one environment."""

    environment: Environment
    url: str
    urls: Mapping[str, str]
    summary: str
    deployment: Deployment | None
    previous: tuple[Deployment, ...]
    observed: Observed
    plan: Plan


class Inspector:
    """Answers questions; changes nothing."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        observer: Observer,
        engine: Engine,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._observer = observer
        self._engine = engine
        self._clock = clock

    def listing(self) -> tuple[Listed, ...]:
        """Every environment with its last deployment; one container list for the whole host."""
        by_slug: dict[str, list[Container]] = {}
        for container in self._engine.containers({INSTANCE: self._settings().instance, SLUG: ""}):
            by_slug.setdefault(container.label_slug, []).append(container)
        return tuple(
            self._listed(environment, by_slug.get(environment.slug, []))
            for environment in self._store.environments.all()
        )

    def show(self, slug: Slug) -> Shown:
        """RequestError 404 when there is no such environment."""
        environment = self._environment(slug)
        observed = self._observer.observe(environment, probing=True, tidying=True)
        history = self._store.deployments.history(slug, limit=6)
        settings = self._settings()
        urls = {}
        if observed.release is not None:
            for service in observed.release.services:
                if service.public and service.name != observed.release.entry_service:
                    urls[service.name] = settings.url(settings.hostname(slug, service.name))
        return Shown(
            environment=environment,
            url=settings.url(settings.hostname(slug)),
            urls=urls,
            summary=summary_of(environment, history[0] if history else None),
            deployment=history[0] if history else None,
            previous=tuple(history[1:]),
            observed=observed,
            plan=self._plan(environment, observed),
        )

    def plan(self, slug: Slug) -> Plan:
        """What the controller would do now; nothing is done."""
        environment = self._environment(slug)
        return self._plan(environment, self._observer.observe(environment, probing=True, tidying=True))

    def containers(self, slug: Slug) -> tuple[Container, ...]:
        self._environment(slug)
        return self._engine.containers({INSTANCE: self._settings().instance, SLUG: slug})

    def volumes(self, slug: Slug) -> tuple[str, ...]:
        """The volumes of its release, by the names its compose file uses; asks no outside system."""
        release = self._observer.release(self._environment(slug))
        return () if release is None else tuple(name.removeprefix(f"{release.stack}_") for name in release.volumes)

    def container(self, slug: Slug, service: str = "") -> Container:
        """The newest container of a service, the entry service's when none is named."""
        containers = self.containers(slug)
        names = sorted({container.service for container in containers})
        if not service:
            release = self._observer.release(self._environment(slug))
            only = names[0] if len(names) == 1 else ""
            service = release.entry_service if release is not None else only
        mine = [container for container in containers if container.service == service]
        if not mine:
            unknown = (
                f"Nobody knows which service of {slug} is its entry." if names else f"{slug} has no containers yet."
            )
            raise RequestError(
                f"No container of service `{service}` in {slug}." if service else unknown,
                hint=f"Services: {', '.join(names)}." if names else "See `butai show` for what it waits for.",
                code="no-such-service",
                http_status=404,
            )
        return max(mine, key=lambda container: (container.running, container.created_at))

    def logs(self, slug: Slug, *, service: str = "", tail: int = 100) -> list[tuple[str, str]]:
        """(service, line), oldest first across services, the last `tail` of each."""
        chosen = [self.container(slug, service)] if service else self.containers(slug)
        lines = [
            (line, container.service)
            for container in chosen
            for line in self._engine.logs(container.id, tail=tail, timestamps=True)
        ]
        lines.sort(key=lambda pair: pair[0].partition(" ")[0])
        return [(name, line.partition(" ")[2]) for line, name in lines]

    def follow(self, slug: Slug, *, service: str = "", tail: int = 10) -> Iterator[tuple[str, str]]:
        """(service, line) as they come, until the containers end or the iterator is closed."""
        chosen = [self.container(slug, service)] if service else self.containers(slug)
        return _merge(self._engine, chosen, tail=tail)

    def build_log(self, deployment_id: int, *, offset: int = 0) -> tuple[str, int]:
        """Text of the step log since `offset` bytes, and the next offset."""
        path = log_path(self._settings().state_dir, deployment_id)
        if not path.exists():
            return "", 0
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(1 << 20)
        return data.decode("utf-8", "replace"), offset + len(data)

    def _environment(self, slug: Slug) -> Environment:
        environment = self._store.environments.get(slug)
        if environment is None:
            raise RequestError(
                f"No environment `{slug}`.", hint="See `butai list`.", code="no-such-environment", http_status=404
            )
        return environment

    def _plan(self, environment: Environment, observed: Observed) -> Plan:
        return reconcile.plan(
            environment,
            self._store.deployments.current(environment.slug),
            observed,
            self._observer.context(environment),
        )

    def _listed(self, environment: Environment, containers: list[Container]) -> Listed:
        settings = self._settings()
        deployment = self._store.deployments.last(environment.slug)
        release = self._observer.release(environment) if environment.wanted is Wanted.RUNNING else None
        tasks = {spec.name for spec in release.services if spec.one_shot} if release is not None else set()
        well = sum(
            (container.running and container.health in (Health.NONE, Health.HEALTHY))
            or (container.service in tasks and container.exit_code == 0)
            for container in containers
        )
        return Listed(
            environment=environment,
            deployment=deployment,
            url=settings.url(settings.hostname(environment.slug)),
            summary=summary_of(environment, deployment),
            services=f"{well}/{len(containers)} up",
        )


def summary_of(environment: Environment, deployment: Deployment | None) -> str:
    """How an environment is, in a word or a line; from its rows alone."""
    edited = f", edited by {environment.edited_by}" if environment.edited is not None else ""
    return _state_of(environment, deployment) + edited


def _state_of(environment: Environment, deployment: Deployment | None) -> str:
    if environment.wanted is Wanted.ABSENT:
        return "being removed"
    if deployment is not None and not deployment.phase.final:
        return str(deployment.phase)
    if environment.wanted is Wanted.ASLEEP:
        return "asleep"
    if deployment is None:  # read back from Docker: it has a history no more
        return "running" if environment.deployed_revision is not None else "queued"
    if deployment.phase is not Phase.FAILED or deployment.failure is None:
        return str(deployment.phase)
    reason = deployment.failure.message.partition("\n")[0].rstrip(".")
    if deployment.failure.code == reconcile.CRASHED:
        return f"crashed: {reason}"
    serving = environment.deployed_revision if deployment.caller != "agent" else None  # a repair: it is what fails
    return f"failed: {reason}" + (f"; {serving.short} serves" if serving else "")


def _merge(engine: Engine, containers: Sequence[Container], *, tail: int) -> Iterator[tuple[str, str]]:
    lines: Queue[tuple[str, str] | None] = Queue(maxsize=1000)
    stop = Event()

    streams = [(container.service, engine.follow(container.id, tail=tail)) for container in containers]

    def offer(item: tuple[str, str] | None) -> None:
        """Wait for room, but not for somebody who went away."""
        while not stop.is_set():
            try:
                lines.put(item, timeout=0.5)
            except Full:
                continue
            return

    def read(service: str, stream: LogStream) -> None:
        try:
            for raw in stream:
                offer((service, raw.decode("utf-8", "replace").rstrip("\n")))
        except OutsideError as error:
            offer((service, str(error)))
        finally:
            offer(None)

    for service, stream in streams:
        Thread(target=read, args=(service, stream), daemon=True, name=f"follow-{service}").start()
    open_streams = len(streams)
    try:
        while open_streams:
            try:
                item = lines.get(timeout=15)
            except Empty:
                yield "", ""  # lets the caller notice that nobody listens any more
                continue
            if item is None:
                open_streams -= 1
            else:
                yield item
    finally:
        stop.set()
        for _, stream in streams:
            stream.close()
