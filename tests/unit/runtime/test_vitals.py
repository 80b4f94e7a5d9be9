"""Whether the agent is ready, which part keeps it from that, and that a part which hangs makes nobody else hang."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.errors import OutsideError, RequestError
from agent.model.care import EngineFigures, Shortage
from agent.runtime.vitals import Vitals
from tests.support.careworld import GB, NOW, CareWorld, HandStop, build_world, change_settings
from tests.support.desk import Desk


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CareWorld]:
    world = build_world(tmp_path)
    world.store.branches.replace("shop", {}, NOW)
    world.vitals.look()
    yield world
    world.store.close()


def problems(vitals: Vitals) -> Mapping[str, str]:
    return {part.name: part.problem for part in vitals.parts() if part.problem}


def test_everything_there_is_ready(world: CareWorld) -> None:
    assert problems(world.vitals) == {}
    assert [part.name for part in world.vitals.parts()] == ["database", "engine", "traefik", "git"]


def test_nothing_is_ready_before_it_was_asked(tmp_path: Path) -> None:
    world = build_world(tmp_path)
    assert problems(world.vitals) == {
        "engine": "Docker was not asked yet.",
        "traefik": "Traefik was not asked yet.",
        "git": "Not read yet: the remotes of shop.",
    }
    world.store.close()


def test_each_part_says_why_it_is_not_ready(world: CareWorld) -> None:
    world.engine.failure = OutsideError("Docker does not answer on /x.", hint="See.", code="docker-down")
    world.traefik[0] = False
    world.vitals.look()
    assert problems(world.vitals) == {
        "engine": "Docker does not answer on /x.",
        "traefik": "Traefik does not answer.",
    }
    world.engine.failure, world.traefik[0] = None, True
    world.vitals.look()
    assert problems(world.vitals) == {}


def test_a_docker_that_hangs_is_told_while_it_hangs(world: CareWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()
    figures = world.engine.figures()

    def hang() -> EngineFigures:
        asked.set()
        answer.wait(10)
        return figures

    monkeypatch.setattr(world.engine, "figures", hang)
    looking = threading.Thread(target=world.vitals.look)
    looking.start()
    assert asked.wait(10)
    world.clock.seconds += 12
    assert problems(world.vitals) == {"engine": "Docker has not answered for 12 s."}
    answer.set()
    looking.join()
    assert problems(world.vitals) == {}
    assert world.vitals.last.engine_s == 12


def test_a_database_that_cannot_be_read_is_a_problem_and_no_error(
    world: CareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OutsideError("The database cannot be used: the disk reports an error.")

    monkeypatch.setattr(world.store.environments, "all", refuse)
    assert problems(world.vitals) == {"database": "The database cannot be used: the disk reports an error."}


def test_the_disk_of_an_engine_elsewhere_is_not_measured_here(tmp_path: Path) -> None:
    world = build_world(tmp_path, '[docker]\nhost = "tcp://10.0.0.1:2375"\n')
    world.vitals.look()
    assert [disk.place for disk in world.vitals.look().disks] == ["state"]
    world.store.close()


def test_the_disk_of_the_engine_is_measured_also_while_it_is_away(world: CareWorld) -> None:
    world.engine.failure = OutsideError("Docker does not answer.", code="docker-down")
    world.vitals.look()
    world.fill("engine", free_bytes=GB)
    assert "nearly full" in str(world.vitals.shortage())


def test_nothing_new_goes_on_stage_while_a_disk_is_nearly_full(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    live = desk.live("main")
    shortage = Shortage("The disk of /x is nearly full.", "1 GB are free, less than 10 GB.")
    monkeypatch.setattr(desk.operations, "_shortage", lambda: shortage)
    with pytest.raises(RequestError, match=r"nearly full\. 1 GB") as caught:
        desk.deploy("feature/new")
    assert (caught.value.code, caught.value.http_status) == ("disk-nearly-full", 409)
    assert caught.value.hint
    with pytest.raises(RequestError, match="nearly full"):
        desk.operations.redeploy(live.slug, caller="unix:anna")
    assert [each.branch for each in desk.store.environments.all()] == ["main"]
    assert desk.store.deployments.current(live.slug) is None
    desk.deploy("main")
    desk.operations.destroy(live.slug, caller="unix:anna")


def test_everything_is_asked_seldom_and_what_is_away_more_often(world: CareWorld) -> None:
    before = world.engine.asked
    world.vitals.run(HandStop(world, 150, at_s=75, act=lambda: world.traefik.__setitem__(0, False)))
    seldom, often = 75 / 15, 75 / 2
    assert seldom + often - 10 < world.engine.asked - before <= seldom + often + 2


def test_changed_limits_count_at_once(world: CareWorld) -> None:
    def change() -> None:
        assert world.vitals.shortage() is None
        change_settings(world, "[care]\nmin_free_percent = 90\n")

    world.vitals.run(HandStop(world, 4, at_s=2, act=change))
    assert world.vitals.shortage() is not None


def test_a_mistake_of_ours_is_a_problem_of_the_engine_and_ends_nothing(
    world: CareWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.engine, "figures", lambda: 1 / 0)
    world.vitals.run(HandStop(world, 4, at_s=2, act=lambda: None))
    assert "mistake of ours" in problems(world.vitals)["engine"]
