"""What is written down about a deployment, and that no verdict is written about a wish that is not the newest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.errors import CancelledError, OutsideError
from agent.model.deployment import Failure, Phase
from agent.model.edit import KEPT
from agent.model.environment import Wanted
from agent.planning.plan import Plan, Step, Verb
from agent.planning.reconcile import MAX_REPAIRS
from agent.runtime.inspect import summary_of
from agent.runtime.timings import LOOK, WAIT
from tests.support.desk import ANNA, BROKEN, Desk
from tests.support.plans import NOW, R1, R2

START = Plan((Step(Verb.START, "web", "exited (1)", ("web-1",)),))
ROUTE = Plan((Step(Verb.ROUTE, "feature-x", "nothing of it can serve"),))
READ = Plan((Step(Verb.READ, "1111111111", "its compose file was not read yet"),))
CRASHED = Failure("crashed", "web exited 1; five restarts did not help.", "Correct it and push again.", "web")
EXITED = Failure("exited", "Service `web` exited with status 1.", "Its last lines say why.", "web")


# -- an end that is good ---------------------------------------------------------------------------------------


def test_a_deployment_that_is_live_makes_its_revision_the_good_one(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    assert (environment.deployed_revision, environment.deployed_salt) == (R1, 0)
    ended = desk.last(environment)
    assert (ended.phase, ended.url) == (Phase.READY, "http://feature-x.staging.example.com")
    assert desk.events(environment)[-1] == "ready by unix:anna: asked by unix:anna: ready"


def test_a_deployment_that_needed_no_fetch_is_told_with_its_revision_and_commit(desk: Desk) -> None:
    """Woken or pinned, nothing is fetched; history and chat still say what runs."""
    environment = desk.live(revision=R1)
    desk.operations.sleep(environment.slug, caller=ANNA)
    desk.operations.wake(environment.slug, caller=ANNA)

    desk.record.live(desk.row(environment), desk.current(environment))

    ended = desk.last(environment)
    assert ended.revision == R1
    assert ended.commit is not None
    assert ended.commit.subject == "Change the colour"


@pytest.mark.parametrize("wish", ["redeploy", "sleep", "destroy"])
def test_what_was_superseded_while_the_world_was_looked_at_is_not_ready(desk: Desk, wish: str) -> None:
    environment = desk.fetched(desk.deploy())
    deployment = desk.current(environment)
    getattr(desk.operations, wish)(environment.slug, caller=ANNA)

    with pytest.raises(CancelledError):
        desk.record.live(environment, deployment)

    assert desk.row(environment).deployed_revision is None


def test_a_request_that_came_while_the_world_was_looked_at_is_not_answered_by_what_was_seen(desk: Desk) -> None:
    """The snapshot is of the time before: neither the new containers nor the new revision were looked for."""
    seen = desk.live()
    desk.operations.redeploy(seen.slug, caller=ANNA)
    with pytest.raises(CancelledError):
        desk.record.live(seen, desk.current(seen))
    assert desk.current(seen).phase is Phase.QUEUED


def test_edits_that_are_found_after_the_end_are_told_by_one_more_deployment_and_an_event(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    before = desk.last(environment)

    desk.record.kept(environment, ())
    assert desk.last(environment) == before
    desk.record.kept(environment, ("edits were kept",))

    told = desk.last(environment)
    assert (told.id, told.phase, told.cause) == (before.id + 1, Phase.READY, KEPT)
    assert (told.notices, told.revision) == (("edits were kept",), R1)
    assert desk.events(environment)[-1] == "edits by agent: edits were kept"


def test_edits_that_are_found_when_the_next_push_has_come_are_told_by_its_deployment(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    pushed = desk.current(desk.fetched(environment, R2))

    desk.record.kept(environment, ("edits were kept",))

    assert desk.last(environment).id == pushed.id
    assert desk.current(environment).notices == ("edits were kept",)
    assert desk.current(environment).phase is pushed.phase


# -- an end that is not ----------------------------------------------------------------------------------------


def test_a_refused_revision_goes_back_to_the_good_one_and_is_told_when_that_serves(desk: Desk) -> None:
    environment = desk.fails(desk.fetched(desk.live(revision=R1), R2))

    assert desk.current(environment).failure == BROKEN
    assert environment.target(environment.failed_config) == R1

    desk.record.live(environment, desk.current(environment))
    ended = desk.last(environment)
    assert (ended.phase, ended.failure) == (Phase.FAILED, BROKEN)
    assert desk.row(environment).deployed_revision == R1


def test_a_revision_that_becomes_good_is_no_failed_one_any_more(desk: Desk) -> None:
    """Changed settings gave it another try; `show` said of the same revision that it serves and that it failed."""
    environment = desk.fails(desk.fetched(desk.deploy(), R1))
    assert environment.failed_revision == R1
    environment = desk.store.environments.update(environment.slug, failed_config="of other settings")
    desk.record.live(environment, desk.current(environment))
    environment = desk.fetched(environment)
    desk.record.live(environment, desk.current(environment))
    environment = desk.row(environment)
    assert (environment.deployed_revision, environment.failed_revision, environment.failed_config) == (R1, None, "")


def test_the_last_good_revision_does_not_excuse_the_one_that_failed(desk: Desk) -> None:
    environment = desk.fails(desk.fetched(desk.live(revision=R1), R2))
    desk.record.live(environment, desk.current(environment))
    desk.record.repair(desk.row(environment), START)
    desk.record.live(desk.row(environment), desk.current(environment))
    assert desk.row(environment).failed_revision == R2


def test_a_failed_redeploy_goes_back_to_the_containers_that_serve(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    desk.operations.redeploy(environment.slug, caller=ANNA)
    environment = desk.fails(desk.fetched(environment, R1))
    assert (environment.salt, environment.failed_revision) == (0, None)
    desk.record.live(environment, desk.current(environment))
    assert desk.last(environment).phase is Phase.FAILED


def test_a_second_failure_on_the_way_back_tells_the_first_one(desk: Desk) -> None:
    environment = desk.fails(desk.fetched(desk.live(revision=R1), R2))
    environment = desk.fails(environment, EXITED, final=False)
    ended = desk.last(environment)
    assert (ended.phase, ended.failure) == (Phase.FAILED, BROKEN)


def test_what_cannot_be_made_again_is_tried_once_and_not_for_ever(desk: Desk) -> None:
    """Images pruned by hand and a build that fails now; or settings that forbid what they allowed."""
    environment = desk.live(revision=R1)
    desk.record.repair(environment, READ)
    environment = desk.fails(environment)

    assert desk.last(environment).phase is Phase.FAILED
    assert environment.repairs == MAX_REPAIRS
    assert environment.failed_config == desk.settings.fingerprint("shop")
    assert environment.target(environment.failed_config) == R1


def test_crashed_containers_keep_the_tries_that_are_left(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    for tries in (1, 2):
        desk.clock.forward(10)
        desk.record.repair(environment, START)
        environment = desk.fails(environment, EXITED, final=False)
        assert environment.repairs == tries


def test_a_success_that_somebody_asked_for_gives_all_tries_back_and_a_repair_does_not(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    desk.record.repair(environment, START)
    desk.record.live(desk.row(environment), desk.current(environment))
    assert desk.row(environment).repairs == 1
    environment = desk.fetched(desk.deploy())
    desk.record.live(environment, desk.current(environment))
    assert desk.row(environment).repairs == 0


def test_crashes_long_ago_do_not_count(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    desk.store.environments.update(environment.slug, repairs=4, repaired_at=NOW)
    desk.clock.at = NOW + timedelta(minutes=11)
    desk.record.repair(desk.row(environment), START)
    assert desk.row(environment).repairs == 1


def test_a_branch_that_never_was_leaves_nothing_behind(desk: Desk) -> None:
    environment = desk.deploy("no/such")
    failure = Failure("no-such-branch", "No branch `no/such` in shop.")
    desk.record.never_was(environment, desk.current(environment), failure)
    assert desk.row(environment).wanted is Wanted.ABSENT
    assert desk.last(environment).failure == failure
    assert desk.store.deployments.current(environment.slug) is None


def test_a_branch_that_was_asked_for_again_meanwhile_is_looked_for_again(desk: Desk) -> None:
    """Somebody asks, learns nothing yet, pushes the branch and asks again."""
    environment = desk.deploy("not/yet")
    deployment = desk.current(environment)
    desk.deploy("not/yet")
    desk.record.never_was(environment, deployment, BROKEN)
    assert desk.row(environment).wanted is Wanted.RUNNING
    assert desk.current(environment) == deployment


def test_a_branch_that_never_was_goes_also_when_nobody_waits_for_it(desk: Desk) -> None:
    """An agent that was killed between two writes of an older version, or by our own bug."""
    environment = desk.deploy("no/such")
    desk.store.deployments.finish(desk.current(environment).id, Phase.FAILED, now=NOW)
    desk.record.never_was(environment, None, BROKEN)
    assert desk.row(environment).wanted is Wanted.ABSENT


# -- repairs ---------------------------------------------------------------------------------------------------


def test_a_repair_says_why(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    repair = desk.record.repair(environment, START)
    assert (repair.cause, repair.caller) == ("repair: web: exited (1)", "agent")
    assert desk.row(environment).repairs == 1


def test_a_repair_does_not_collide_with_what_somebody_asked_for_meanwhile(desk: Desk) -> None:
    """It would be a bug's verdict on the person's deployment."""
    seen = desk.live(revision=R1)
    desk.deploy()
    with pytest.raises(CancelledError):
        desk.record.repair(seen, START)
    assert desk.current(seen).caller == ANNA
    assert desk.row(seen).repairs == 0


def test_nothing_is_repaired_that_was_put_to_sleep_meanwhile(desk: Desk) -> None:
    seen = desk.live(revision=R1)
    desk.operations.sleep(seen.slug, caller=ANNA)
    with pytest.raises(CancelledError):
        desk.record.repair(seen, START)
    assert desk.store.deployments.current(seen.slug) is None


def test_a_crash_that_repairs_did_not_mend_is_told_once_as_the_end_of_a_deployment(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    for _ in range(3):
        desk.record.crashed(desk.row(environment), CRASHED)
    told = [ended for ended in desk.store.deployments.history(environment.slug) if ended.failure == CRASHED]
    assert [(ended.phase, ended.revision) for ended in told] == [(Phase.FAILED, R1)]
    assert desk.events(environment)[-1] == "failed by agent: repair: failed: web exited 1; five restarts did not help."
    assert summary_of(environment, told[0]) == "crashed: web exited 1; five restarts did not help"


def test_a_crash_is_nobodys_verdict_on_what_was_asked_for_meanwhile(desk: Desk) -> None:
    seen = desk.live(revision=R1)
    desk.deploy()
    with pytest.raises(CancelledError):
        desk.record.crashed(seen, CRASHED)
    assert desk.current(seen).failure is None


def test_what_somebody_started_by_hand_after_a_crash_is_ready_again(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    environment = desk.store.environments.update(environment.slug, repairs=MAX_REPAIRS, repaired_at=NOW)
    desk.record.crashed(environment, CRASHED)
    for _ in range(2):
        desk.record.settled(desk.row(environment))
    assert [ended.phase for ended in desk.store.deployments.history(environment.slug)] == [
        Phase.READY,
        Phase.FAILED,
        Phase.READY,
    ]
    assert desk.row(environment).repairs == 0


def test_ten_quiet_minutes_give_all_tries_back(desk: Desk) -> None:
    """Else the first crash after a bad night, a month later, would be left to a person."""
    environment = desk.live(revision=R1)
    environment = desk.store.environments.update(environment.slug, repairs=MAX_REPAIRS, repaired_at=NOW)
    desk.record.settled(environment)
    assert desk.row(environment).repairs == MAX_REPAIRS
    desk.clock.at = NOW + timedelta(minutes=11)
    desk.record.settled(environment)
    assert desk.row(environment).repairs == 0


# -- while it goes on ------------------------------------------------------------------------------------------


def test_phases_move_forward_only(desk: Desk) -> None:
    environment = desk.fetched(desk.deploy())
    deployment = desk.record.advance(environment, desk.current(environment), START)
    assert deployment.phase is Phase.STARTING
    assert desk.record.advance(environment, deployment, READ).phase is Phase.STARTING


def test_a_deployment_that_failed_does_not_start_any_more_whatever_is_still_put_right(desk: Desk) -> None:
    """A waiting page is written for it, the last good containers come back: people who watch saw it starting."""
    environment = desk.fails(desk.fetched(desk.live(revision=R1), R2))
    deployment = desk.record.advance(environment, desk.current(environment), ROUTE)
    assert deployment.phase is Phase.BUILDING
    assert desk.current(environment).phase is Phase.BUILDING


def test_what_was_done_adds_up(desk: Desk) -> None:
    environment = desk.fetched(desk.deploy())
    deployment = desk.current(environment)
    desk.timings.add(environment.slug, deployment.id, {"build": 1.5})
    desk.record.done(deployment, done=("built web",), notices=())
    desk.timings.add(environment.slug, deployment.id, {"build": 0.5, "start": 0.2})
    desk.record.done(deployment, done=("started web",), notices=("kept edits",))
    now = desk.current(environment)
    assert now.done == ("built web", "started web")
    assert now.notices == ("kept edits",)
    assert now.timings == {"build": 2.0, "start": 0.2}


def test_its_end_says_where_the_time_went_that_nothing_was_said_about(desk: Desk) -> None:
    environment = desk.fetched(desk.deploy())
    desk.timings.lap(environment.slug, desk.current(environment).id, WAIT)
    desk.clock.forward(0.25)
    desk.timings.lap(environment.slug, desk.current(environment).id, LOOK)
    desk.record.live(environment, desk.current(environment))
    ended = desk.store.deployments.last(environment.slug)
    assert ended is not None
    assert ended.timings == {LOOK: 0.25}


def test_an_outage_is_told_once_for_each_reason(desk: Desk) -> None:
    environment = desk.deploy()
    for reason in ("git does not answer.", "git does not answer.", "Docker does not answer.", "git does not answer."):
        desk.record.delayed(environment.slug, OutsideError(reason))
    assert desk.current(environment).notices == (
        "Waiting: git does not answer. It is tried again by itself.",
        "Waiting: Docker does not answer. It is tried again by itself.",
    )


def test_a_bug_ends_the_deployment_keeps_its_traceback_and_is_not_repeated_at_once(desk: Desk) -> None:
    environment = desk.fetched(desk.live(revision=R1), R2)
    desk.record.broken(environment.slug, KeyError("web"))
    ended = desk.last(environment)
    assert ended.phase is Phase.FAILED
    assert ended.failure is not None
    assert ended.failure.code == "internal-error"
    [bug] = [event for event in desk.store.events.list() if event.kind == "bug"]
    assert "KeyError" in bug.data["traceback"]
    assert (desk.row(environment).repairs, desk.row(environment).repaired_at) == (1, NOW)


def test_a_bug_outside_of_a_deployment_is_an_event(desk: Desk) -> None:
    environment = desk.live(revision=R1)
    desk.record.broken(environment.slug, KeyError("web"))
    assert desk.events(environment)[-1] == "bug by agent: Internal error: KeyError: 'web'"
    assert desk.row(environment) == replace(environment)
