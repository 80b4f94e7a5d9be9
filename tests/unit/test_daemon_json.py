"""systemd/daemon_json.py adds to Docker's settings what is missing, and never changes what is there."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from agent.config.sections import Docker
from systemd import daemon_json

GC = {"enabled": True, **daemon_json.CACHE}
COMPLETE = {
    "live-restore": True,
    "log-driver": "local",
    "log-opts": daemon_json.LOG_LIMITS,
    "builder": {"gc": GC},
    "default-address-pools": daemon_json.POOLS,
}


@pytest.mark.parametrize(
    ("present", "changed"),
    [
        ({}, COMPLETE),
        (COMPLETE, {}),
        ({"data-root": "/data", "icc": False}, COMPLETE),
        ({"log-driver": "json-file"}, {"log-opts": daemon_json.LOG_LIMITS}),
        ({"log-opts": {"max-size": "1g"}}, {"log-opts": {"max-size": "1g", "max-file": "5"}}),
        ({"log-opts": {"tag": "x"}}, {"log-opts": {"tag": "x", **daemon_json.LOG_LIMITS}}),
        ({"log-driver": "journald"}, {}),
        ({"log-driver": "awslogs", "log-opts": {"awslogs-group": "x"}}, {}),
        (
            {"builder": {"gc": {"enabled": True, "defaultKeepStorage": "50GB"}}},
            {
                "builder": {
                    "gc": {
                        "enabled": True,
                        "defaultKeepStorage": "50GB",
                        "defaultMaxUsedSpace": "20GB",
                        "defaultMinFreeSpace": "15GB",
                    }
                }
            },
        ),
        ({"builder": {"gc": {"policy": [{"all": True}]}}}, {}),
        ({"default-address-pools": [{"base": "10.99.0.0/16", "size": 24}]}, {}),
    ],
)
def test_what_is_missing_is_added_and_what_is_there_stays(present: dict[str, Any], changed: dict[str, Any]) -> None:
    merged, added = daemon_json.merge(present)
    for key, value in present.items():
        assert merged[key] == (changed.get(key, value) if isinstance(value, dict) else value)
    for key, value in changed.items():
        assert merged[key] == present.get(key, value) if not isinstance(value, dict) else merged[key] == value
    assert bool(added) is (merged != present)
    assert daemon_json.merge(merged) == (merged, [])


@pytest.mark.parametrize(
    ("present", "says"),
    [
        ({"live-restore": False}, '"live-restore" is not true'),
        ({"log-opts": ["max-size"]}, '"log-opts" is not a table'),
        ({"log-opts": {"max-file": 5}}, "values that are no strings (max-file)"),
        ({"log-driver": "json-file", "log-opts": {"max-size": "-1"}}, "logs would fill the disk"),
        ({"builder": {"gc": {"enabled": False}}}, "is switched off"),
        ({"builder": {"gc": True}}, "is not a table"),
        ({"builder": []}, "is not a table"),
        ({"default-address-pools": [{"base": "10.0.0.0/8", "size": 24}]}, "overlaps the agent's 10.200.0.0/16"),
        ({"default-address-pools": {"base": "10.99.0.0/16"}}, "is not a list of"),
        ({"default-address-pools": [{"base": "everything"}]}, "is not a list of"),
    ],
)
def test_a_contradiction_is_refused_and_explained(present: dict[str, Any], says: str) -> None:
    with pytest.raises(daemon_json.Conflict, match=re.escape(says)):
        daemon_json.merge(present)


def test_every_contradiction_is_told_at_once() -> None:
    with pytest.raises(daemon_json.Conflict) as conflict:
        daemon_json.merge({"live-restore": False, "builder": {"gc": {"enabled": False}}})
    assert len(str(conflict.value).splitlines()) == 2


def settings_below(root: Path, text: str) -> Path:
    path = root / "etc/docker/daemon.json"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_the_file_from_before_is_kept_beside_it_with_its_mode(tmp_path: Path) -> None:
    path = settings_below(tmp_path, '{"icc": false}')
    path.chmod(0o600)
    assert daemon_json.main(["--root", str(tmp_path), "--write"]) == 0
    assert json.loads(path.read_text()) == {"icc": False, **COMPLETE}
    assert path.stat().st_mode & 0o777 == 0o600
    [backup] = path.parent.glob("daemon.json.before-butai-*")
    assert backup.read_text() == '{"icc": false}'
    assert daemon_json.main(["--root", str(tmp_path), "--write"]) == 0
    assert len(list(path.parent.iterdir())) == 2


def test_without_being_told_to_it_writes_nothing(tmp_path: Path) -> None:
    assert daemon_json.main(["--root", str(tmp_path)]) == daemon_json.CHANGES
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", '"local"', '{"live-restore": false}'])
def test_a_file_that_is_refused_is_not_touched(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = settings_below(tmp_path, text)
    assert daemon_json.main(["--root", str(tmp_path), "--write"]) == daemon_json.CONFLICT
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
    assert capsys.readouterr().err.startswith("/etc/docker/daemon.json: ")


def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = settings_below(tmp_path, "\n")
    assert daemon_json.main(["--root", str(tmp_path), "--write"]) == 0
    assert json.loads(path.read_text()) == COMPLETE


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    path = settings_below(tmp_path, "{}")
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert daemon_json.main(["--root", str(tmp_path), "--write"]) == 0
    assert path.is_symlink()
    assert json.loads((tmp_path / "elsewhere.json").read_text()) == COMPLETE


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ('OPTIONS="--default-ulimit nofile=32768:65536"', 0),
        ('OPTIONS="--live-restore"', daemon_json.CONFLICT),
        ('#OPTIONS="--live-restore"', 0),
    ],
)
def test_a_flag_that_docker_would_refuse_beside_the_file_is_found(tmp_path: Path, line: str, status: int) -> None:
    (tmp_path / "etc/sysconfig").mkdir(parents=True)
    (tmp_path / "etc/sysconfig/docker").write_text(line, encoding="utf-8")
    assert daemon_json.main(["--root", str(tmp_path), "--write"]) == status


def test_what_the_engine_itself_refuses_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settings_below(tmp_path, '{"data-roots": "/data"}')
    engine = tmp_path / "dockerd"
    engine.write_text("#!/bin/sh\necho 'the following directives do not match any option: data-roots' >&2\nexit 1\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    assert daemon_json.main(["--root", str(tmp_path), "--write"]) == daemon_json.CONFLICT
    assert path.read_text() == '{"data-roots": "/data"}'
    assert list(path.parent.iterdir()) == [path]


def test_it_leaves_the_agents_addresses_to_the_agent() -> None:
    assert str(Docker().address_pool) == daemon_json.AGENT_POOL


def test_the_python_of_amazon_linux_2023_can_read_it() -> None:
    text = Path(daemon_json.__file__).read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 9))
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    assert imported <= {
        "__future__",
        "argparse",
        "ipaddress",
        "json",
        "os",
        "pathlib",
        "shutil",
        "subprocess",
        "sys",
        "time",
        "typing",
    }
