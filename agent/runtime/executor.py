"""Carries out the steps of one plan, side by side, one method a verb. Decides nothing.

Every step is safe to repeat: the world may already be as it should, or half so after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import BoundedSemaphore, Event, Thread

from agent.config import Settings
from agent.errors import AgentError, CancelledError, DeployError, StateError
from agent.model.change import Action
from agent.model.deployment import Deployment
from agent.model.environment import Environment, Wanted
from agent.model.labels import INSTANCE, SLUG
from agent.model.observed import Observed
from agent.model.release import Release, ServiceSpec
from agent.planning.images import delta_tag
from agent.planning.plan import Plan, Step, Verb
from agent.runtime import goodbye
from agent.runtime.attempts import Attempts
from agent.runtime.build import Builder
from agent.runtime.cancel import CancelToken
from agent.runtime.create import Creator
from agent.runtime.livesync import Livesync
from agent.runtime.ports import Edge, Engine, Git
from agent.runtime.reader import Reader
from agent.runtime.refresh import Refresher
from agent.runtime.roles import RoleKeeper
from agent.store import Store


@dataclass(frozen=True, slots=True)
class Scene:
    """What the steps of one plan act on."""

    environment: Environment
    deployment: Deployment | None
    observed: Observed
    plan: Plan
    cancel: CancelToken

    @property
    def release(self) -> Release:
        if self.observed.release is None:
            raise StateError("A step needs a release that was never read.", hint="This is a bug; please report it.")
        return self.observed.release


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, in words for people, and the seconds each verb took."""

    done: tuple[str, ...]
    notices: tuple[str, ...]
    seconds: dict[str, float]


