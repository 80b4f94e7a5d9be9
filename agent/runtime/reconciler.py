"""One look at one environment: observe, plan, execute, and write down what became of the deployment."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from agent.config import Settings
from agent.errors import CancelledError, DeployError, OutsideError
from agent.model.deployment import Deployment, Failure, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.model.observed import Observed
from agent.planning import reconcile
from agent.planning.plan import Plan, Verb
from agent.runtime.attempts import Attempts
from agent.runtime.cancel import CancelToken
from agent.runtime.executor import Executor, Report, Scene
from agent.runtime.notifier import Notifier
from agent.runtime.observer import Observer
from agent.runtime.ports import Clock, Engine
from agent.store import Store

log = structlog.get_logger(__name__)

_PHASES = {
    Verb.FETCH: Phase.FETCHING,
    Verb.READ: Phase.BUILDING,
    Verb.BUILD: Phase.BUILDING,
    Verb.PULL: Phase.BUILDING,
    Verb.TAG: Phase.BUILDING,
    Verb.CHECKOUT: Phase.BUILDING,
    Verb.SYNC: Phase.STARTING,
    Verb.CREATE: Phase.STARTING,
    Verb.START: Phase.STARTING,
    Verb.UNPAUSE: Phase.STARTING,
    Verb.ROUTE: Phase.STARTING,
}
_ORDER = (Phase.QUEUED, Phase.FETCHING, Phase.BUILDING, Phase.STARTING)
_WORK = (Verb.READ, Verb.BUILD, Verb.PULL, Verb.CHECKOUT, Verb.CREATE, Verb.START, Verb.UNPAUSE)
_TAIL_LINES = 25
_QUIET_S = 600.0  # after this long without a crash, repairs are counted from nought again


class Reconciler:
    """`look` does one round and says in how many seconds the next is due; None when all is as wanted."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        store: Store,
        observer: Observer,
        executor: Executor,
        engine: Engine,
        attempts: Attempts,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._store = store
        self._observer = observer
        self._executor = executor
        self._engine = engine
        self._attempts = attempts
        self._notifier = notifier
        self._clock = clock

    def look(self, environment: Environment, cancel: CancelToken) -> float | None:
        """OutsideError is for the caller to retry; a DeployError ends here, in the deployment's record."""
        try:
            return self._look(environment, cancel)
        except CancelledError:  # by the token, or the store: this deployment was superseded meanwhile
            return 0.0

    def _look(self, environment: Environment, cancel: CancelToken) -> float | None:
        deployment = self._store.deployments.current(environment.slug)
        context = self._observer.context(environment)
        plan = reconcile.first(environment)
        observed = Observed()
        if plan is None:
            observed = self._observer.observe(environment, probing=deployment is not None)
            plan = reconcile.plan(environment, deployment, observed, context)
        if plan.failure is not None and deployment is not None:
            self._fail(environment, deployment, observed, plan.failure)
            return 0.0
        if plan.live and deployment is not None:
            self._finish(environment, deployment)
            deployment = None
        if plan.waiting and deployment is not None:
            self._attempts.waiting(environment.slug)
        if plan.steps:
            return self._act(environment, deployment, observed, plan, cancel)
        if plan.live and environment.wanted is Wanted.ASLEEP:
            self._notifier.settled(environment, "sleep")
        return plan.look_again_s

    def delayed(self, slug: Slug, error: OutsideError) -> None:
        """Tell those who wait that an outside system keeps us waiting; told once for each reason."""
        deployment = self._store.deployments.current(slug)
        environment = self._store.environments.get(slug)
        text = f"Waiting: {error.message} It is tried again by itself."
        if deployment is None or environment is None or text in deployment.notices:
            return
        deployment = self._store.deployments.update(deployment.id, notices=(*deployment.notices, text))
        self._notifier.deployment_changed(environment, deployment)

    def broken(self, slug: Slug, error: Exception) -> None:
        """Our bug: the deployment ends, the event keeps the traceback, people get a plain sentence."""
        environment = self._store.environments.get(slug)
        deployment = self._store.deployments.current(slug)
        text = f"Internal error: {type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))[-4000:]
        self._store.events.add(
            "bug", slug=slug, caller="agent", text=text, now=self._clock.now(), data={"traceback": trace}
        )
        if environment is None or deployment is None:
            return
        failure = Failure("internal-error", text, "This is a bug in Butai; the agent's log has the traceback.")
        ended = self._store.deployments.finish(deployment.id, Phase.FAILED, now=self._clock.now(), failure=failure)
        self._notifier.deployment_changed(environment, ended)

    def _act(
        self,
        environment: Environment,
        deployment: Deployment | None,
        observed: Observed,
        plan: Plan,
        cancel: CancelToken,
    ) -> float | None:
        if deployment is None and any(step.verb in _WORK for step in plan.steps):
            deployment = self._repair(environment, plan)
        if deployment is not None:
            deployment = self._advance(environment, deployment, plan)
        if plan.steps[0].verb is Verb.FORGET:
            self._notifier.settled(environment, "destroy")
        scene = Scene(environment, deployment, observed, plan, cancel)
        try:
            report = self._executor.run(scene)
        except DeployError as error:
            self._refused(environment, deployment, observed, error)
            return 0.0
        if deployment is not None:
            self._note(deployment, report)
        return 0.0

    def _advance(self, environment: Environment, deployment: Deployment, plan: Plan) -> Deployment:
        """Move the phase forward, never back, and tell."""
        phases = [_PHASES[step.verb] for step in plan.steps if step.verb in _PHASES]
        if not phases or deployment.phase not in _ORDER:
            return deployment
        phase = max(phases, key=_ORDER.index)
        if _ORDER.index(phase) <= _ORDER.index(deployment.phase):
            return deployment
        if deployment.phase is Phase.QUEUED:
            self._attempts.begin(environment.slug)
        updated = self._store.deployments.update(deployment.id, phase=phase)
        self._notifier.deployment_changed(environment, updated)
        return updated

    def _note(self, deployment: Deployment, report: Report) -> None:
        if not (report.done or report.notices or report.seconds):
            return
        fresh = self._store.deployments.get(deployment.id)
        if fresh is None or fresh.phase.final:
            return
        timings = dict(fresh.timings)
        for verb, seconds in report.seconds.items():
            timings[verb] = round(timings.get(verb, 0.0) + seconds, 4)
        self._store.deployments.update(
            deployment.id,
            done=(*fresh.done, *report.done),
            notices=(*fresh.notices, *report.notices),
            timings=timings,
        )

    def _finish(self, environment: Environment, deployment: Deployment) -> None:
        """The target answers at its URL: success, or a failure whose last good version serves again."""
        fresh = self._store.deployments.get(deployment.id)
        if fresh is None or fresh.phase.final:
            return
        now = self._clock.now()
        settings = self._settings()
        url = settings.url(settings.hostname(environment.slug))
        if fresh.failure is not None:
            ended = self._store.deployments.finish(fresh.id, Phase.FAILED, now=now, failure=fresh.failure)
        else:
            with self._store.transaction():
                repairs = environment.repairs if fresh.caller == "agent" else 0
                self._store.environments.update(
                    environment.slug,
                    deployed_revision=environment.target(self._observer.context(environment).fingerprint),
                    deployed_salt=environment.salt,
                    repairs=repairs,
                )
                ended = self._store.deployments.finish(fresh.id, Phase.READY, now=now, url=url)
        self._attempts.begin(environment.slug)
        self._event(environment, ended)
        self._notifier.deployment_changed(environment, ended)

    def _refused(
        self,
        environment: Environment,
        deployment: Deployment | None,
        observed: Observed,
        error: DeployError,
    ) -> None:
        failure = Failure(error.code, error.message, error.hint, error.service, error.log_tail)
        if deployment is None:
            deployment = self._store.deployments.current(environment.slug)
        if deployment is None:
            log.warning("a step was refused outside of a deployment", slug=environment.slug, error=str(error))
            return
        if environment.revision is None:
            self._never_was(environment, deployment, failure)
        else:
            self._fail(environment, deployment, observed, failure)

    def _never_was(self, environment: Environment, deployment: Deployment, failure: Failure) -> None:
        """The branch does not exist: tell, and leave nothing behind."""
        ended = self._store.deployments.finish(deployment.id, Phase.FAILED, now=self._clock.now(), failure=failure)
        self._event(environment, ended)
        self._notifier.deployment_changed(environment, ended)
        self._store.environments.update(environment.slug, wanted=Wanted.ABSENT)

    def _fail(self, environment: Environment, deployment: Deployment, observed: Observed, failure: Failure) -> None:
        """Remember the verdict; the next look goes back to the last good version, and then it is told."""
        fresh = self._store.deployments.get(deployment.id)
        if fresh is None or fresh.phase.final:
            return
        if failure.service and not failure.log_tail:
            failure = replace(failure, log_tail=self._tail(observed, failure.service))
        config = self._observer.context(environment).fingerprint
        target = environment.target(config)
        beyond_help = fresh.failure is not None or (
            target == environment.deployed_revision and environment.salt == environment.deployed_salt
        )
        if beyond_help:
            ended = self._store.deployments.finish(
                fresh.id, Phase.FAILED, now=self._clock.now(), failure=fresh.failure or failure
            )
            self._attempts.begin(environment.slug)
            self._event(environment, ended)
            self._notifier.deployment_changed(environment, ended)
            return
        with self._store.transaction():
            if target == environment.deployed_revision:  # a redeploy of what serves: back to its containers
                self._store.environments.update(environment.slug, salt=environment.deployed_salt)
            else:
                self._store.environments.update(
                    environment.slug,
                    failed_revision=target,
                    failed_config=config,
                    salt=environment.deployed_salt,
                )
            self._store.deployments.update(fresh.id, failure=failure)
        self._attempts.begin(environment.slug)

    def _tail(self, observed: Observed, service: str) -> tuple[str, ...]:
        mine = [container for container in observed.containers if container.service == service]
        if not mine:
            return ()
        newest = max(mine, key=lambda container: (container.created_at, container.number))
        return tuple(self._engine.logs(newest.id, tail=_TAIL_LINES))

    def _repair(self, environment: Environment, plan: Plan) -> Deployment:
        """Nobody asked, yet there is work: containers died, or the settings changed."""
        now = self._clock.now()
        cause = "; ".join(f"{step.subject}: {step.cause}" for step in plan.steps[:3])
        crashed = any(step.verb is Verb.START for step in plan.steps)
        with self._store.transaction():
            if crashed:
                repairs = 0 if _quiet(environment.repaired_at, now) else environment.repairs
                self._store.environments.update(environment.slug, repairs=repairs + 1, repaired_at=now)
            deployment = self._store.deployments.begin(environment, cause=f"repair: {cause}", caller="agent", now=now)
            return self._store.deployments.update(deployment.id, revision=environment.revision)

    def _event(self, environment: Environment, ended: Deployment) -> None:
        text = f"{ended.cause}: {ended.phase}"
        if ended.failure is not None:
            text += f": {ended.failure.message}"
        elif ended.done:
            text += f" ({', '.join(ended.done)})"
        self._store.events.add(
            str(ended.phase),
            slug=environment.slug,
            caller=ended.caller,
            text=text,
            now=self._clock.now(),
            data={"deployment": ended.id, "seconds": ended.seconds},
        )


def _quiet(repaired_at: datetime | None, now: datetime) -> bool:
    return repaired_at is None or (now - repaired_at).total_seconds() > _QUIET_S
