"""What may go, and when there is too little room."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.config import Care
from agent.model.care import Disk, KeptFile, StoredImage
from agent.planning import care
from agent.planning.care import Removal
from tests.support.careworld import GB, LONG_AGO, NOW, ROOMY, image

CARE = Care()


def removal(*images: StoredImage, urgent: bool = False, **changes: object) -> Removal:
    given: dict[str, object] = {"instance": "butai", "used": (), "slugs": ("main",), "now": NOW, "care": CARE}
    return care.unused_images(images, urgent=urgent, **{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("disk", "word"),
    [
        (ROOMY, "None"),
        (replace(ROOMY, free_bytes=9 * GB), "9 GB are free, less than 10 GB."),
        (replace(ROOMY, size_bytes=10 * GB, free_bytes=int(1.5 * GB)), "1.5 GB are free, less than 2 GB."),
        (replace(ROOMY, free_inodes=49_999), "49999 inodes are free, less than 50000."),
        (replace(ROOMY, inodes=0, free_inodes=0), "None"),  # Btrfs makes them as it needs them
    ],
)
def test_a_disk_is_nearly_full_by_part_by_size_or_by_inodes(disk: Disk, word: str) -> None:
    found = care.shortage([ROOMY, disk], CARE)
    assert str(found).endswith(word)
    assert found is None or disk.path in found.what


def test_a_dangling_image_of_ours_goes_when_it_is_old_and_nothing_was_made_from_it() -> None:
    young = image("young", created_at=NOW - timedelta(hours=1))
    assert removal(image("old"), young, image("used"), used=("sha256:used",)) == Removal(dangling=("sha256:old",))


def test_nothing_of_anybody_else_goes() -> None:
    nobodys = StoredImage("sha256:x", (), LONG_AGO, 1, {})
    assert removal(nobodys, image("theirs", instance="butai2")) == Removal()


def test_the_images_of_an_environment_stay_and_those_of_one_that_is_gone_go() -> None:
    here = image("here", "butai/main/web:1111")
    gone = image("gone", "butai/gone/web:1111", "butai/gone/web:1111-delta", slug="gone")
    kept = image("kept", "butai/gone/web:2222", "mine/kept:1", slug="gone")
    assert removal(here, gone, kept) == Removal(
        tags=("butai/gone/web:1111", "butai/gone/web:1111-delta", "butai/gone/web:2222")
    )
    assert removal(gone, used=("sha256:gone",)) == Removal()
    assert removal(image("none", "butai/x:1", slug="")) == Removal()


def test_when_the_disk_is_nearly_full_younger_images_go_but_none_that_is_being_made() -> None:
    hour, minute = (image(str(age), created_at=NOW - age) for age in (timedelta(hours=1), timedelta(minutes=1)))
    assert removal(hour, minute, urgent=True) == Removal(dangling=(hour.id,))
    assert removal(hour, minute) == Removal()


def test_the_build_cache_is_bounded_and_of_a_nearly_full_disk_a_quarter_stays() -> None:
    assert care.cache_to_keep(CARE, urgent=False) == 20 * GB
    assert care.cache_to_keep(CARE, urgent=True) == 5 * GB
    assert care.cache_to_keep(Care(build_cache=""), urgent=True) is None


def test_logs_of_deployments_that_nobody_asks_for_go_and_then_the_oldest_beyond_the_limit() -> None:
    files = [KeptFile(f"{number}.log", 3 << 20, NOW + timedelta(minutes=number)) for number in range(6)]
    assert care.old_logs(files, kept={2, 3, 4, 5}, care=CARE) == ("1.log", "0.log")
    assert care.old_logs(files, kept={2, 3, 4, 5}, care=Care(step_logs="7m")) == ("1.log", "0.log", "3.log", "2.log")
    huge = [KeptFile("7.log", 9 << 20, NOW)]
    assert care.old_logs(huge, kept={7}, care=Care(step_logs="4m")) == ()


def test_the_newest_backups_stay_and_so_does_what_a_person_put_there() -> None:
    names = [care.backup_name(NOW - timedelta(days=days)) for days in range(4)]
    others = ["butai-before-upgrade.db", "notes.txt", "butai-20261399T000000Z.db"]
    assert care.old_backups([*names, *others], Care(backups=2), made=names[0]) == (names[2], names[3])
    later = care.backup_name(NOW + timedelta(days=400))  # the clock was put back since
    assert care.old_backups([later, *names], Care(backups=2), made=names[0]) == tuple(names[1:])
    assert care.old_backups(names[:1], Care(backups=1), made=names[0]) == ()


def test_a_backup_is_due_when_there_is_none_or_the_newest_is_old() -> None:
    day = CARE.backup_interval_s
    assert care.backup_due_s([], now=NOW, care=CARE) == 0
    assert care.backup_due_s([care.backup_name(NOW - timedelta(hours=1))], now=NOW, care=CARE) == day - 3600
    assert care.backup_due_s([care.backup_name(NOW - timedelta(days=9))], now=NOW, care=CARE) == 0
    assert care.backup_due_s([care.backup_name(NOW + timedelta(days=9))], now=NOW, care=CARE) == 0
    assert care.backup_due_s([], now=NOW, care=Care(backups=0)) is None