class Executor:
    """Runs plans; raises the first error of a step after the others have ended."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        git: Git,
        engine: Engine,
        edge: Edge,
        reader: Reader,
        refresher: Refresher,
        builder: Builder,
        livesync: Livesync,
        creator: Creator,
        roles: RoleKeeper,
        attempts: Attempts,
    ) -> None:
        self._settings = settings
        self._store = store
        self._git = git
        self._engine = engine
        self._edge = edge
        self._reader = reader
        self._refresher = refresher
        self._builder = builder
        self._livesync = livesync
        self._creator = creator
        self._roles = roles
        self._attempts = attempts
        self._pause = Event()  # never set
        self._starts = BoundedSemaphore(8)  # runc is CPU bound: more at once only queue inside the engine
        self._verbs: dict[Verb, Callable[[Scene, Step], str]] = {
            Verb.FETCH: self._fetch,
            Verb.READ: self._read,
            Verb.BUILD: self._build,
            Verb.PULL: self._pull,
            Verb.TAG: self._tag,
            Verb.ADOPT: self._adopt,
            Verb.DELTA: self._delta,
            Verb.SYNC: self._sync,
            Verb.CATCH_UP: self._catch_up,
            Verb.CHECKOUT: self._checkout,
            Verb.CREATE: self._create,
            Verb.START: self._start,
            Verb.RESTART: self._restart,
            Verb.STOP: self._stop,
            Verb.UNPAUSE: self._unpause,
            Verb.JOIN: self._join,
            Verb.ROUTE: self._route,
            Verb.UNROUTE: self._unroute,
            Verb.REMOVE: self._remove,
            Verb.UNTAG: self._untag,
            Verb.LEAVE: self._leave,
            Verb.REMOVE_NETWORK: self._remove_network,
            Verb.REMOVE_VOLUME: self._remove_volume,
            Verb.REMOVE_CHECKOUT: self._remove_checkout,
            Verb.FORGET: self._forget,
        }

    def run(self, scene: Scene) -> Report:
        """Do every step of the scene's plan. The first failure cancels what can be cancelled."""
        steps = scene.plan.steps
        if len(steps) == 1:
            return _report([self._timed(scene, steps[0])])
        with ThreadPoolExecutor(max_workers=min(8, len(steps)), thread_name_prefix="step") as pool:
            stage = CancelToken()
            release = scene.cancel.on_cancel(stage.cancel)
            inner = Scene(scene.environment, scene.deployment, scene.observed, scene.plan, stage)
            futures = [pool.submit(self._timed, inner, step) for step in steps]
            wait(futures, return_when=FIRST_EXCEPTION)
            if any(future.done() and future.exception() for future in futures):
                stage.cancel()
            wait(futures)
            release()
        _raise_worst(futures)
        return _report([future.result() for future in futures])

    def _timed(self, scene: Scene, step: Step) -> tuple[str, str, float]:
        begun = time.perf_counter()
        said = self._verbs[step.verb](scene, step)
        return str(step.verb), said, time.perf_counter() - begun

    def _fetch(self, scene: Scene, step: Step) -> str:
        Thread(target=self._warm, args=(scene.environment,), name="warm", daemon=True).start()
        self._refresher.refresh(scene.environment.slug)
        return ""

    def _warm(self, environment: Environment) -> None:
        """While the remote is asked: get ready what a push to this environment will need."""
        serves = environment.deployed_revision
        with suppress(AgentError):
            release = self._reader.load(environment, serves) if serves is not None else None
            if release is not None and any(spec.watch for spec in release.services):
                labels = {INSTANCE: self._settings().instance, SLUG: environment.slug}
                self._livesync.warm(release, self._engine.containers(labels))

    def _read(self, scene: Scene, step: Step) -> str:
        settings = self._settings()
        environment = scene.environment
        target = environment.target(settings.fingerprint(environment.project))
        if target is None:
            return ""
        release = self._reader.read(environment, target)
        if scene.deployment is not None and release.notices:
            known = self._store.deployments.get(scene.deployment.id) or scene.deployment
            notices = tuple(dict.fromkeys((*known.notices, *release.notices)))  # those of a checkout before it as well
            self._store.deployments.update(known.id, notices=notices)
        return ""

    def _build(self, scene: Scene, step: Step) -> str:
        spec = scene.release.service(step.targets[0])
        with _blaming(spec.name):
            self._builder.build(scene.environment, scene.release, spec, scene.deployment, cancel=scene.cancel)
        return f"built {spec.name}"

    def _pull(self, scene: Scene, step: Step) -> str:
        spec = scene.release.service(step.targets[0])
        with _blaming(spec.name):
            self._builder.pull(scene.release, spec, scene.deployment, cancel=scene.cancel)
        return f"pulled {spec.image}"

    def _tag(self, scene: Scene, step: Step) -> str:
        source, target = step.targets
        self._engine.tag(source, target)
        return ""

    def _adopt(self, scene: Scene, step: Step) -> str:
        self._reader.adopt(scene.environment, scene.release)
        decision = scene.observed.decision
        if decision is None or any(one.action is not Action.NOTHING for one in decision.verdicts):
            return ""
        seen = [one.summary for one in decision.verdicts if one.mounted]
        return ", ".join(seen) or "nothing to do: no service uses what changed"

    def _delta(self, scene: Scene, step: Step) -> str:
        decision = scene.observed.decision
        if decision is not None:
            verdict, (base, tag) = decision.verdict(step.subject), step.targets
            revision = scene.release.revision
            self._livesync.delta(scene.environment, verdict, base, tag, revision=revision, cancel=scene.cancel)
        return ""

    def _sync(self, scene: Scene, step: Step) -> str:
        decision = scene.observed.decision
        if decision is None:
            return ""
        spec = scene.release.service(step.subject)
        return self._livesync.apply(
            scene.environment,
            spec,
            decision.verdict(spec.name),
            step.targets,
            revision=scene.release.revision,
        )

    def _catch_up(self, scene: Scene, step: Step) -> str:
        spec = scene.release.service(step.targets[0])
        self._builder.catch_up(scene.environment, scene.release, spec, cancel=scene.cancel)
        return ""

    def _checkout(self, scene: Scene, step: Step) -> str:
        environment = scene.environment
        kept = self._git.checkout(environment.project, environment.slug, scene.release.revision)
        if kept:
            edit_id = kept.rpartition("/")[2]
            return f"edits made in the checkout were kept: `butai edits {environment.branch} --restore {edit_id}`"
        return ""

    def _create(self, scene: Scene, step: Step) -> str:
        self._creator.create(
            scene.environment, scene.release, scene.deployment, scene.observed, needed=step.targets, cancel=scene.cancel
        )
        lacks = self._roles.prepare(scene.environment)  # before anything starts: programs look for credentials at once
        return lacks if scene.deployment is not None else ""

    def _start(self, scene: Scene, step: Step) -> str:
        spec = scene.release.service(step.subject)
        self._attempts.started(scene.environment.slug, step.targets[0])
        with self._starts, _blaming(spec.name):
            _if_wanted(scene)
            self._engine.start(step.targets[0])
        if not any(c.service == spec.name and c.id != step.targets[0] for c in scene.observed.containers):
            return f"started {spec.name}"
        if spec.in_place:
            return f"replaced {spec.name} in place, as it {spec.in_place}"
        decision, images = scene.observed.decision, scene.observed.images
        if decision is not None and spec.image not in images and delta_tag(spec.image) in images:
            return decision.verdict(spec.name).beside
        return f"started {spec.name}"

    def _restart(self, scene: Scene, step: Step) -> str:
        spec = scene.release.service(step.subject)
        for container in step.targets:
            self._attempts.started(scene.environment.slug, container)
            with _blaming(spec.name):
                self._engine.restart(container, grace_s=spec.stop_grace_s)
        return f"restarted {spec.name}, as it {step.cause}"

    def _stop(self, scene: Scene, step: Step) -> str:
        self._engine.stop(step.targets[0], grace_s=self._grace(scene, step.targets[0]))
        return ""

    def _unpause(self, scene: Scene, step: Step) -> str:
        self._engine.unpause(step.targets[0])
        return ""

    def _join(self, scene: Scene, step: Step) -> str:
        self._engine.connect(step.targets[0], self._edge.container)
        return ""

    def _leave(self, scene: Scene, step: Step) -> str:
        self._engine.disconnect(step.targets[0], self._edge.container)
        return ""

    def _route(self, scene: Scene, step: Step) -> str:
        """Write it, and give Traefik its moment: to ask it alone is cheaper than to look at everything again."""
        table = scene.plan.route
        if table is None:
            return ""
        self._edge.write(table)
        if scene.deployment is None:  # nobody waits
            return ""
        until = time.monotonic() + _ROUTE_WITHIN_S
        while time.monotonic() < until and not scene.cancel.cancelled() and not self._edge.confirms(table):
            self._pause.wait(_ROUTE_AGAIN_S)
        return ""

    def _unroute(self, scene: Scene, step: Step) -> str:
        self._edge.remove(scene.environment.slug)
        return ""

    def _remove(self, scene: Scene, step: Step) -> str:
        grace_s = self._grace(scene, step.targets[0])
        goodbye.stop(self._engine, step.targets[0], grace_s=grace_s, cancel=scene.cancel)
        self._engine.remove(step.targets[0])
        self._store.synced.forget(step.targets)
        return ""

    def _untag(self, scene: Scene, step: Step) -> str:
        for tag in step.targets:
            self._engine.untag(tag)
        return ""

    def _remove_network(self, scene: Scene, step: Step) -> str:
        self._engine.remove_network(step.targets[0])
        return ""

    def _remove_volume(self, scene: Scene, step: Step) -> str:
        self._engine.remove_volume(step.targets[0])
        return ""

    def _remove_checkout(self, scene: Scene, step: Step) -> str:
        self._git.remove_checkout(scene.environment.project, scene.environment.slug)
        self._reader.forget(scene.environment.slug)
        return ""

    def _forget(self, scene: Scene, step: Step) -> str:
        with self._store.transaction():
            newest = self._store.environments.get(scene.environment.slug)
            if newest is not None and newest.wanted is Wanted.ABSENT:  # else somebody deployed it again just now
                self._store.environments.delete(newest.slug)
        return ""

    def _grace(self, scene: Scene, container_id: str) -> float:
        if scene.environment.wanted is Wanted.ABSENT:
            return 1.0  # its data goes too: nothing is gained by a long goodbye
        release = scene.observed.release
        service = next((c.service for c in scene.observed.containers if c.id == container_id), "")
        specs = {spec.name: spec for spec in release.services} if release is not None else {}
        spec: ServiceSpec | None = specs.get(service)
        return spec.stop_grace_s if spec is not None else _DEFAULT_GRACE_S


