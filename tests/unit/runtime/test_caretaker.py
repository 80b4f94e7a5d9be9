"""The caretaker: copies, what it cleans and when, and what it says when it cannot."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.errors import OutsideError
from agent.model.deployment import Phase
from agent.model.names import Slug
from agent.planning import care as planning
from agent.runtime.steplog import log_path
from agent.store import Store
from tests.support.careworld import GB, NOW, CareWorld, HandStop, build_world, change_settings, image
from tests.support.fakes_api import container
from tests.support.plans import environment

DAY = 86_400.0
AWAY = OutsideError("Docker does not answer.", code="docker-down")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CareWorld]:
    world = build_world(tmp_path)
    yield world
    world.store.close()


def test_the_database_is_copied_at_once_and_then_every_day_and_a_week_of_copies_is_kept(world: CareWorld) -> None:
    (world.directory / "backups").mkdir()
    (world.directory / "backups" / "before-upgrade.db").write_text("mine")
    for _ in range(10):
        world.after(DAY)
        world.after(60)
    assert len(world.backups()) == 8
    assert "before-upgrade.db" in world.backups()
    newest = world.directory / "backups" / world.backups()[-1]
    assert stat.S_IMODE(newest.stat().st_mode) == 0o600
    Store.open(newest).close()
    assert world.caretaker.last_backup_at() is not None
    assert world.caretaker.removed["backup"] == 3


def test_a_start_makes_no_copy_while_the_last_one_is_young(world: CareWorld) -> None:
    (world.directory / "backups").mkdir(mode=0o700)
    (world.directory / "backups" / planning.backup_name(NOW - timedelta(hours=1))).write_text("")
    world.after(1)
    world.after(DAY - 3700)
    assert len(world.backups()) == 1
    world.after(200)
    assert len(world.backups()) == 2


def test_only_the_agent_may_look_into_the_folder_of_copies(world: CareWorld) -> None:
    world.after(1)
    assert stat.S_IMODE((world.directory / "backups").stat().st_mode) == 0o700


def test_what_a_killed_agent_left_of_a_copy_goes_with_the_next_one(world: CareWorld) -> None:
    (world.directory / "backups").mkdir()
    for name in (".butai-20260101T000000Z.db.new", ".butai-20260101T000000Z.db.new-journal", ".mine"):
        (world.directory / "backups" / name).write_text("half")
    world.after(1)
    left = {path.name for path in (world.directory / "backups").iterdir()}
    assert left == {".mine", planning.backup_name(world.clock.now())}


def test_a_copy_that_fails_is_told_once_and_tried_again_soon(world: CareWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        world.after(1)
        world.after(601)
    assert world.caretaker.failing() == {"backup"}
    assert world.backups() == []
    [told] = world.told()
    assert "No space left on device" in told
    world.after(601)
    assert len(world.backups()) == 1
    assert world.caretaker.failing() == frozenset()
    assert world.told()[-1] == "backup: works again"


def test_what_nobody_needs_goes_once_an_hour_and_what_somebody_needs_stays(world: CareWorld) -> None:
    world.store.environments.restore(environment(slug=Slug("main")))
    world.engine.running = [container("main", image_id="sha256:used")]
    world.engine.put(
        image("old"),
        image("used"),
        image("here", "butai/main/web:1"),
        image("gone", "butai/gone/web:1", slug="gone"),
        image("stopped", "butai/lost/web:1", slug="lost"),
    )
    world.engine.running.append(container("lost", image_id="sha256:stopped"))
    world.engine.cache = 30 * GB
    world.after(1)
    assert len(world.engine.kept) == 5, "a start has better to do"
    world.after(60)
    assert set(world.engine.kept) == {"sha256:used", "sha256:here", "sha256:stopped"}
    assert world.engine.cache == 20 * GB
    assert (world.caretaker.cache_bytes, world.caretaker.freed_bytes) == (20 * GB, 10 * GB)
    world.engine.put(image("later"))
    world.after(3500)
    assert "sha256:later" in world.engine.kept
    world.after(101)
    assert "sha256:later" not in world.engine.kept
    assert world.caretaker.removed["image"] == 2


def test_old_step_logs_go_and_those_of_an_environment_that_is_gone(world: CareWorld) -> None:
    kept = world.store.environments.restore(environment(slug=Slug("main")))
    for _ in range(22):
        begun = world.store.deployments.begin(kept, cause="c", caller="a", now=NOW)
        world.store.deployments.finish(begun.id, Phase.FAILED, now=NOW)
    (world.directory / "logs").mkdir()
    for number in range(24):
        log_path(world.directory, number).write_text("#1 built")
    world.caretaker.clean(urgent=False)
    left = {int(path.stem) for path in (world.directory / "logs").iterdir()}
    assert left == set(range(3, 23))


def test_history_goes_after_the_time_that_the_settings_say_however_much_there_is(world: CareWorld) -> None:
    kept = world.store.environments.restore(environment(slug=Slug("main")))
    gone = replace(kept, slug=Slug("gone"))
    with world.store.transaction():
        for _ in range(1_500):
            begun = world.store.deployments.begin(gone, cause="c", caller="a", now=NOW - timedelta(days=91))
            world.store.deployments.finish(begun.id, Phase.FAILED, now=NOW - timedelta(days=91))
        for days in (91, 89):
            for _ in range(1_200):
                world.store.events.add("kind", caller="a", text=str(days), now=NOW - timedelta(days=days))
    world.caretaker.clean(urgent=False)
    assert world.store.deployments.last(gone.slug) is None
    assert {event.text for event in world.store.events.list(limit=5_000)} == {"89"}
    assert (world.caretaker.removed["deployment"], world.caretaker.removed["event"]) == (1_500, 1_200)
    change_settings(world, "[care]\nhistory_age_s = 86400\n")
    world.caretaker.clean(urgent=False)
    assert len(world.store.events.list(limit=5_000)) == 1_000, "the newest stay, whatever the clock says"
    assert world.caretaker.failing() == frozenset()


def test_a_docker_that_is_away_keeps_no_log_from_going_and_is_told_once(world: CareWorld) -> None:
    (world.directory / "logs").mkdir()
    log_path(world.directory, 7).write_text("#1 built")
    world.engine.put(image("old"))
    world.engine.failure = AWAY
    world.after(61)
    world.after(3601)
    assert not list((world.directory / "logs").iterdir())
    assert world.caretaker.failing() == {"images", "build_cache"}
    assert len(world.told()) == 2
    world.engine.failure = None
    world.after(3601)
    assert world.engine.kept == {}
    assert world.told()[2:] == ["images: works again", "build cache: works again"]


def test_a_nearly_full_disk_is_told_and_cleaned_at_once_and_told_when_there_is_room(world: CareWorld) -> None:
    world.engine.put(image("hours", created_at=NOW - timedelta(hours=2)))
    world.engine.cache = 19 * GB
    world.after(61)
    assert world.engine.kept
    world.fill(free_bytes=GB)
    world.after(1)
    assert world.engine.kept == {}
    assert world.engine.cache == 5 * GB
    world.engine.cache = 6 * GB
    world.fill(free_bytes=GB - 1)
    world.after(100)
    assert world.engine.cache == 6 * GB, "not over and over"
    world.after(201)
    assert world.engine.cache == 5 * GB
    world.fill(free_bytes=50 * GB)
    world.after(1)
    assert world.told() == [
        "The disk of /var/lib/butai is nearly full. 1 GB are free, less than 10 GB.",
        "the disks have room again",
    ]


def test_a_mistake_of_ours_ends_nothing(world: CareWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.engine, "stored_images", lambda labels: 1 / 0)
    world.engine.cache = 30 * GB
    world.after(61)
    assert world.engine.cache == 20 * GB
    assert world.caretaker.failing() == {"images"}


def test_volumes_mirrors_and_checkouts_are_never_touched(world: CareWorld) -> None:
    for name in ("mirrors/gone.git/HEAD", "checkouts/gone/app.py", "scratch/contexts/x"):
        path = world.directory / name
        path.parent.mkdir(parents=True)
        path.write_text("what somebody made")
    world.fill(free_bytes=0)
    world.caretaker.clean(urgent=True)
    for name in ("mirrors/gone.git/HEAD", "checkouts/gone/app.py", "scratch/contexts/x"):
        assert (world.directory / name).exists()


def test_a_disk_without_figures_is_not_full(world: CareWorld) -> None:
    world.host.sizes = {}
    assert world.vitals.look().shortage is None
    world.host.sizes = {"engine": replace(image_disk(), free_bytes=0)}
    world.vitals.look()
    assert "/engine" in str(world.vitals.shortage())


def image_disk() -> planning.Disk:
    return planning.Disk("engine", "/engine", 100 * GB, 50 * GB, 0, 0)


def test_changed_settings_are_taken_up_while_it_runs(tmp_path: Path) -> None:
    world = build_world(tmp_path, "[care]\nbackups = 0\nclean_interval_s = 86400\n")
    world.after(61)
    world.engine.put(image("old"))

    def change() -> None:
        assert world.backups() == []
        assert world.engine.kept
        change_settings(world, "[care]\nclean_interval_s = 100\n")

    world.caretaker.run(HandStop(world, 300, at_s=150, act=change))
    assert len(world.backups()) == 1
    assert world.engine.kept == {}
    world.store.close()
