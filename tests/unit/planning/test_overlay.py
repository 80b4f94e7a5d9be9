"""The model as it runs here: names, labels, limits and variables are ours, the rest is the author's."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from agent import config
from agent.config import Allow
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.model.release import Condition, Dependency, Release
from agent.planning import overlay
from agent.planning.findings import Findings
from agent.planning.overlay import Site, Staged
from tests.support.judged import ROOT, judge

SETTINGS = config.parse(
    'domain = "stage.test"\n[traefik]\nhttp_port = 8080\n[projects.shop]\nremote = "/srv/shop"\n', Path("/etc/butai")
)
ENVIRONMENT = Environment(
    slug=Slug("fix-1"),
    project="shop",
    branch="fix/1",
    wanted=Wanted.RUNNING,
    block=0,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    created_by="test",
)
REVISION = Revision("ab" * 20)
PORTS: dict[str, Any] = {"ports": [{"target": 8000, "published": "80", "protocol": "tcp"}]}


def stage(
    web: dict[str, Any] | None = None,
    *,
    environment: Environment = ENVIRONMENT,
    revision: Revision = REVISION,
    content: str = "",
    allow: Allow | None = None,
    variables: dict[str, str] | None = None,
    **model: Any,
) -> Staged:
    judged = judge({**PORTS, **(web or {})}, allow=allow, variables=variables, **model)
    assert judged.refusals == ()
    site = Site(
        settings=SETTINGS,
        environment=environment,
        revision=revision,
        checkout_dir=Path("/state/checkouts/fix-1"),
        files_dir=Path("/state/releases/fix-1/files"),
        subnets={"default": IPv4Network("10.0.0.0/27")},
        identify=lambda path: f"{path}{content}",
    )
    return overlay.apply(judged.checked, site=site, findings=Findings(lambda _s, _f: "", project="shop"))


def release(web: dict[str, Any] | None = None, **more: Any) -> Release:
    return stage(web, **more).release


def service(web: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = release(web, **more).model["services"]["web"]
    return made


def test_names_follow_the_stack_and_services_keep_theirs() -> None:
    made = release(
        {
            "volumes": [{"type": "volume", "source": "data", "target": "/d"}],
            "networks": {"front": None, "default": None},
        },
        networks={"default": None, "front": {"internal": True}},
        volumes={"data": None},
    )
    assert made.stack == made.model["name"] == "butai-fix-1"
    assert set(made.model["services"]) == {"web", "db"}
    assert made.networks == ("butai-fix-1_front", "butai-fix-1_default")
    assert made.volumes == ("butai-fix-1_data",)
    assert made.model["networks"]["default"]["ipam"] == {"config": [{"subnet": "10.0.0.0/27"}]}
    assert made.model["networks"]["front"]["internal"] is True
    assert made.model["volumes"]["data"]["labels"]["butai.branch"] == "fix/1"


def test_what_belongs_to_others_is_used_and_never_counted_as_ours() -> None:
    shared = {"external": True, "name": "real"}
    made = release(networks={"n": shared}, volumes={"v": shared}, allow=Allow(networks=("real",), volumes=("real",)))
    assert (made.networks, made.volumes) == ((), ())
    assert made.model["networks"]["n"] == made.model["volumes"]["v"] == shared


def test_nothing_is_published_and_everything_else_the_author_said_is_there() -> None:
    made = service({"command": ["a"], "user": "1000", "tmpfs": ["/run"], "labels": {"mine": "1"}, "cap_drop": ["ALL"]})
    assert "ports" not in made
    assert "build" not in made
    assert (made["command"], made["user"], made["tmpfs"], made["cap_drop"]) == (["a"], "1000", ["/run"], ["ALL"])
    assert made["labels"]["mine"] == "1"
    assert made["labels"]["butai.service"] == "web"


def test_what_every_container_gets() -> None:
    made = service()
    assert made["init"] is True
    assert made["logging"] == {"driver": "local", "options": {"max-size": "10m", "max-file": "3"}}
    assert made["security_opt"] == ["no-new-privileges:true"]
    assert (made["mem_limit"], made["memswap_limit"], made["cpus"], made["pids_limit"]) == ("1073741824",) * 2 + (
        2.0,
        512,
    )
    assert made["networks"] == {"default": None}
    assert made["stop_grace_period"] == "10000ms"


def test_with_a_role_each_container_is_told_the_region_unless_it_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = dataclasses.replace(SETTINGS.projects["shop"], role="arn:aws:iam::123456789012:role/a", region="eu-west-1")
    monkeypatch.setitem(globals(), "SETTINGS", dataclasses.replace(SETTINGS, projects={"shop": shop}))
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    assert [service()["environment"].get(name) for name in names] == ["eu-west-1", "eu-west-1"]
    for name in names:
        said = service({"environment": {name: "us-west-2"}})["environment"]
        assert {key: value for key, value in said.items() if key in names} == {name: "us-west-2"}


def test_our_variables_win_over_those_of_the_same_name() -> None:
    api = {"image": "a", "ports": [{"target": 9000, "protocol": "tcp"}]}
    services = {"web": {"image": "a", **PORTS, "environment": {"BUTAI_URL": "x", "A": "1"}}, "the-api": api}
    made = release(services=services, **{"x-butai": {"entry": "web"}})
    assert made.model["services"]["web"]["environment"] == {
        "A": "1",
        "BUTAI_URL": "http://fix-1.stage.test:8080",
        "BUTAI_BRANCH": "fix/1",
        "BUTAI_REVISION": "ab" * 20,
        "BUTAI_URL_WEB": "http://fix-1.stage.test:8080",
        "BUTAI_URL_THE_API": "http://fix-1--the-api.stage.test:8080",
    }
    assert (made.entry_service, made.entry_port) == ("web", 8000)
    assert made.service("the-api").public


def test_a_branch_that_looks_like_a_variable_stays_text() -> None:
    made = service(environment=dataclasses.replace(ENVIRONMENT, branch="${HOME}"))
    assert made["environment"]["BUTAI_BRANCH"] == made["labels"]["butai.branch"] == "$${HOME}"


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({}, "on-failure:3"),
        ({"restart": "always"}, "unless-stopped"),
        ({"restart": "unless-stopped"}, "unless-stopped"),
        ({"restart": "on-failure"}, "on-failure:10"),
        ({"restart": "on-failure:5"}, "on-failure:5"),
        ({"restart": "no"}, "no"),
        ({"deploy": {"restart_policy": {"condition": "any"}}}, "unless-stopped"),
        ({"deploy": {"restart_policy": {"condition": "on-failure", "max_attempts": 2}}}, "on-failure:2"),
        ({"deploy": {"restart_policy": {"condition": "none"}}}, "no"),
    ],
)
def test_restart_is_the_authors_with_an_end_to_crash_loops(asked: dict[str, Any], made: str) -> None:
    assert service(asked)["restart"] == made


def test_a_task_that_others_wait_for_is_not_restarted() -> None:
    needs = {"migrate": {"condition": "service_completed_successfully", "required": True}}
    services = {"web": {"image": "a", **PORTS, "depends_on": needs}, "migrate": {"image": "a"}}
    made = release(services=services)
    assert made.model["services"]["migrate"]["restart"] == "no"
    assert made.service("migrate").one_shot
    assert made.service("web").depends_on == (Dependency("migrate", Condition.COMPLETED),)


@pytest.mark.parametrize(
    ("asked", "init"),
    [({}, True), ({"init": True}, True), ({"init": False}, False), ({"image": "lscr.io/linuxserver/x:1"}, None)],
)
def test_every_container_gets_an_init_unless_its_image_has_one(asked: dict[str, Any], init: bool | None) -> None:
    assert service(asked).get("init") == init


@pytest.mark.parametrize(("asked", "made"), [("1m0s", "60000ms"), ("10000h0m0s", "60000ms"), ("1.5s", "1500ms")])
def test_a_stop_takes_at_most_a_minute(asked: str, made: str) -> None:
    assert service({"stop_grace_period": asked})["stop_grace_period"] == made


def test_a_built_service_runs_our_tag_and_remembers_how_it_is_built() -> None:
    build = {"context": f"{ROOT}/api", "dockerfile": "Dockerfile.dev", "args": {"A": "a$$b", "B": None}, "target": "t"}
    made = release({"build": build, "image": "registry.test/web:1"})
    spec = made.service("web")
    assert spec.image == made.model["services"]["web"]["image"] == f"butai/fix-1/web:{REVISION[:12]}"
    assert spec.build is not None
    assert (spec.build.context, spec.build.dockerfile, spec.build.target) == ("api", "Dockerfile.dev", "t")
    assert spec.build.args == {"A": "a$b"}
    assert spec.build.labels["butai.slug"] == "fix-1"
    assert "butai.revision" not in spec.build.labels  # an image that did not change must stay the same image
    assert not spec.build.needs_session
    assert made.service("db").build is None


@pytest.mark.parametrize(
    "more",
    [
        {"additional_contexts": {"x": f"{ROOT}/src"}},
        {"network": "none"},
        {"shm_size": "1"},
        {"platforms": ["linux/amd64", "linux/arm64"]},
        {"context": f"{ROOT}/api", "dockerfile": "../Dockerfile"},
    ],
)
def test_a_build_that_the_engine_cannot_do_alone_says_so(more: dict[str, Any]) -> None:
    spec = release({"build": {"context": ROOT, **more}}).service("web")
    assert spec.build is not None
    assert spec.build.needs_session


@pytest.mark.parametrize(
    ("service", "name"), [("web", "web"), ("Web_App", "web-app-"), ("a__b", "a-b-"), ("___", "service-")]
)
def test_the_tag_of_a_service_with_any_name_is_valid(service: str, name: str) -> None:
    tag = overlay.image_tag("butai", "fix-1", service, REVISION)
    assert tag.startswith(f"butai/fix-1/{name}")
    assert tag.endswith(":abababababab")


def test_mounts_of_the_checkout_are_named_and_lead_there() -> None:
    mounts = [
        {"type": "bind", "source": ROOT, "target": "/app"},
        {"type": "bind", "source": f"{ROOT}/new/folder", "target": "/n"},
    ]
    made = release({"volumes": mounts})
    sources = [mount["source"] for mount in made.model["services"]["web"]["volumes"]]
    assert sources == ["/state/checkouts/fix-1", "/state/checkouts/fix-1/new/folder"]
    assert made.service("web").bind_sources == (".", "new/folder")


def test_configs_and_secrets_with_content_become_files_of_ours() -> None:
    staged = stage(
        {"secrets": [{"source": "s", "target": "/run/secrets/s"}], "configs": [{"source": "c"}]},
        secrets={"s": {"environment": "TOKEN"}},
        configs={"c": {"file": f"{ROOT}/conf/app.ini"}},
        variables={"TOKEN": "canary"},
    )
    ((path, content),) = staged.files.items()
    assert content == "canary"
    assert staged.release.model["secrets"]["s"] == {"file": str(path)}
    assert staged.release.model["configs"]["c"] == {"file": "/state/checkouts/fix-1/conf/app.ini"}
    assert "canary" not in str(staged.release)


def hashed(web: dict[str, Any] | None = None, **more: Any) -> str:
    return release(web, **more).service("web").config_hash


def test_the_hash_changes_with_what_forces_a_new_container() -> None:
    build = {"build": {"context": ROOT}}
    folder = {"volumes": [{"type": "bind", "source": f"{ROOT}/conf", "target": "/c"}]}
    file = {"configs": [{"source": "app", "target": "/c"}]}
    of_file = {"configs": {"app": {"file": f"{ROOT}/compose.yaml"}}}
    assert hashed({"command": ["a"]}) != hashed({"command": ["b"]})
    assert hashed({"image": "a"}) != hashed({"image": "b"})
    assert hashed() != hashed(environment=dataclasses.replace(ENVIRONMENT, salt=1))
    assert hashed(folder) == hashed(folder, content="changed"), "a mounted folder shows what is in it"
    assert hashed(file, **of_file) != hashed(file, content="changed", **of_file), "a checkout replaces a file"
    assert hashed(build) == hashed(build, content="changed")  # the id of the built image says it


def test_the_hash_never_changes_with_the_revision_or_with_a_sibling() -> None:
    other = Revision("cd" * 20)
    assert hashed({"build": {"context": ROOT}}) == hashed({"build": {"context": ROOT}}, revision=other)
    assert hashed() == hashed(revision=other)
    siblings = {"web": {"image": "nginx:latest", **PORTS}, "api": {"image": "a", **PORTS}}
    more = {"services": siblings, "x-butai": {"entry": "web"}}
    assert hashed() == hashed(**more)
    assert hashed({"depends_on": {"db": {"condition": "service_started"}}}) == hashed()
    assert hashed({"scale": 2}) == hashed()


def test_a_service_in_the_network_of_another_follows_it() -> None:
    def side(web: dict[str, Any], revision: Revision = REVISION) -> str:
        services = {"web": {**PORTS, **web}, "side": {"image": "a", "network_mode": "service:web"}}
        return release(services=services, revision=revision).service("side").config_hash

    assert side({"image": "a"}) != side({"image": "b"})
    built = {"build": {"context": ROOT}}
    assert side(built) != side(built, Revision("cd" * 20))
    assert side({"image": "a"}) == side({"image": "a"}, Revision("cd" * 20))


def test_removed_ports_say_where_the_service_is_now() -> None:
    services = {"web": {"image": "a", **PORTS}, "db": {"image": "b", "ports": [{"target": 3306, "published": "3307"}]}}
    assert release(services=services).notices == (
        "web: published port 80 removed: it answers at http://fix-1.stage.test:8080",
        "db: published port 3307 removed: other services reach it as db:3306.",
    )


def test_a_service_that_names_the_image_of_another_ones_build_is_built_like_it() -> None:
    """`web` builds `shop`, `db` only names it: no registry has such an image."""
    made = release({"image": "mariadb:11", "build": {"context": ROOT, "dockerfile": "Dockerfile"}})
    web, other = made.service("web"), made.service("db")
    assert other.build is not None
    assert web.build is not None
    assert (other.build.context, other.build.dockerfile) == (web.build.context, web.build.dockerfile)
    assert other.image == f"butai/fix-1/db:{REVISION[:12]}"
