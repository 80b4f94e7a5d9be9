"""Writes down what becomes of a deployment: its phases, its end, and what the environment learns from it.

Each verdict is one transaction that checks again whether it is still about the newest wish: a person may have asked
for something else while the world was looked at.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import datetime

from agent.errors import CancelledError, OutsideError
from agent.model.deployment import Deployment, Failure, Phase
from agent.model.edit import KEPT
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.planning.plan import Plan, Verb
from agent.planning.reconcile import CRASHED, MAX_REPAIRS
from agent.runtime.attempts import Attempts
from agent.runtime.notifier import Notifier
from agent.runtime.ports import Clock
from agent.runtime.timings import Timings
from agent.store import Store

_PHASES = {
    Verb.FETCH: Phase.FETCHING,
    Verb.READ: Phase.BUILDING,
    Verb.BUILD: Phase.BUILDING,
    Verb.PULL: Phase.BUILDING,
    Verb.DELTA: Phase.BUILDING,
    Verb.TAG: Phase.BUILDING,
    Verb.CHECKOUT: Phase.BUILDING,
    Verb.SYNC: Phase.STARTING,
    Verb.CREATE: Phase.STARTING,
    Verb.START: Phase.STARTING,
    Verb.RESTART: Phase.STARTING,
    Verb.UNPAUSE: Phase.STARTING,
    Verb.ROUTE: Phase.STARTING,
}
_ORDER = (Phase.QUEUED, Phase.FETCHING, Phase.BUILDING, Phase.STARTING)
_QUIET_S = 600.0  # after this long without a crash, repairs are counted from nought again
_REMEMBERED = 10  # deployments in which the commit of a revision is looked for


class Record:
    """Every method may raise CancelledError: the deployment was superseded meanwhile, so look again."""

    def __init__(
        self,
        *,
        store: Store,
        attempts: Attempts,
        timings: Timings,
        notifier: Notifier,
        clock: Clock,
        fingerprint: Callable[[Environment], str],
        url: Callable[[Slug], str],
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._timings = timings
        self._notifier = notifier
        self._clock = clock
        self._fingerprint = fingerprint
        self._url = url

    # -- while it goes on --------------------------------------------------------------------------------------

    def repair(self, environment: Environment, plan: Plan) -> Deployment:
        """Nobody asked, yet there is work: containers died, or the settings changed."""
        now = self._clock.now()
        cause = "; ".join(f"{step.subject}: {step.cause}" for step in plan.steps[:3])
        crashed = any(step.verb is Verb.START for step in plan.steps)
        with self._store.transaction():
            self._still(environment)
            if self._store.deployments.current(environment.slug) is not None:
                raise CancelledError("Somebody asked for a deployment since the plan was made.")
            if crashed:
                repairs = 0 if _quiet(environment.repaired_at, now) else environment.repairs
                self._store.environments.update(environment.slug, repairs=repairs + 1, repaired_at=now)
            begun = self._store.deployments.begin(environment, cause=f"repair: {cause}", caller="agent", now=now)
        self._attempts.turn_to(environment.slug, begun.id)
        return begun

    def crashed(self, environment: Environment, failure: Failure) -> None:
        """Repairs are used up: told once, as the end of a deployment, so that everybody sees it where they look."""
        last = self._store.deployments.last(environment.slug)
        if last is not None and last.failure is not None and last.failure.code == CRASHED:
            return
        self._end_at_once(environment, Phase.FAILED, cause="repair", failure=failure)

    def settled(self, environment: Environment) -> None:
        """It runs, and nobody had to do anything: after a quiet spell its crashes are forgiven."""
        last = self._store.deployments.last(environment.slug)
        by_hand = last is not None and last.failure is not None and last.failure.code == CRASHED
        if by_hand or _quiet(environment.repaired_at, self._clock.now()):
            self._store.environments.update(environment.slug, repairs=0)
        if by_hand:
            self._end_at_once(environment, Phase.READY, cause="it runs again without our doing")

    def advance(self, environment: Environment, deployment: Deployment, plan: Plan) -> Deployment:
        """Move the phase forward, never back, and tell. After a failure it stays: what is done then only puts right."""
        if deployment.revision is None and not any(step.verb is Verb.FETCH for step in plan.steps):
            deployment = self._at(environment, deployment)
        phases = [_PHASES[step.verb] for step in plan.steps if step.verb in _PHASES]
        if not phases or deployment.phase not in _ORDER or deployment.failure is not None:
            return deployment
        phase = max(phases, key=_ORDER.index)
        if _ORDER.index(phase) <= _ORDER.index(deployment.phase):
            return deployment
        with self._store.transaction(durable=False):  # the next look advances it again
            updated = self._store.deployments.update(deployment.id, phase=phase)
        self._notifier.deployment_changed(environment, updated)
        return updated

    def done(self, deployment: Deployment, *, done: tuple[str, ...], notices: tuple[str, ...]) -> None:
        """Add what one plan did, in words."""
        if not (done or notices):
            return
        fresh = self._unfinished(deployment)
        self._store.deployments.update(
            deployment.id,
            done=(*fresh.done, *done),
            notices=(*fresh.notices, *notices),
            timings=self._timings.onto(fresh),
        )

    def kept(self, environment: Environment, notices: tuple[str, ...]) -> None:
        """Tell of edits that the checkout found which follows a deployment: nobody had noticed them before."""
        if not notices:
            return
        slug, now, deployments = environment.slug, self._clock.now(), self._store.deployments
        with self._store.transaction():
            for text in notices:
                self._store.events.add("edits", slug=slug, caller="agent", text=text, now=now)
            told = deployments.current(slug)  # a push may have come meanwhile
            if told is not None:
                told = deployments.update(told.id, notices=(*told.notices, *notices))
            else:
                told = self._at(environment, deployments.begin(environment, cause=KEPT, caller="agent", now=now))
                deployments.update(told.id, notices=notices)
                told = deployments.finish(told.id, Phase.READY, now=now, url=self._url(slug))
        self._notifier.deployment_changed(environment, told)

    def delayed(self, slug: Slug, error: OutsideError) -> None:
        """Tell those who wait that an outside system keeps us waiting; told once for each reason."""
        deployment = self._store.deployments.current(slug)
        environment = self._store.environments.get(slug)
        text = f"Waiting: {error.message} It is tried again by itself."
        if deployment is None or environment is None or text in deployment.notices:
            return
        deployment = self._store.deployments.update(deployment.id, notices=(*deployment.notices, text))
        self._notifier.deployment_changed(environment, deployment)

    # -- its end -----------------------------------------------------------------------------------------------

    def live(self, environment: Environment, deployment: Deployment) -> None:
        """The target answers at its URL: success, or a failure whose last good version serves again."""
        with self._store.transaction():
            self._still(environment)
            fresh = self._unfinished(deployment)
            if fresh.failure is not None:
                ended = self._finish(fresh, Phase.FAILED, failure=fresh.failure)
            else:
                if fresh.revision is None:
                    self._at(environment, fresh)
                target = environment.target(self._fingerprint(environment))
                self._store.environments.update(
                    environment.slug,
                    deployed_revision=target,
                    deployed_salt=environment.salt,
                    repairs=environment.repairs if fresh.caller == "agent" else 0,
                )
                if environment.failed_revision == target:  # other settings, another try
                    self._store.environments.update(environment.slug, failed_revision=None, failed_config="")
                ended = self._finish(fresh, Phase.READY, url=self._url(environment.slug))
            self._event(ended)
        self._attempts.begin(environment.slug)
        self._notifier.deployment_changed(environment, ended)

    def refused(self, environment: Environment, deployment: Deployment, failure: Failure, *, final: bool) -> None:
        """Remember the verdict; the next look goes back to the last good version, and then it is told.

        `final`: trying the same again cannot help. Where there is nothing better to go back to, this ends here.
        """
        config = self._fingerprint(environment)
        target = environment.target(config)
        serves = target == environment.deployed_revision
        ended = None
        with self._store.transaction():
            fresh = self._unfinished(deployment)
            if fresh.failure is not None or (serves and environment.salt == environment.deployed_salt):
                ended = self._finish(fresh, Phase.FAILED, failure=fresh.failure or failure)
                self._give_up(environment, fresh, config, final=final)
                self._event(ended)
            elif serves:  # a redeploy of what serves: back to its containers
                self._store.environments.update(environment.slug, salt=environment.deployed_salt)
            else:
                self._store.environments.update(
                    environment.slug,
                    failed_revision=target,
                    failed_config=config,
                    salt=environment.deployed_salt,
                )
            if ended is None:
                self._store.deployments.update(fresh.id, failure=failure)
        self._attempts.begin(environment.slug)
        if ended is not None:
            self._notifier.deployment_changed(environment, ended)

    def never_was(self, environment: Environment, deployment: Deployment | None, failure: Failure) -> None:
        """The branch does not exist: tell, and leave nothing behind. Asked again meanwhile: look again instead."""
        ended = None
        with self._store.transaction():
            newest = self._store.environments.get(environment.slug)
            if newest is None or newest.revision is not None or newest.request != environment.request:
                return
            if deployment is not None:
                ended = self._store.deployments.finish(
                    deployment.id, Phase.FAILED, now=self._clock.now(), failure=failure
                )
                self._event(ended)
            self._store.environments.update(environment.slug, wanted=Wanted.ABSENT)
        if ended is not None:
            self._notifier.deployment_changed(environment, ended)

    def broken(self, slug: Slug, error: Exception) -> None:
        """Our bug: the deployment ends, the event keeps the traceback, people get a plain sentence."""
        now = self._clock.now()
        text = f"Internal error: {type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))[-4000:]
        self._store.events.add("bug", slug=slug, caller="agent", text=text, now=now, data={"traceback": trace})
        environment = self._store.environments.get(slug)
        deployment = self._store.deployments.current(slug)
        if environment is None or deployment is None:
            return
        failure = Failure("internal-error", text, "This is a bug in Butai; the agent's log has the traceback.")
        with self._store.transaction():
            ended = self._store.deployments.finish(deployment.id, Phase.FAILED, now=now, failure=failure)
            self._store.environments.update(
                slug, failed_config=self._fingerprint(environment), repairs=environment.repairs + 1, repaired_at=now
            )
        self._notifier.deployment_changed(environment, ended)

    def _end_at_once(
        self, environment: Environment, phase: Phase, *, cause: str, failure: Failure | None = None
    ) -> None:
        """Write down what happened without a deployment as one that begins and ends now."""
        now = self._clock.now()
        with self._store.transaction():
            self._still(environment)
            if self._store.deployments.current(environment.slug) is not None:
                raise CancelledError("Somebody asked for a deployment since the world was looked at.")
            begun = self._store.deployments.begin(environment, cause=cause, caller="agent", now=now)
            self._at(environment, begun)
            url = self._url(environment.slug) if failure is None else ""
            ended = self._store.deployments.finish(begun.id, phase, now=now, url=url, failure=failure)
            self._event(ended)
        self._notifier.deployment_changed(environment, ended)

    def _finish(
        self, deployment: Deployment, phase: Phase, *, url: str = "", failure: Failure | None = None
    ) -> Deployment:
        self._store.deployments.update(deployment.id, timings=self._timings.onto(deployment))
        self._timings.forget(deployment.slug)
        return self._store.deployments.finish(deployment.id, phase, now=self._clock.now(), url=url, failure=failure)

    def _give_up(self, environment: Environment, deployment: Deployment, config: str, *, final: bool) -> None:
        """What cannot be had is not tried for ever; crashed containers get the tries that are left to them."""
        counted = deployment.caller == "agent" and environment.repaired_at == deployment.started_at
        repairs = MAX_REPAIRS if final else environment.repairs + (not counted)
        self._store.environments.update(
            environment.slug, failed_config=config, repairs=repairs, repaired_at=self._clock.now()
        )

    def _still(self, environment: Environment) -> None:
        """A verdict on a wish that is not the newest is none: the row may have changed since it was looked at."""
        newest = self._store.environments.get(environment.slug)
        if newest is None or _wish(newest) != _wish(environment):
            raise CancelledError("Somebody asked for something else while the world was looked at.")

    def _unfinished(self, deployment: Deployment) -> Deployment:
        fresh = self._store.deployments.get(deployment.id)
        if fresh is None or fresh.phase.final:
            raise CancelledError("It was superseded while the world was looked at.")
        return fresh

    def _at(self, environment: Environment, deployment: Deployment) -> Deployment:
        """No fetch names its revision (it wakes, or is pinned): it is the one that we converge on."""
        target: Revision | None = environment.target(self._fingerprint(environment))
        if target is None:
            return deployment
        history = self._store.deployments.history(environment.slug, _REMEMBERED)
        commit = next((each.commit for each in history if each.revision == target and each.commit), None)
        return self._store.deployments.update(deployment.id, revision=target, commit=commit)

    def _event(self, ended: Deployment) -> None:
        text = f"{ended.cause}: {ended.phase}"
        if ended.failure is not None:
            text += f": {ended.failure.message}"
        elif ended.done:
            text += f" ({', '.join(ended.done)})"
        self._store.events.add(
            str(ended.phase),
            slug=ended.slug,
            caller=ended.caller,
            text=text,
            now=self._clock.now(),
            data={"deployment": ended.id, "seconds": ended.seconds},
        )


def _wish(environment: Environment) -> tuple[Wanted, int, int, Revision | None]:
    return environment.wanted, environment.salt, environment.request, environment.edited


def _quiet(repaired_at: datetime | None, now: datetime) -> bool:
    return repaired_at is None or (now - repaired_at).total_seconds() > _QUIET_S
