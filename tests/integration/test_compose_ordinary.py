"""A team's ordinary development files work unchanged: read for real by git and Compose, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model.release import Condition, Dependency
from tests.support.readerworld import ReaderWorld

SAMPLES = Path(__file__).parent.parent / "samples"

FILE = """
name: shop
x-app: &app
  build: {context: ., target: "${TARGET:-dev}", args: [NODE_ENV=development]}
  env_file: [.env.app, {path: .env.local, required: false}]
  volumes: [".:/app", "/app/node_modules", "cache:/cache"]
  restart: unless-stopped
services:
  web:
    <<: *app
    container_name: shop_web
    command: npm run dev
    ports: ["127.0.0.1:3000:3000", "9229:9229"]
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
      optional: {condition: service_started, required: false}
    networks: {front: {aliases: [app.local]}, back: }
    tty: true
    stdin_open: true
  migrate:
    <<: *app
    command: npm run migrate
    depends_on: [db]
    networks: [back]
  db:
    image: ${REGISTRY-}mariadb:11
    container_name: shop_db
    ports: ["${DB_PORT:-3306}:3306"]
    environment: {MARIADB_ROOT_PASSWORD: "p$$ss", EMPTY: }
    volumes: ["db:/var/lib/mysql", "./my.cnf:/etc/mysql/conf.d/my.cnf:ro"]
    healthcheck: {test: ["CMD", "healthcheck.sh", "--connect"], interval: 10s, retries: 10}
    networks: [back]
    ulimits: {nofile: {soft: 20000, hard: 40000}}
  mail:
    extends: {file: docker/common.yaml, service: mail}
    networks: [back]
  admin:
    image: adminer
    profiles: [tools]
    ports: ["8080:8080"]
  optional:
    image: busybox
    profiles: [tools]
networks: {front: , back: {driver: bridge}}
volumes: {db: , cache: }
"""
FILES = {
    "docker-compose.yml": FILE,
    "docker-compose.override.yml": "services: {web: {environment: {DEBUG: '1', WHO: '${WHO}'}, ports: !reset []}}",
    "docker/common.yaml": "services: {mail: {image: 'axllent/mailpit', ports: ['1025:1025', '8025:8025']}}",
    ".env": "# local\nexport TARGET=staging\nDB_PORT=3307\nWHO='me & you'\n",
    ".env.app": 'SECRET="a # b"\nURL=http://${WHO}\n',
    "Dockerfile": "FROM node:20-slim\n",
    "my.cnf": "[mysqld]\n",
}


@pytest.fixture
def world(tmp_path: Path) -> ReaderWorld:
    return ReaderWorld(tmp_path, 'entry_service = "web"\nentry_port = 3000\n')


def test_a_development_file_with_everything_is_read_unchanged(world: ReaderWorld) -> None:
    release = world.read(FILES)
    web, db = release.service("web"), release.service("db")
    assert [spec.name for spec in release.services] == ["db", "mail", "migrate", "web"]
    assert (release.entry_service, release.entry_port) == ("web", 3000)
    assert web.depends_on == (Dependency("db", Condition.HEALTHY), Dependency("migrate", Condition.COMPLETED))
    assert web.build is not None
    assert (web.build.target, web.build.args) == ("staging", {"NODE_ENV": "development"})
    assert web.bind_sources == (".",)
    assert db.bind_sources == ("my.cnf",)
    assert db.in_place == "writes the volume db"
    assert release.service("migrate").one_shot
    assert not release.service("db").public
    assert release.service("mail").ports == (8025, 1025)
    assert release.volumes == ("butai-main_cache", "butai-main_db")
    environment = release.model["services"]["web"]["environment"]
    assert {"DEBUG": "1", "WHO": "me & you", "SECRET": "a # b", "URL": "http://me & you"}.items() <= environment.items()
    assert release.model["services"]["db"]["environment"]["MARIADB_ROOT_PASSWORD"] == "p$$ss"
    assert "EMPTY" not in release.model["services"]["db"]["environment"]
    assert release.model["services"]["web"]["networks"]["back"] == {"aliases": ["shop_web"]}


def test_each_removal_is_one_line(world: ReaderWorld) -> None:
    assert world.read(FILES).notices == (
        "db: `container_name` was removed: containers are named after the environment.",
        "web: `container_name` was removed: containers are named after the environment.",
        "db: published port 3307 removed: other services reach it as db:3306.",
        "mail: published ports 1025, 8025 removed: it answers at http://main--mail.stage.test",
    )


@pytest.mark.parametrize("sample", ["classic", "team", "site"])
def test_the_sample_projects_are_read_unchanged(tmp_path: Path, sample: str) -> None:
    root = SAMPLES / sample
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert ReaderWorld(tmp_path).read(files).entry_port


def test_files_of_the_settings_are_used_with_their_own_folder(tmp_path: Path) -> None:
    world = ReaderWorld(tmp_path, 'compose_files = ["deploy/stage.yaml", "deploy/more.yaml"]\nprofiles = ["x"]\n')
    release = world.read(
        {
            "compose.yaml": "services: {wrong: {image: a}}",
            "deploy/stage.yaml": "services: {web: {build: .., ports: ['80'], volumes: ['../src:/s']}}",
            "deploy/more.yaml": "services: {job: {image: '${NAME}', profiles: [x]}}",
            "deploy/.env": "NAME=busybox",
            ".env": "NAME=wrong",
            "Dockerfile": "FROM scratch",
            "src/a": "",
        }
    )
    assert [spec.image for spec in release.services if spec.name == "job"] == ["busybox:latest"]
    assert release.service("web").bind_sources == ("src",)
    assert release.service("web").build.context == "."  # type: ignore[union-attr]


def test_the_operators_variables_win_over_the_repositorys(tmp_path: Path) -> None:
    world = ReaderWorld(tmp_path, 'environment = { A = "operator", C = "only" }\n')
    files = {
        "compose.yaml": "services: {web: {image: a, ports: ['80'], environment: {A: , B: '${A}$B$C'}}}",
        ".env": "A=repository\nB=b",
    }
    environment = world.read(files).model["services"]["web"]["environment"]
    assert (environment["A"], environment["B"]) == ("operator", "operatorbonly")


def test_the_same_file_is_resolved_once_for_every_branch(world: ReaderWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    resolve = world.compose.resolve
    monkeypatch.setattr(world.compose, "resolve", lambda *a, **k: calls.append(k["stack"]) or resolve(*a, **k))
    first = world.read(FILES)
    second = world.read({**FILES, "src/new.js": "x"})
    assert calls == ["butai-main"]
    assert first.service("db").config_hash == second.service("db").config_hash
    assert first.service("web").config_hash == second.service("web").config_hash  # it sees the checkout as it is
    world.read({**FILES, ".env": "TARGET=other"})
    assert len(calls) == 2


def test_who_is_to_be_restarted_with_what_it_depends_on_is_known(tmp_path: Path) -> None:
    file = """
services:
  web:
    image: busybox
    ports: ["80"]
    depends_on:
      db: {condition: service_started, restart: true}
      mail: {condition: service_started}
  db: {image: busybox}
  mail: {image: busybox}
"""
    release = ReaderWorld(tmp_path).read({"compose.yaml": file})
    assert release.service("web").depends_on == (
        Dependency("db", Condition.STARTED, restart=True),
        Dependency("mail", Condition.STARTED),
    )
