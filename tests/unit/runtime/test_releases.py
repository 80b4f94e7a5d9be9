"""A release that was read once is found again after a restart, by nobody but the agent."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from agent.model.names import Revision, Slug
from agent.model.release import (
    BindMount,
    BuildSpec,
    Condition,
    Dependency,
    ExecHook,
    Release,
    Reload,
    ServiceSpec,
    WatchAction,
    WatchRule,
)
from agent.runtime.releases import Releases

SLUG = Slug("main")
RELEASE = Release(
    slug=SLUG,
    stack="butai-main",
    revision=Revision("ab" * 20),
    services=(
        ServiceSpec(
            name="web",
            image="butai/main/web:abababababab",
            build=BuildSpec(context=".", dockerfile="Dockerfile", args={"A": "1"}, raw={"context": "."}),
            config_hash="c",
            depends_on=(Dependency("db", Condition.HEALTHY), Dependency("x", Condition.STARTED, required=False)),
            ports=(80, 81),
            bind_sources=(".",),
            watch=(
                WatchRule("src", WatchAction.SYNC, "/app/src", ignore=("*.tmp",), include=("**/*.py",)),
                WatchRule(
                    "css", WatchAction.SYNC_EXEC, "/css", exec=ExecHook(("make", "css"), "www", "/css", {"A": "1"})
                ),
            ),
            binds=(BindMount(".", "/app"), BindMount("a.ini", "/etc/a.ini", is_file=True)),
            other_mounts=("/app/node_modules",),
            reload=Reload.RESTART,
        ),
        ServiceSpec(name="db", image="mariadb:11", build=None, config_hash="d", in_place="writes the volume data"),
    ),
    model={"services": {"web": {"environment": {"A": "$$x", "B": "日本"}}}},
    networks=("butai-main_default",),
    entry_service="web",
    entry_port=80,
    notices=("a", "b"),
    inputs=(".env", "compose.yaml"),
)


def test_what_is_saved_is_found_again_by_another_process(tmp_path: Path) -> None:
    Releases(tmp_path).save(RELEASE, fingerprint="f" * 64, salt=1)
    found = Releases(tmp_path)
    assert found.load(SLUG, RELEASE.revision, fingerprint="f" * 64, salt=1) == RELEASE
    assert found.load(SLUG, RELEASE.revision, fingerprint="e" * 64, salt=1) is None
    assert found.load(SLUG, RELEASE.revision, fingerprint="f" * 64, salt=2) is None
    assert found.load(SLUG, Revision("cd" * 20), fingerprint="f" * 64, salt=1) is None


def test_files_are_the_agents_alone(tmp_path: Path) -> None:
    Releases(tmp_path).save(RELEASE, fingerprint="f" * 64, salt=0)
    (path,) = (tmp_path / SLUG).glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_was_cut_off_or_is_of_another_format_is_as_good_as_none(tmp_path: Path) -> None:
    Releases(tmp_path).save(RELEASE, fingerprint="f" * 64, salt=0)
    (path,) = (tmp_path / SLUG).glob("*.json")
    whole = path.read_text()
    for text in ("", whole[: len(whole) // 2], re.sub(r'"format": \d+', '"format": 0', whole), "[]", '{"format": 1}'):
        path.write_text(text)
        assert Releases(tmp_path).load(SLUG, RELEASE.revision, fingerprint="f" * 64, salt=0) is None


def test_only_the_last_ten_are_kept(tmp_path: Path) -> None:
    releases = Releases(tmp_path)
    for salt in range(15):
        releases.save(RELEASE, fingerprint="f" * 64, salt=salt)
    assert len(list((tmp_path / SLUG).glob("*.json"))) == 10


def test_places_are_remembered_and_everything_is_forgotten(tmp_path: Path) -> None:
    releases = Releases(tmp_path)
    assert not releases.has_files(SLUG)
    assert releases.known_places(SLUG) == {}
    assert not releases.has_files(SLUG)
    releases.remember_places(SLUG, {"default": 0})
    assert Releases(tmp_path).known_places(SLUG) == {"default": 0}
    releases.save(RELEASE, fingerprint="f" * 64, salt=0)
    releases.forget(SLUG)
    assert not releases.has_files(SLUG)
    assert releases.load(SLUG, RELEASE.revision, fingerprint="f" * 64, salt=0) is None
    assert not releases.has_files(SLUG)
    releases.forget(SLUG)