_DEFAULT_GRACE_S = 10.0
_NOTICED = (Verb.CHECKOUT, Verb.CREATE)  # what these say is no success, but what people should know
_ROUTE_WITHIN_S = 1.0  # then the next looks wait for it
_ROUTE_AGAIN_S = 0.01


@contextmanager
def _blaming(service: str) -> Iterator[None]:
    """Adapters do not know for which service they work; people want to know."""
    try:
        yield
    except DeployError as error:
        raise error.blaming(service) from error


def _if_wanted(scene: Scene) -> None:
    if scene.cancel.cancelled():
        raise CancelledError("A newer wish came before this step.")


def _raise_worst(futures: list[Future[tuple[str, str, float]]]) -> None:
    """The author's error says more than a cancellation that it caused."""
    errors = [error for future in futures if (error := future.exception()) is not None]
    errors.sort(key=lambda error: isinstance(error, CancelledError))
    if errors:
        raise errors[0]


def _report(results: list[tuple[str, str, float]]) -> Report:
    seconds: dict[str, float] = {}
    for verb, _, took in results:
        seconds[verb] = max(seconds.get(verb, 0.0), round(took, 4))
    notices = tuple(said for verb, said, _ in results if said and verb in _NOTICED)
    done = tuple(said for verb, said, _ in results if said and verb not in _NOTICED)
    return Report(done, notices, seconds)
