"""One look at one environment: observe, plan, execute, and write down what became of the deployment."""

from __future__ import annotations

from dataclasses import replace

from agent.errors import AgentError, CancelledError, DeployError, OutsideError
from agent.model.deployment import Deployment, Failure
from agent.model.environment import Environment, Wanted
from agent.model.observed import Observed
from agent.planning import reconcile
from agent.planning.plan import Plan, Verb
from agent.runtime.attempts import Attempts
from agent.runtime.cancel import CancelToken
from agent.runtime.executor import Executor, Scene
from agent.runtime.notifier import Notifier
from agent.runtime.observer import Observer
from agent.runtime.ports import Engine
from agent.runtime.record import Record
from agent.runtime.timings import LOOK, WAIT, Timings
from agent.store import Store

_WORK = (Verb.READ, Verb.BUILD, Verb.DELTA, Verb.PULL, Verb.CHECKOUT, Verb.CREATE, Verb.START, Verb.UNPAUSE)
_AS_BEFORE = (Verb.CREATE, Verb.START, Verb.UNPAUSE)  # what worked once, and no input of it is at fault if not again
_TAIL_LINES = 25


class Reconciler:
    """`look` does one round and says in how many seconds the next is due; None when all is as wanted."""

    def __init__(
        self,
        *,
        store: Store,
        observer: Observer,
        executor: Executor,
        engine: Engine,
        attempts: Attempts,
        timings: Timings,
        notifier: Notifier,
        record: Record,
    ) -> None:
        self._store = store
        self._observer = observer
        self._executor = executor
        self._engine = engine
        self._attempts = attempts
        self._timings = timings
        self._notifier = notifier
        self._record = record

    def look(self, environment: Environment, cancel: CancelToken) -> float | None:
        """OutsideError is for the caller to retry; a DeployError ends here, in the deployment's record."""
        try:
            return self._look(environment, cancel)
        except CancelledError:  # by the token, or the store: this deployment was superseded meanwhile
            return 0.0

    def _look(self, environment: Environment, cancel: CancelToken) -> float | None:
        deployment = self._store.deployments.current(environment.slug)
        if deployment is None:
            self._timings.forget(environment.slug)
        else:
            self._attempts.turn_to(environment.slug, deployment.id)
            self._timings.lap(environment.slug, deployment.id, WAIT)
        observed, plan = self._decide(environment, deployment)
        if plan.failure is not None and deployment is not None:
            self._failed(environment, deployment, observed, plan.failure, final=False)
            return 0.0
        if plan.failure is not None:
            self._record.crashed(environment, self._with_tail(observed, plan.failure))
        if plan.live and deployment is not None:
            self._record.live(environment, deployment)
            deployment = None
        elif plan.live and environment.repairs and environment.wanted is Wanted.RUNNING:
            self._record.settled(environment)
        if plan.waiting and deployment is not None:
            self._attempts.waiting(environment.slug)
        if plan.steps:
            return self._act(environment, deployment, observed, plan, cancel)
        if plan.live and environment.wanted is Wanted.ASLEEP:
            self._notifier.settled(environment, "sleep")
        return plan.look_again_s

    def _decide(self, environment: Environment, deployment: Deployment | None) -> tuple[Observed, Plan]:
        """The next plan, and as much of the world as it takes: each question keeps whoever waits for a push waiting."""
        context = self._observer.context(environment)
        plan = reconcile.first(environment)
        if plan is not None:
            return Observed(), plan
        in_progress = deployment is not None
        observed = self._observer.glance(environment)
        plan = reconcile.early(environment, deployment, observed, context) if deployment is not None else None
        if plan is None:
            tidying = not in_progress or environment.wanted is Wanted.ABSENT
            observed = self._observer.complete(environment, observed, probing=in_progress, tidying=tidying)
            plan = reconcile.plan(environment, deployment, observed, context)
        if deployment is not None:
            self._timings.lap(environment.slug, deployment.id, LOOK)
        return observed, plan

    def _act(
        self,
        environment: Environment,
        deployment: Deployment | None,
        observed: Observed,
        plan: Plan,
        cancel: CancelToken,
    ) -> float | None:
        if deployment is None and not plan.live and any(step.verb in _WORK for step in plan.steps):
            deployment = self._record.repair(environment, plan)
        if deployment is not None:
            deployment = self._record.advance(environment, deployment, plan)
        if plan.steps[0].verb is Verb.FORGET:
            self._notifier.settled(environment, "destroy")
        scene = Scene(environment, deployment, observed, plan, cancel)
        try:
            report = self._executor.run(scene)
        except AgentError as error:
            if deployment is not None:
                self._timings.lap(environment.slug, deployment.id, plan.steps[0].verb)
            if not isinstance(error, DeployError):
                raise
            self._refused(environment, deployment, observed, plan, error)
            return 0.0
        if deployment is not None:
            self._timings.add(environment.slug, deployment.id, report.seconds)
            self._record.done(deployment, done=report.done, notices=report.notices)
            return 0.0
        if not plan.live:  # the deployment of a push begins with what the fetch found
            self._timings.add(environment.slug, None, report.seconds)
        self._record.kept(environment, report.notices)
        return 0.0

    def _refused(
        self,
        environment: Environment,
        deployment: Deployment | None,
        observed: Observed,
        plan: Plan,
        error: DeployError,
    ) -> None:
        failure = Failure(error.code, error.message, error.hint, error.service, error.log_tail)
        if deployment is None:
            deployment = self._store.deployments.current(environment.slug)
        if environment.revision is None:
            self._record.never_was(environment, deployment, failure)
        elif deployment is not None and not (deployment.caller == "agent" and plan.steps[0].verb in _AS_BEFORE):
            self._failed(environment, deployment, observed, failure, final=True)
        else:  # nobody asked for it and nothing is new: somebody is at the engine, so it is tried again
            raise OutsideError(error.message, hint=error.hint, code=error.code) from error

    def _failed(
        self, environment: Environment, deployment: Deployment, observed: Observed, failure: Failure, *, final: bool
    ) -> None:
        self._record.refused(environment, deployment, self._with_tail(observed, failure), final=final)

    def _with_tail(self, observed: Observed, failure: Failure) -> Failure:
        if not failure.service or failure.log_tail:
            return failure
        return replace(failure, log_tail=self._tail(observed, failure.service))

    def _tail(self, observed: Observed, service: str) -> tuple[str, ...]:
        mine = [container for container in observed.containers if container.service == service]
        if not mine:
            return ()
        newest = max(mine, key=lambda container: (container.created_at, container.number))
        return tuple(self._engine.logs(newest.id, tail=_TAIL_LINES))
