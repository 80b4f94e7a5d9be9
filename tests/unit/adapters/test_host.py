"""Files of root in the agent's folder: they become the agent's, and nothing else does."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from agent.adapters import host
from agent.errors import OutsideError

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that are somebody else's")
def test_what_root_made_in_the_folder_of_a_user_becomes_that_users(tmp_path: Path) -> None:
    state, outside = tmp_path / "state", tmp_path / "outside"
    (state / "checkouts").mkdir(parents=True)
    outside.write_text("root's own")
    (state / "link").symlink_to(outside)
    for name in ("butai.db", "butai.db-wal", "lock"):
        (state / name).touch(0o600)
    os.chown(state, NOBODY, NOBODY)

    host.hand_over(state)

    owners = {path.name: path.lstat().st_uid for path in state.iterdir() if not path.is_symlink()}
    assert owners == {"butai.db": NOBODY, "butai.db-wal": NOBODY, "lock": NOBODY, "checkouts": 0}
    assert outside.stat().st_uid == 0


def test_a_users_own_folder_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "butai.db").touch()
    host.hand_over(tmp_path)
    assert (tmp_path / "butai.db").stat().st_uid == os.geteuid()


def test_an_agent_keeps_its_name_with_its_state(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    name = host.identity(one)
    assert len(name) == 16
    assert host.identity(one) == name != host.identity(other)


def test_another_boot_is_told_until_somebody_has_done_what_it_asks_for(tmp_path: Path) -> None:
    """The agent may be killed in between, and the containers that ended cleanly would stay down for good."""
    assert not host.booted_since(tmp_path), "a new agent"
    host.remember_boot(tmp_path)
    assert not host.booted_since(tmp_path)
    (tmp_path / "boot-id").write_text("of another boot\n")
    assert host.booted_since(tmp_path)
    assert host.booted_since(tmp_path)
    host.remember_boot(tmp_path)
    assert not host.booted_since(tmp_path)


def test_a_mark_that_a_power_cut_left_empty_is_that_of_another_boot(tmp_path: Path) -> None:
    (tmp_path / "boot-id").touch()
    assert host.booted_since(tmp_path)


def test_a_disk_is_measured_as_df_does(tmp_path: Path) -> None:
    [disk] = host.disks({"state": tmp_path, "engine": tmp_path / "elsewhere"})
    assert disk is not None
    assert (disk.place, disk.path) == ("state", str(tmp_path))
    assert disk.size_bytes == shutil.disk_usage(tmp_path).total
    assert 0 <= disk.free_bytes <= disk.size_bytes


def test_only_plain_files_are_listed_and_removed(tmp_path: Path) -> None:
    (tmp_path / "1.log").write_text("12345")
    (tmp_path / "2.log").mkdir()
    (tmp_path / "3.log").symlink_to(tmp_path / "1.log")
    assert [(file.name, file.size_bytes) for file in host.files(tmp_path, "*.log")] == [("1.log", 5)]
    assert host.files(tmp_path / "nowhere", "*") == ()
    host.remove_files(tmp_path, ["1.log", "gone.log"])
    assert not (tmp_path / "1.log").exists()
    with pytest.raises(OutsideError, match=r"2\.log cannot be removed"):
        host.remove_files(tmp_path, ["2.log"])


def test_this_process_is_measured() -> None:
    figures = host.own_figures()
    assert figures["process_resident_memory_bytes"] > 10e6
    assert figures["process_cpu_seconds_total"] > 0
    assert abs(figures["process_start_time_seconds"] - time.time()) < 86_400
    assert figures["process_threads"] >= 1
    assert figures["process_open_fds"] >= 3
