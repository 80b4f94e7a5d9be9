"""What each request leaves behind: rows, an event with its caller, somebody to tell, and a controller that is awake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import RequestError
from agent.model.deployment import Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Slug
from agent.runtime.operations import Accepted
from tests.support.desk import ANNA, BLOG, BROKEN, NOTICE, Desk
from tests.support.desk import desk as build
from tests.support.plans import NOW, R1, R2

NOWHERE = Slug("nowhere")


# -- deploy ----------------------------------------------------------------------------------------------------


def test_a_first_deploy_writes_the_wish_and_answers_before_anything_was_done(desk: Desk) -> None:
    accepted = desk.operations.deploy("feature/x", project="shop", caller=ANNA, notice=NOTICE)

    environment = accepted.environment
    assert (environment.slug, environment.wanted, environment.needs_fetch) == ("feature-x", Wanted.RUNNING, True)
    assert accepted.new
    assert accepted.text == "Deploying `feature/x` of shop."
    assert desk.current(environment) == accepted.deployment
    assert (desk.current(environment).phase, desk.current(environment).started_at) == (Phase.QUEUED, NOW)
    assert desk.events(environment) == ["deploy by unix:anna: feature/x asked for"]
    [notice] = desk.store.notices.open_for(environment.slug)
    assert (notice.notice, notice.request, notice.kind) == (NOTICE, 1, "deploy")
    assert desk.woken == ["feature-x"]


def test_a_second_deploy_joins_the_one_that_goes_on(desk: Desk) -> None:
    first = desk.operations.deploy("feature/x", project="shop", caller=ANNA)
    second = desk.operations.deploy("feature/x", project="shop", caller="unix:ben")

    assert not second.new
    assert second.deployment == first.deployment
    assert second.environment.request == 2, "the remote is read again for the second one"


def test_a_deploy_of_what_is_on_stage_says_that_it_updates(desk: Desk) -> None:
    desk.live()
    accepted = desk.operations.deploy("feature/x", project="shop", caller=ANNA)
    assert accepted.text == "Updating `feature/x` of shop."
    assert accepted.environment.needs_fetch


def test_a_deploy_gives_a_revision_that_failed_another_chance(desk: Desk) -> None:
    environment = desk.fails(desk.fetched(desk.live(), R2))
    assert environment.target(environment.failed_config) == R1

    desk.deploy()

    assert desk.row(environment).target(environment.failed_config) == R2
    assert desk.row(environment).repairs == 0


def test_a_deploy_does_not_join_one_that_failed_and_only_goes_back(desk: Desk) -> None:
    """It would end as failed, whatever becomes of the new attempt."""
    environment = desk.fails(desk.fetched(desk.live(), R2))
    going_back = desk.current(environment)
    assert going_back.failure is not None

    accepted = desk.operations.deploy("feature/x", project="shop", caller=ANNA)

    assert accepted.deployment is not None
    assert accepted.deployment.id != going_back.id
    assert accepted.deployment.failure is None
    ended = desk.store.deployments.get(going_back.id)
    assert ended is not None
    assert (ended.phase, ended.failure) == (Phase.SUPERSEDED, BROKEN)


def test_a_deploy_of_a_pinned_environment_leaves_the_remote_alone(desk: Desk) -> None:
    environment = desk.live()
    desk.operations.pin(environment.slug, caller=ANNA)
    accepted = desk.operations.deploy("feature/x", project="shop", caller=ANNA)
    assert not accepted.environment.needs_fetch
    assert accepted.deployment is not None


def test_a_deploy_right_after_a_destroy_is_what_counts(desk: Desk) -> None:
    environment = desk.live()
    desk.operations.destroy(environment.slug, caller=ANNA)

    desk.deploy()

    assert desk.row(environment).wanted is Wanted.RUNNING
    assert desk.current(environment).phase is Phase.QUEUED


@pytest.mark.parametrize("branch", ["", "-upload-pack=x", "a b", "a\nb", "../x", "a" * 256])
def test_what_no_branch_can_be_called_is_refused_and_leaves_nothing(desk: Desk, branch: str) -> None:
    with pytest.raises(RequestError) as refused:
        desk.operations.deploy(branch, project="shop", caller=ANNA)
    assert refused.value.code == "bad-branch"
    assert desk.store.environments.all() == ()
    assert desk.store.events.list() == ()
    assert desk.woken == []


def test_an_unknown_project_is_refused_with_those_there_are(desk: Desk) -> None:
    with pytest.raises(RequestError) as refused:
        desk.operations.deploy("main", project="shopp", caller=ANNA)
    assert (refused.value.code, refused.value.http_status) == ("no-such-project", 404)
    assert refused.value.hint == "Projects: `shop`."


def test_a_host_that_is_full_refuses_new_environments_and_updates_the_others(tmp_path: Path) -> None:
    desk = build(tmp_path, "[limits]\nenvironments = 2\n")
    desk.live("one")
    desk.live("two")

    with pytest.raises(RequestError) as refused:
        desk.deploy("three")

    assert refused.value.code == "too-many-environments"
    assert "2" in refused.value.message
    assert len(desk.store.environments.all()) == 2
    assert desk.deploy("one").branch == "one"
    desk.store.close()


def test_two_branches_that_read_the_same_get_two_names(desk: Desk) -> None:
    first, second = desk.deploy("feature/x"), desk.deploy("feature-x")
    assert first.slug == "feature-x"
    assert second.slug.startswith("feature-x-")
    assert first.block != second.block


# -- which project is meant ------------------------------------------------------------------------------------


@pytest.fixture(name="two")
def two_fixture(tmp_path: Path) -> Desk:
    """Two projects: `main` is a branch of both, `login` of one."""
    desk = build(tmp_path, BLOG)
    desk.store.branches.replace("shop", {"main": R1, "login": R1, "logout": R2}, NOW)
    desk.store.branches.replace("blog", {"main": R2, "comments": R2}, NOW)
    return desk


def test_a_branch_of_one_project_alone_needs_no_project(two: Desk) -> None:
    assert two.operations.deploy("comments", project=None, caller=ANNA).environment.slug == "blog-comments"


def test_a_branch_of_two_projects_is_asked_back(two: Desk) -> None:
    with pytest.raises(RequestError) as refused:
        two.operations.deploy("main", project=None, caller=ANNA)
    assert (refused.value.code, refused.value.http_status) == ("ambiguous-branch", 409)
    assert "blog, shop" in refused.value.message


def test_a_branch_of_no_project_answers_with_the_nearest(two: Desk) -> None:
    with pytest.raises(RequestError) as refused:
        two.operations.deploy("logn", project=None, caller=ANNA)
    assert (refused.value.code, refused.value.http_status) == ("no-such-branch", 404)
    assert refused.value.hint.startswith("Nearest: `login (shop)`")


def test_a_branch_of_no_project_has_all_of_them_listed_again_for_it_may_be_pushed_just_now(two: Desk) -> None:
    with pytest.raises(RequestError) as refused:
        two.operations.deploy("brand/new", project=None, caller=ANNA)
    assert two.poked == ["blog", "shop"]
    assert "again in a few seconds" in refused.value.hint


def test_branches_are_listed_nearest_first(two: Desk) -> None:
    assert two.operations.branches("shop") == (("shop", "login"), ("shop", "logout"), ("shop", "main"))
    assert two.operations.branches(None, near="main")[:2] == (("blog", "main"), ("shop", "main"))
    assert two.operations.branches(None, near="logi")[0] == ("shop", "login")


# -- find ------------------------------------------------------------------------------------------------------


def test_an_environment_is_found_by_its_branch_and_by_its_slug(desk: Desk) -> None:
    environment = desk.live()
    assert desk.operations.find("feature/x") == environment
    assert desk.operations.find("feature-x", project="shop") == environment


def test_a_branch_on_stage_for_two_projects_is_ambiguous_until_one_is_named(two: Desk) -> None:
    for project in ("shop", "blog"):
        two.operations.deploy("main", project=project, caller=ANNA)
    with pytest.raises(RequestError) as refused:
        two.operations.find("main")
    assert (refused.value.code, refused.value.http_status) == ("ambiguous-branch", 409)
    assert two.operations.find("main", project="blog").slug == "blog-main"


def test_what_is_not_on_stage_answers_with_the_nearest_that_is(desk: Desk) -> None:
    desk.live()
    with pytest.raises(RequestError) as refused:
        desk.operations.find("feature/y")
    assert (refused.value.code, refused.value.http_status) == ("no-such-environment", 404)
    assert refused.value.hint == "On stage: `feature/x`."
    with pytest.raises(RequestError):
        desk.operations.find("feature/x", project="blog")


# -- redeploy, sleep, wake, pin, destroy -----------------------------------------------------------------------


def test_a_redeploy_starts_over_with_new_containers(desk: Desk) -> None:
    environment = desk.live()
    desk.deploy()
    before = desk.current(environment)

    accepted = desk.operations.redeploy(environment.slug, caller=ANNA, notice=NOTICE)

    assert accepted.environment.salt == environment.salt + 1
    assert accepted.environment.needs_fetch
    superseded = desk.store.deployments.get(before.id)
    assert superseded is not None
    assert superseded.phase is Phase.SUPERSEDED
    assert desk.current(environment).cause == "redeploy asked by unix:anna"
    assert desk.events(environment)[-1] == "redeploy by unix:anna: redeploy asked for"


def test_sleep_ends_what_goes_on_and_keeps_the_row(desk: Desk) -> None:
    environment = desk.live()
    desk.deploy()

    accepted = desk.operations.sleep(environment.slug, caller=ANNA, notice=NOTICE)

    assert accepted.environment.wanted is Wanted.ASLEEP
    assert accepted.environment.deployed_revision == R1
    assert desk.store.deployments.current(environment.slug) is None
    assert [notice.kind for notice in desk.store.notices.open_for(environment.slug)] == ["sleep"]


def test_what_is_being_removed_is_not_put_to_sleep(desk: Desk) -> None:
    """It would stay for ever as a row without containers, with half of its data."""
    environment = desk.live()
    desk.operations.destroy(environment.slug, caller=ANNA)
    with pytest.raises(RequestError) as refused:
        desk.operations.sleep(environment.slug, caller=ANNA)
    assert (refused.value.code, refused.value.http_status) == ("being-removed", 409)
    assert desk.row(environment).wanted is Wanted.ABSENT


def test_wake_runs_what_sleeps_and_leaves_alone_what_runs(desk: Desk) -> None:
    environment = desk.live()
    already = desk.operations.wake(environment.slug, caller=ANNA, notice=NOTICE)
    assert already.deployment is None
    assert "awake already" in already.text
    assert desk.store.notices.open_for(environment.slug) == (), "it was answered at once"

    desk.operations.sleep(environment.slug, caller=ANNA)
    accepted = desk.operations.wake(environment.slug, caller=ANNA, notice=NOTICE)

    assert accepted.environment.wanted is Wanted.RUNNING
    assert desk.current(environment).cause == "woken by unix:anna"


def test_a_pinned_environment_hears_of_pushes_and_ignores_them_until_unpinned(desk: Desk) -> None:
    environment = desk.live()
    desk.operations.pin(environment.slug, caller=ANNA)
    desk.woken.clear()

    assert desk.operations.push("shop", "feature/x", deleted=False, caller="github") is None

    assert desk.woken == []
    assert not desk.row(environment).needs_fetch
    assert desk.events(environment)[-1] == "push by github: push ignored: the environment is pinned"

    desk.operations.unpin(environment.slug, caller=ANNA)
    assert desk.row(environment).needs_fetch, "the pushes that were missed"
    assert desk.woken == [environment.slug]


def test_destroy_twice_is_the_same_as_once(desk: Desk) -> None:
    environment = desk.live()
    desk.deploy()
    for _ in range(2):
        accepted = desk.operations.destroy(environment.slug, caller=ANNA)
        assert accepted.environment.wanted is Wanted.ABSENT
    assert desk.store.deployments.current(environment.slug) is None


@pytest.mark.parametrize("name", ["redeploy", "sleep", "wake", "pin", "unpin", "destroy"])
def test_nothing_can_be_asked_of_what_is_not_there(desk: Desk, name: str) -> None:
    operation: Callable[..., Accepted] = getattr(desk.operations, name)
    with pytest.raises(RequestError) as refused:
        operation(NOWHERE, caller=ANNA, notice=NOTICE)
    assert refused.value.http_status == 404
    assert desk.store.events.list() == ()
    assert desk.woken == []


# -- push and recover ------------------------------------------------------------------------------------------


def test_a_push_is_a_hint_to_look_and_begins_nothing_itself(desk: Desk) -> None:
    environment = desk.live()
    desk.woken.clear()
    assert desk.operations.push("shop", "feature/x", deleted=False, caller="github") == environment.slug
    assert desk.row(environment).needs_fetch
    assert desk.store.deployments.current(environment.slug) is None
    assert desk.woken == [environment.slug]


def test_a_push_of_a_branch_that_auto_deploy_names_creates_its_environment(desk: Desk) -> None:
    assert desk.operations.push("shop", "other", deleted=False, caller="github") is None
    slug = desk.operations.push("shop", "auto/this", deleted=False, caller="github")
    assert slug == "auto-this"
    [environment] = desk.store.environments.all()
    assert environment.needs_fetch
    assert desk.current(environment).cause == "first push of a branch that matches auto_deploy"


def test_a_deleted_branch_is_only_a_reason_to_list_the_branches(desk: Desk) -> None:
    environment = desk.live()
    desk.woken.clear()
    assert desk.operations.push("shop", "feature/x", deleted=True, caller="github") is None
    assert desk.poked == ["shop"]
    assert desk.row(environment) == environment
    assert desk.woken == []


def test_after_a_restart_of_the_host_everything_that_ran_comes_back_and_nothing_else(desk: Desk) -> None:
    running, asleep, never = desk.live("runs"), desk.live("sleeps"), desk.deploy("new")
    desk.operations.sleep(asleep.slug, caller=ANNA)

    desk.operations.recover("the host was started again")

    assert _cause(desk, running) == "the host was started again"
    assert desk.current(running).revision == R1
    assert _cause(desk, asleep) is None
    assert _cause(desk, never) == "asked by unix:anna"
    assert set(desk.woken) == {running.slug, asleep.slug, never.slug}


def test_what_a_person_asked_for_before_the_restart_is_answered_by_what_the_remote_says_after_it(desk: Desk) -> None:
    """With the old revision in it, the fetch would call it superseded, and so would who asked be told."""
    environment = desk.live()
    desk.deploy()

    desk.operations.recover("the host was started again")

    assert (_cause(desk, environment), desk.current(environment).revision) == ("asked by unix:anna", None)


def _cause(desk: Desk, environment: Environment) -> str | None:
    current = desk.store.deployments.current(environment.slug)
    return current.cause if current is not None else None
