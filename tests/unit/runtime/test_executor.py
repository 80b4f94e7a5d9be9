"""What a step says reaches whoever deployed: what was done, or what they should know."""

from __future__ import annotations

from typing import Any, cast

from agent.model.deployment import Deployment
from agent.planning.plan import Plan, Step, Verb
from agent.runtime.cancel import CancelToken
from agent.runtime.executor import Executor, Report, Scene

LACKS = "No AWS credentials for its containers: AWS does not allow it."
PARTS = ("settings", "store", "git", "engine", "edge", "reader", "refresher", "builder", "livesync", "attempts")


class Anything:
    """Takes part in everything; the environment's role is refused."""

    def __getattr__(self, name: str) -> Any:
        return Anything()

    def __call__(self, *_: object, **__: object) -> Any:
        return Anything()

    def prepare(self, environment: object) -> str:
        return LACKS


def created(deployment: Deployment | None) -> Report:
    anything = cast("Any", Anything())
    executor = Executor(**dict.fromkeys(PARTS, anything), creator=anything, roles=anything)
    plan = Plan(steps=(Step(Verb.CREATE, "stack", "missing", targets=("web",)),))
    return executor.run(Scene(anything, deployment, anything, plan, CancelToken()))


def test_a_stage_whose_role_is_refused_is_made_and_whoever_asked_hears_why() -> None:
    report = created(cast("Deployment", Anything()))
    assert (report.done, report.notices) == ((), (LACKS,))


def test_a_repair_that_nobody_asked_for_tells_nobody() -> None:
    assert created(None).notices == ()
