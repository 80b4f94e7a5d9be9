"""Files of root in the agent's folder: they become the agent's, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.adapters import host

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
