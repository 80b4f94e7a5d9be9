"""`develop.watch`, mounts and `x-butai.reload` as Compose resolves them, read for real by git and Compose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import DeployError
from agent.model.release import BindMount, Reload, WatchAction, WatchRule
from tests.support.readerworld import ReaderWorld

PLAIN = """
services:
  web:
    build: ./web
    ports: ["8000"]
    volumes: ["./web:/app", "/app/node_modules", "./web/app.ini:/etc/app.ini:ro"]
    tmpfs: /scratch:size=1m
    configs: [motd, {source: motd, target: /etc/motd}]
    secrets: [key]
  db:
    image: mariadb:11
    volumes: ["data:/var/lib/mysql"]
configs: {motd: {file: ./motd}}
secrets: {key: {file: ./key}}
volumes: {data: }
"""
RULES = """
    develop:
      watch:
        - {path: ./web/src, action: sync, target: /app/src, ignore: [node_modules/, "*.$$tmp"]}
        - {path: ./web/a.json, action: sync+restart, target: /app/}
        - {path: ./web/package.json, action: rebuild}
        - {path: ./latest, action: sync, target: "/srv/$$x"}
        - {path: ../elsewhere, action: sync, target: /x}
"""
FILES = {
    "web/Dockerfile": "FROM busybox:1.37",
    "web/src/a": "",
    "web/app.ini": "",
    "motd": "",
    "key": "",
    "v2/a": "",
    "latest": Path("v2"),
}
WATCHED = PLAIN.replace("\n  db:", f"{RULES}\n  db:")


@pytest.fixture
def world(tmp_path: Path) -> ReaderWorld:
    return ReaderWorld(tmp_path)


def test_rules_are_read_with_paths_of_the_repository_and_links_followed(world: ReaderWorld) -> None:
    release = world.read({**FILES, "compose.yaml": WATCHED})
    assert release.service("web").watch == (
        WatchRule("web/src", WatchAction.SYNC, "/app/src", ignore=("node_modules/", "*.$tmp")),
        WatchRule("web/a.json", WatchAction.SYNC_RESTART, "/app/"),
        WatchRule("web/package.json", WatchAction.REBUILD),
        WatchRule("v2", WatchAction.SYNC, "/srv/$x"),
    )
    (notice,) = (text for text in release.notices if "develop" in text)
    assert notice.startswith("web: the `develop.watch` rule for `../elsewhere` was left out: ")
    assert str(world.root) not in notice


def test_what_a_container_sees_of_the_checkout_is_told_from_what_hides_its_image(world: ReaderWorld) -> None:
    release = world.read({**FILES, "compose.yaml": PLAIN})
    web = release.service("web")
    assert web.binds == (
        BindMount("web", "/app"),
        BindMount("web/app.ini", "/etc/app.ini", is_file=True),
        BindMount("motd", "/motd", is_file=True),
        BindMount("motd", "/etc/motd", is_file=True),
        BindMount("key", "/run/secrets/key", is_file=True),
    )
    assert web.other_mounts == ("/app/node_modules", "/scratch")
    assert release.service("db").other_mounts == ("/var/lib/mysql",)


def test_rules_change_no_container(world: ReaderWorld) -> None:
    plain = world.read({**FILES, "compose.yaml": PLAIN}).service("web")
    watched = world.read({**FILES, "compose.yaml": WATCHED}).service("web")
    reloaded = world.read({**FILES, "compose.yaml": f"x-butai: {{reload: restart}}\n{PLAIN}"}).service("web")
    assert plain.config_hash == watched.config_hash == reloaded.config_hash
    assert replace(watched, watch=(), image=plain.image) == plain
    assert (plain.reload, reloaded.reload) == (Reload.NONE, Reload.RESTART)


def test_a_service_that_builds_nothing_has_no_rules_that_copy(world: ReaderWorld) -> None:
    file = WATCHED.replace("build: ./web", "image: busybox:1.37").replace(
        "        - {path: ./web/package.json, action: rebuild}\n", ""
    )
    release = world.read({**FILES, "compose.yaml": file})
    assert release.service("web").watch == ()
    assert any("has no `build:`" in text for text in release.notices)


def test_a_release_remembers_what_it_was_read_from_and_finds_it_again(world: ReaderWorld) -> None:
    file = WATCHED.replace(
        "build: ./web", "build: ./web\n    env_file: [web/app.ini, {path: none.env, required: false}]"
    )
    release = world.read({**FILES, "compose.yaml": file})
    assert {"compose.yaml", "compose.override.yaml", ".env", "web/app.ini", "none.env"} <= set(release.inputs)
    assert world.reader.load(world.environment, release.revision) == release


@pytest.mark.parametrize("wish", ["always", "{nobody: restart}", "[restart]"])
def test_a_reload_that_means_nothing_is_refused(world: ReaderWorld, wish: str) -> None:
    with pytest.raises(DeployError, match=r"x-butai\.reload"):
        world.read({**FILES, "compose.yaml": f"x-butai: {{reload: {wish}}}\n{PLAIN}"})
