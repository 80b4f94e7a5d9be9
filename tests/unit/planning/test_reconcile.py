"""The next steps for one environment, as text: what a reviewer would want to see when a plan changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import config
from agent.model.environment import Wanted
from agent.model.observed import Observed
from agent.model.release import BindMount
from agent.model.route import Backend
from agent.planning import reconcile, routing
from agent.planning.plan import Plan
from agent.planning.reconcile import Context
from tests.support.plans import NOW, R1, R2, container, deployment, environment, networks, observed, release, service

SETTINGS = config.parse(
    """
    domain = "staging.example.com"
    [projects.shop]
    remote = "https://git.example.com/shop.git"
    """,
    Path("/etc/butai"),
)
CONTEXT = Context(settings=SETTINGS, fingerprint="settings-1", now=NOW)
DB = service("db", has_healthcheck=True, in_place="writes the volume data")
WEB = service("web", "db:healthy", public=True, ports=(8000,))
SHOP = release(DB, WEB)
DB_UP = container(DB, health="healthy")
WEB_UP = container(WEB)


def plan(world: Observed, *, going: bool = True, context: Context = CONTEXT, **changes: object) -> Plan:
    return reconcile.plan(environment(**changes), deployment() if going else None, world, context)


def live(world: Observed) -> Observed:
    """The same world with its route written and confirmed."""
    table = plan(world).route
    assert table is not None
    return replace(world, routed=table, confirmed=True)


UP = live(observed(SHOP, DB_UP, WEB_UP, listening=frozenset({"web-1"})))


def test_a_new_request_is_fetched_before_anything_else() -> None:
    assert str(plan(UP, request=2)) == "fetch feature/x: somebody asked, or a push was seen"


def test_a_pinned_environment_is_not_fetched() -> None:
    assert plan(UP, request=2, pinned=True).converged


def test_the_compose_file_is_read_once_per_revision() -> None:
    assert str(plan(observed(None))) == "read 1111111111: its compose file was not read yet"


def test_images_are_made_side_by_side_and_the_worktree_of_a_new_environment_with_them() -> None:
    world = observed(SHOP, images={}, checkout=None)
    assert str(plan(world)) == (
        "pull db:1: not on this host\npull web:1: not on this host\ncheckout 1111111111: the worktree holds nothing"
    )


def test_the_worktree_that_people_see_moves_only_after_every_image_is_there() -> None:
    missing = replace(UP, checkout=R2, images={"db:1": "sha-db"})
    assert "checkout" not in str(plan(missing))
    built = replace(UP, checkout=R2)
    assert str(plan(built)) == "checkout 1111111111: the worktree holds 2222222222"


BEHIND = replace(UP, checkout=R2)  # a worktree that no container mounts
OLD = container(WEB, config="older", number=2)


@pytest.mark.parametrize(
    ("world", "row", "first"),
    [
        (BEHIND, {}, "checkout 1111111111: the worktree holds 2222222222"),
        (replace(BEHIND, checkout=None), {}, "checkout 1111111111: the worktree holds nothing"),
        (replace(BEHIND, containers=(DB_UP, WEB_UP, OLD)), {}, "checkout 1111111111: the worktree holds 2222222222"),
        (replace(BEHIND, edited=R2), {}, "nothing to do"),
        (BEHIND, {"request": 2}, "fetch feature/x: somebody asked, or a push was seen"),
        (BEHIND, {"wanted": Wanted.ASLEEP}, "route feature-x: it goes to sleep"),
        (BEHIND, {"wanted": Wanted.ABSENT}, "unroute feature-x: the environment is being removed"),
    ],
)
@pytest.mark.parametrize("going", [True, False], ids=["at the end of its deployment", "after a crash of the agent"])
def test_a_worktree_that_no_container_mounts_follows_when_the_revision_is_live(
    world: Observed, row: dict[str, object], first: str, *, going: bool
) -> None:
    found = plan(world, going=going, **{"deployed_revision": R1} | row)
    assert str(found) == first
    assert found.live == (not row)


def test_a_worktree_that_no_container_mounts_waits_for_the_route() -> None:
    unconfirmed = replace(BEHIND, confirmed=False)
    assert str(plan(unconfirmed, deployed_revision=R2)) == "wait for Traefik to serve the new route"


def test_a_revision_that_the_same_containers_serve_is_live_before_the_header_says_so() -> None:
    assert UP.routed is not None
    world = replace(UP, routed=replace(UP.routed, revision=R2))
    found = plan(world)
    assert (str(found), found.live) == ("route feature-x: the same containers serve another revision", True)
    assert not plan(replace(world, confirmed=False)).live
    behind = plan(replace(world, checkout=R2), deployed_revision=R2)
    assert (str(behind).splitlines(), behind.live) == (
        [str(found), f"checkout {R1.short}: the worktree holds {R2.short}"],
        True,
    )


def test_only_services_that_changed_get_a_new_container() -> None:
    world = replace(UP, containers=(DB_UP, container(WEB, config="older")))
    assert str(plan(world)) == "create web: web changed"


def test_what_slept_while_its_network_was_pruned_is_created_anew() -> None:
    """The engine starts no container whose network it lost, even when there is one of that name again."""
    done = container(service("migrate", one_shot=True), "exited", exit_code=0)
    shop = release(DB, WEB, service("migrate", one_shot=True))
    world = observed(shop, container(DB, "exited", exit_code=0), WEB_UP, done, networks={})
    assert str(plan(world)) == "remove butai-feature-x-db-1: its network is gone"
    removed = replace(world, containers=(WEB_UP, done))
    assert str(plan(removed)) == "create db: db has no container; network butai-feature-x_default is missing"


def test_containers_that_wait_for_a_network_of_an_earlier_life_are_made_anew() -> None:
    """Compose makes a missing network without a word; what knew the old one by its id never starts again."""
    db = container(DB, "exited", exit_code=0, networks={"butai-feature-x_default": "id-before"})
    assert str(plan(observed(SHOP, db, WEB_UP))) == "remove butai-feature-x-db-1: its network is gone"
    new = container(DB, "created", networks={"butai-feature-x_default": ""})
    assert str(plan(observed(SHOP, new, WEB_UP))).startswith("start db: it is new")


def test_a_container_that_somebody_took_out_of_its_network_is_replaced() -> None:
    lost = replace(UP, containers=(DB_UP, container(WEB, networks={"bridge": "id-bridge"}, addresses={})))
    assert str(plan(lost, going=False)) == "create web: web changed"
    migrate = service("migrate", one_shot=True)
    done = container(migrate, "exited", exit_code=0, networks={})
    assert "create" not in str(plan(observed(release(DB, WEB, migrate), DB_UP, WEB_UP, done)))


def test_what_takes_long_to_start_is_looked_at_less_often() -> None:
    """The engine tells of health by itself; a port is asked, and nobody notices a twentieth of what it took so far."""
    checked = observed(SHOP, container(DB, health="starting"), container(WEB, "created"))
    asked = observed(release(WEB), container(WEB))
    for starting_s, health_s, port_s in ((0.0, 0.1, 0.015), (1.0, 0.1, 0.05), (4.0, 0.2, 0.2), (60.0, 1.0, 0.25)):
        assert plan(replace(checked, starting_s=starting_s)).look_again_s == pytest.approx(health_s)
        assert plan(replace(asked, starting_s=starting_s)).look_again_s == pytest.approx(port_s)


def test_what_mounts_a_worktree_that_somebody_removed_is_made_anew_with_it() -> None:
    mounting = replace(WEB, binds=(BindMount("www", "/www"),))
    web = container(mounting, labels={**WEB_UP.labels, "butai.worktree": "first"})
    world = live(observed(release(DB, mounting), DB_UP, web, listening=frozenset({"web-1"}), checkout_identity="first"))
    assert plan(world).converged
    assert str(plan(replace(world, checkout=None), going=False)).startswith("checkout 1111111111")
    assert str(plan(replace(world, checkout_identity="second"), going=False)) == "create web: web changed"
    assert "create" not in str(plan(replace(world, checkout_identity=""), going=False))
    unknown = replace(world, checkout_identity="second", containers=(DB_UP, container(mounting)))
    assert "create" not in str(plan(unknown, going=False)), "made before anybody wrote it down"
    copied = replace(UP, checkout_identity="second", containers=(DB_UP, replace(web, id="web-1")))
    assert "create" not in str(plan(copied, going=False)), "it mounts nothing"


def test_traefik_joins_while_containers_start() -> None:
    world = observed(SHOP, container(DB, "created"), container(WEB, "created"), edge_networks=frozenset())
    assert str(plan(world)) == (
        "start db: it is new\njoin butai-feature-x_default: Traefik is not in it\nwait for db (needed by web)"
    )


def test_the_route_is_written_when_everything_is_ready_and_believed_when_traefik_answers() -> None:
    ready = replace(UP, routed=None, confirmed=False)
    first = plan(ready)
    assert str(first) == "route feature-x: it has no route yet"
    written = replace(ready, routed=first.route)
    assert str(plan(written)) == "wait for Traefik to serve the new route"
    confirmed = replace(written, confirmed=True)
    assert plan(confirmed).live
    assert plan(confirmed).converged


def test_old_containers_go_only_after_the_route_was_confirmed() -> None:
    old = container(WEB, config="older", number=2)
    before = replace(UP, containers=(DB_UP, WEB_UP, old), confirmed=False)
    assert "remove" not in str(plan(before))
    after = replace(before, confirmed=True)
    assert str(plan(after)) == "remove butai-feature-x-web-2: replaced"
    assert plan(after).live


def test_what_no_release_names_any_more_is_tidied_up_one_kind_at_a_time() -> None:
    world = replace(UP, networks=networks(SHOP, "butai-feature-x_gone"), own_images=("butai/feature-x/web:0000",))
    assert str(plan(world)) == "remove network butai-feature-x_gone: no service uses it"
    assert str(plan(replace(world, networks=networks(SHOP)))) == "untag 1 image tags: of an older revision"


def test_tags_that_were_not_looked_for_are_looked_for_at_once_after_it_is_live() -> None:
    found = plan(replace(UP, own_images=None))
    assert found.live
    assert found.converged
    assert found.look_again_s == 0.0


def test_a_failed_revision_goes_back_to_the_last_good_one() -> None:
    failed = {"revision": R2, "failed_revision": R2, "failed_config": "settings-1", "deployed_revision": R1}
    assert plan(UP, **failed).converged
    dead = container(WEB, "exited", config="of-r2", number=2, exit_code=1)
    assert (
        str(plan(replace(UP, containers=(DB_UP, WEB_UP, dead)), **failed)) == "remove butai-feature-x-web-2: replaced"
    )


def test_changed_settings_give_a_failed_revision_another_try() -> None:
    failed = {"failed_revision": R1, "failed_config": "settings-0"}
    assert str(plan(observed(None), **failed)) == "read 1111111111: its compose file was not read yet"


def test_a_revision_that_failed_without_a_good_one_before_it_gets_a_page_and_keeps_its_pieces() -> None:
    failed = {"failed_revision": R1, "failed_config": "settings-1"}
    dead = container(WEB, "exited", exit_code=1)
    first = plan(observed(None, dead), **failed)
    assert str(first) == "route feature-x: nothing of it can serve"
    assert first.route is not None
    assert first.route.backend is Backend.AGENT
    second = plan(observed(None, dead, routed=first.route), **failed)
    assert second.converged
    assert second.live


def test_a_crashed_container_is_started_again_less_and_less_often_and_not_for_ever() -> None:
    crashed = replace(UP, containers=(DB_UP, container(WEB, "exited", exit_code=1)))
    assert str(plan(crashed, going=False)) == "start web: exited"
    paged = replace(crashed, routed=routing.waiting_table(environment(), SETTINGS))
    waiting = plan(paged, going=False, repairs=2, repaired_at=NOW - timedelta(seconds=3))
    assert str(waiting) == "wait for the next attempt to repair in 5 s"
    assert waiting.look_again_s == pytest.approx(5.0)
    over = plan(paged, going=False, repairs=5, repaired_at=NOW)
    assert str(over) == "wait for somebody to push or to deploy again\nfail: web exited 1; five restarts did not help."
    assert over.failure is not None
    assert (over.failure.code, over.failure.service, over.look_again_s) == ("crashed", "web", None)


@pytest.mark.parametrize("repairs", [2, 5])
def test_what_has_crashed_and_waits_shows_a_page_and_gets_its_route_back_when_it_runs(repairs: int) -> None:
    tried = {"repairs": repairs, "repaired_at": NOW}
    crashed = replace(UP, containers=(DB_UP, container(WEB, "exited", exit_code=1)))
    first = plan(crashed, going=False, **tried)
    assert str(first) == "route feature-x: nothing behind its route runs"
    assert first.route == routing.waiting_table(environment(), SETTINGS)
    again = plan(replace(UP, routed=first.route), going=False, **tried)
    assert again.route == UP.routed


def test_a_route_to_what_runs_stays_while_something_else_has_crashed() -> None:
    world = replace(UP, containers=(container(DB, "exited", exit_code=1), WEB_UP))
    tried = {"repairs": 2, "repaired_at": NOW - timedelta(seconds=3)}
    assert str(plan(world, going=False, **tried)) == "wait for the next attempt to repair in 5 s"


def test_what_failed_by_itself_is_made_again_less_and_less_often_and_not_for_ever() -> None:
    """Images pruned by hand and a build that fails, settings that forbid what they allowed: told once, not a loop."""
    pruned = replace(UP, images={})
    assert "pull db:1" in str(plan(pruned, going=False))
    tried = {"failed_config": "settings-1", "repaired_at": NOW - timedelta(seconds=3)}
    assert str(plan(pruned, going=False, repairs=2, **tried)) == "wait for the next attempt to repair in 5 s"
    over = plan(pruned, going=False, repairs=5, **tried)
    assert str(over) == "wait for somebody to push or to deploy again: the last attempt failed"
    assert over.look_again_s is None
    assert "pull db:1" in str(plan(pruned, going=True, repairs=5, **tried)), "somebody asked"
    other = Context(settings=SETTINGS, fingerprint="settings-2", now=NOW)
    assert "pull db:1" in str(plan(pruned, going=False, repairs=5, context=other, **tried)), "the settings changed"


def test_what_cannot_be_made_and_does_not_run_says_so_at_its_url() -> None:
    tried = {"failed_config": "settings-1", "repairs": 5, "repaired_at": NOW}
    first = plan(replace(UP, images={}, containers=()), going=False, **tried)
    assert str(first) == "route feature-x: nothing of it runs"
    assert first.route is not None
    assert first.route.backend is Backend.AGENT


def test_new_containers_that_failed_are_not_given_the_route_when_nobody_looks() -> None:
    """Changed settings made them, beside the good ones; without a deployment nobody probes their port."""
    good = container(WEB, config="older", number=2)
    world = replace(UP, containers=(DB_UP, container(WEB, health="unhealthy"), good))
    assert world.routed is not None
    [route] = world.routed.routes
    world = replace(world, routed=replace(world.routed, routes=(replace(route, containers=(good.name,)),)))
    tried = {"failed_config": "settings-1", "repairs": 1, "repaired_at": NOW}
    assert str(plan(world, going=False, **tried)).startswith("wait for somebody")


def test_an_environment_whose_project_left_the_settings_is_left_alone_and_can_be_removed() -> None:
    assert str(plan(UP, project="gone")) == "wait for its project to come back into the settings"
    assert "unroute" in str(plan(UP, project="gone", wanted=Wanted.ABSENT))


def test_what_is_not_ready_in_time_fails_and_names_what_it_waited_for() -> None:
    world = observed(SHOP, container(DB, health="starting"), container(WEB, "created"), starting_s=121.0)
    assert "Not ready after 120 s: still waiting for" in str(plan(world))
    assert "db to become healthy" in str(plan(world))


def test_sleep_shows_the_page_first_and_stops_dependents_before_what_they_need() -> None:
    asleep = {"wanted": Wanted.ASLEEP}
    first = plan(UP, going=False, **asleep)
    assert str(first) == "route feature-x: it goes to sleep"
    paged = replace(UP, routed=first.route)
    assert str(plan(paged, going=False, **asleep)) == "stop web: sleep was asked for"
    half = replace(paged, containers=(DB_UP, container(WEB, "exited", exit_code=0)))
    assert str(plan(half, going=False, **asleep)) == "stop db: sleep was asked for"
    done = replace(paged, containers=(container(DB, "exited"), container(WEB, "exited")))
    assert plan(done, going=False, **asleep).live


def test_destroy_takes_everything_in_an_order_that_can_stop_anywhere() -> None:
    absent = {"wanted": Wanted.ABSENT}
    world = replace(UP, volumes=("butai-feature-x_data",), own_images=("butai/feature-x/web:1111",), has_files=True)
    seen = []
    for _ in range(10):
        step = plan(world, going=False, **absent)
        seen.append(str(step.steps[0].verb))
        match seen[-1]:
            case "unroute":
                world = replace(world, routed=None)
            case "remove":
                world = replace(world, containers=())
            case "leave":
                world = replace(world, edge_networks=frozenset())
            case "remove network":
                world = replace(world, networks={})
            case "remove volume":
                world = replace(world, volumes=(), own_images=(), checkout=None, has_files=False)
            case "forget":
                break
    assert seen == ["unroute", "remove", "leave", "remove network", "remove volume", "forget"]


def test_the_table_of_a_live_environment_names_its_containers_and_revision() -> None:
    assert UP.routed is not None
    assert routing.render(UP.routed, SETTINGS)
    assert UP.routed.revision == R1
    assert [route.containers for route in UP.routed.routes] == [("butai-feature-x-web-1",)]


def test_an_edit_that_failed_stays_in_the_worktree_where_its_author_has_it_open() -> None:
    failed = {"edited": R2, "failed_revision": R2, "failed_config": "settings-1", "deployed_revision": R1}
    world = replace(UP, checkout=R2)
    assert str(plan(world, **failed)).startswith("checkout")
    assert plan(replace(world, edited=R2), **failed).converged
