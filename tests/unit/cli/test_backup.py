"""`butai backup`: a copy of the database beside a running agent, and what it never writes over."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli.main import butai
from agent.store import Store
from tests.support.plans import environment


@pytest.fixture
def settings_path(tmp_path: Path) -> Path:
    """With a secret that this user cannot read, as an operator has it."""
    path = tmp_path / "config.toml"
    path.write_text('domain = "x.example"\nstate_dir = "state"\n[server]\ntoken_file = "credential:none"\n')
    (tmp_path / "state").mkdir()
    return path


def backup(settings_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(butai, ["--config", str(settings_path), "backup", *arguments])


def test_a_backup_beside_an_open_database_can_be_opened_by_itself(settings_path: Path, tmp_path: Path) -> None:
    agents = Store.open(tmp_path / "state" / "butai.db")
    agents.environments.restore(environment())
    result = backup(settings_path, str(tmp_path / "copy.db"))
    agents.close()
    assert (result.exit_code, result.stdout) == (0, "")
    assert "copy.db" in result.stderr
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    copy = Store.open(tmp_path / "copy.db")
    assert copy.environments.all() == (environment(),)
    copy.close()


def test_a_backup_goes_over_no_file_unless_told_to(settings_path: Path, tmp_path: Path) -> None:
    Store.open(tmp_path / "state" / "butai.db").close()
    (tmp_path / "other").write_text("precious")
    refused = backup(settings_path, str(tmp_path / "other"))
    assert refused.exit_code == 2
    assert "--replace" in refused.stderr
    assert (tmp_path / "other").read_text() == "precious"
    assert backup(settings_path, str(tmp_path / "other"), "--replace").exit_code == 0
    Store.open(tmp_path / "other").close()


def test_a_backup_of_no_database_says_where_it_looked_and_makes_nothing(settings_path: Path, tmp_path: Path) -> None:
    result = backup(settings_path, str(tmp_path / "copy.db"))
    assert result.exit_code == 2
    assert str(tmp_path / "state" / "butai.db") in result.stderr
    assert not (tmp_path / "copy.db").exists()
    assert not list((tmp_path / "state").iterdir())
