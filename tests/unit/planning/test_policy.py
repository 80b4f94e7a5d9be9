"""Every row of the table of what a compose file may ask: allowed, refused, relaxed, dropped with a word."""

from __future__ import annotations

from typing import Any

import pytest

from agent.config import Allow
from tests.support.judged import ROOT, judge

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("privileged", {"privileged": True}),
    ("use_api_socket", {"use_api_socket": True}),
    ("provider", {"provider": {"type": "x"}}),
    ("credential_spec", {"credential_spec": {"file": "x"}}),
    ("runtime", {"runtime": "runc"}),
    ("cgroup_parent", {"cgroup_parent": "x"}),
    ("volumes_from", {"volumes_from": ["db"]}),
    ("external_links", {"external_links": ["other"]}),
    ("cpu_rt_runtime", {"cpu_rt_runtime": 1}),
    ("storage_opt", {"storage_opt": {"size": "1g"}}),
    ("models", {"models": {"a": {}}}),
    ("post_start", {"post_start": [{"command": "x", "privileged": True}]}),
    ("pre_stop", {"pre_stop": [{"command": "x"}]}),
    ("annotations", {"annotations": {"org.systemd.property.X": "1"}}),
    ("blkio_config", {"blkio_config": {"weight": 1}}),
    ("something_new", {"something_new": 1}),
    ("network_mode", {"network_mode": "host"}),
    ("network_mode", {"network_mode": "bridge"}),
    ("network_mode", {"network_mode": "container:other"}),
    ("network_mode", {"network_mode": "service:absent"}),
    ("pid", {"pid": "host"}),
    ("pid", {"pid": "container:other"}),
    ("pid", {"pid": "service:db"}),
    ("ipc", {"ipc": "host"}),
    ("ipc", {"ipc": "container:other"}),
    ("uts", {"uts": "host"}),
    ("cgroup", {"cgroup": "host"}),
    ("userns_mode", {"userns_mode": "host"}),
    ("links", {"links": ["other:x"]}),
    ("networks.default.driver_opts", {"networks": {"default": {"driver_opts": {"a": "b"}}}}),
    ("networks.default.aliases", {"networks": {"default": {"aliases": ["butai-other-web-1"]}}}),
    ("networks.default.aliases", {"networks": {"default": {"aliases": ["Traefik"]}}}),
    ("networks.default.aliases", {"networks": {"default": {"aliases": ["other.stage.test."]}}}),
    ("image", {"image": "butai/other/web:0123456789ab"}),
    ("image", {"image": "docker.io/butai/other/web:0123456789ab"}),
    ("image", {"image": "index.docker.io/butai/other/web"}),
    ("image", {"image": "sha256:0123456789ab"}),
]


@pytest.mark.parametrize(("field", "service"), REFUSED, ids=[f"{f}-{i}" for i, (f, _) in enumerate(REFUSED)])
def test_what_reaches_the_host_is_refused_by_service_and_field_and_nothing_allows_it(
    field: str, service: dict[str, Any]
) -> None:
    (refusal,) = judge(service).refusals
    assert refusal.startswith(f"compose.yaml: service web: `{field}` is refused: ")
    assert "projects." not in refusal


RELAXED: list[tuple[str, dict[str, Any], dict[str, tuple[str, ...]]]] = [
    ("cap_add", {"cap_add": ["SYS_PTRACE"]}, {"capabilities": ("SYS_PTRACE",)}),
    ("cap_add", {"cap_add": ["CAP_NET_ADMIN"]}, {"capabilities": ("NET_ADMIN",)}),
    ("security_opt", {"security_opt": ["seccomp:unconfined"]}, {"security_opt": ("seccomp:unconfined",)}),
    ("security_opt", {"security_opt": ["no-new-privileges:false"]}, {"security_opt": ("no-new-privileges:false",)}),
    ("sysctls", {"sysctls": {"kernel.msgmax": "1"}}, {"sysctls": ("kernel.msgmax",)}),
    ("extra_hosts", {"extra_hosts": ["host.docker.internal=host-gateway"]}, {"extra_hosts": ("host-gateway",)}),
    ("extra_hosts", {"extra_hosts": ["db.test=10.0.0.5"]}, {"extra_hosts": ("10.0.0.5",)}),
    ("devices", {"devices": [{"source": "/dev/kvm", "target": "/dev/kvm"}]}, {"devices": ("/dev/kvm",)}),
    ("gpus", {"gpus": [{"driver": "nvidia", "count": -1}]}, {"devices": ("nvidia",)}),
    ("device_cgroup_rules", {"device_cgroup_rules": ["c 1:3 mr"]}, {"devices": ("c 1:3 mr",)}),
    (
        "devices",
        {"deploy": {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}}},
        {"devices": ("gpu",)},
    ),
    ("group_add", {"group_add": ["video"]}, {"groups": ("video",)}),
    ("image", {"image": "registry.test/a/b:1"}, {"registries": ("registry.test", "docker.io")}),
    ("image", {"image": "registry.test:5000/a"}, {"registries": ("registry.test:5000", "docker.io")}),
    ("build.ssh", {"build": {"context": ROOT, "ssh": ["default"]}}, {"build_ssh": ("default",)}),
    ("build.secrets", {"build": {"context": ROOT, "secrets": [{"source": "npm"}]}}, {"build_secrets": ("npm",)}),
    (
        "build.additional_contexts.base",
        {"build": {"context": ROOT, "additional_contexts": {"base": "docker-image://alpine:3"}}},
        {"contexts": ("docker-image://alpine:3",)},
    ),
    (
        "volumes[/x]",
        {"volumes": [{"type": "bind", "source": "/srv/fixtures", "target": "/x"}]},
        {"bind_mounts": ("/srv/fixtures",)},
    ),
]


@pytest.mark.parametrize(("field", "service", "allowed"), RELAXED, ids=[f"{r[0]}-{i}" for i, r in enumerate(RELAXED)])
def test_what_is_refused_names_the_setting_that_allows_it_and_that_setting_allows_it(
    field: str, service: dict[str, Any], allowed: dict[str, tuple[str, ...]]
) -> None:
    (setting,) = allowed
    strict = Allow(registries=("docker.io",)) if setting == "registries" else Allow()
    (refusal,) = judge(service, allow=strict).refusals
    assert f"service web: `{field}` is refused: " in refusal
    assert refusal.endswith(f"An operator may allow it with `projects.shop.allow.{setting}`.")
    assert judge(service, allow=Allow(**allowed)).refusals == ()


DROPPED: list[tuple[str, dict[str, Any], str]] = [
    ("container_name", {"container_name": "web"}, "`container_name` was removed"),
    ("mac_address", {"mac_address": "02:42:ac:11:00:02"}, "`mac_address` was removed"),
    ("hostname", {"hostname": "db"}, "`hostname` was removed: another service is called `db`"),
    ("cpuset", {"cpuset": "0"}, "`cpuset` was removed"),
    ("oom_kill_disable", {"oom_kill_disable": True}, "`oom_kill_disable` was removed"),
    ("dns", {"dns": ["8.8.8.8"]}, "name server 8.8.8.8 was removed"),
    ("logging", {"logging": {"driver": "syslog", "options": {}}}, "logging to `syslog` was replaced"),
]


@pytest.mark.parametrize(("field", "service", "notice"), DROPPED, ids=[row[0] for row in DROPPED])
def test_what_can_be_made_safe_is_removed_with_one_line(field: str, service: dict[str, Any], notice: str) -> None:
    judged = judge(service)
    assert judged.refusals == ()
    assert field not in judged.web
    (line,) = judged.notices
    assert line.startswith("web: ")
    assert notice in line


KEPT: dict[str, Any] = {
    "cap_add": ["CHOWN", "NET_BIND_SERVICE"],
    "cap_drop": ["ALL"],
    "command": ["a"],
    "depends_on": {"db": {"condition": "service_healthy", "required": True}},
    "entrypoint": ["b"],
    "environment": {"A": "1"},
    "expose": ["3000"],
    "extra_hosts": ["me.test=127.0.0.1"],
    "healthcheck": {"test": ["CMD", "true"]},
    "hostname": "web",
    "init": True,
    "links": ["db:database"],
    "ports": [{"target": 80, "published": "8080", "protocol": "tcp"}],
    "platform": "linux/amd64",
    "read_only": True,
    "restart": "always",
    "stop_grace_period": "10s",
    "stop_signal": "SIGINT",
    "sysctls": {"net.core.somaxconn": "1024"},
    "tmpfs": ["/run"],
    "tty": True,
    "user": "1000",
    "working_dir": "/app",
}


@pytest.mark.parametrize("field", KEPT)
def test_what_an_ordinary_development_file_says_is_kept_without_a_word(field: str) -> None:
    judged = judge({field: KEPT[field]})
    assert (judged.refusals, judged.notices) == ((), ())
    assert judged.web[field] == KEPT[field]


@pytest.mark.parametrize("value", ["none", "service:db"])
def test_a_network_mode_inside_the_stack_is_kept(value: str) -> None:
    assert judge({"network_mode": value}).web["network_mode"] == value


def test_init_false_is_said_on_purpose_and_kept() -> None:
    assert judge({"init": False}).web["init"] is False


def test_extensions_and_what_compose_already_resolved_are_no_concern() -> None:
    judged = judge({"x-anything": {"a": 1}, "profiles": ["p"], "attach": False, "develop": {"watch": []}}, **{"x-y": 1})
    assert (judged.refusals, judged.notices) == ((), ())


def test_labels_that_steer_traefik_compose_or_us_are_removed_and_others_kept() -> None:
    labels = {"traefik.enable": "true", "com.docker.compose.project": "x", "Butai.slug": "x", "mine": "1"}
    judged = judge({"labels": labels})
    assert judged.web["labels"] == {"mine": "1"}
    assert len(judged.notices) == 3


def test_a_container_name_stays_good_as_a_host_name() -> None:
    judged = judge({"container_name": "shop-web", "networks": {"back": None, "front": {"aliases": ["x"]}}})
    assert judged.web["networks"] == {"back": {"aliases": ["shop-web"]}, "front": {"aliases": ["x", "shop-web"]}}
    assert judge({"container_name": "db"}).web.get("networks") is None
    assert judge({"container_name": "butai-other-web-1"}).web.get("networks") is None


def test_an_image_without_a_tag_is_never_read_as_somebodys_image_id() -> None:
    assert judge({"image": "0123456789ab"}).web["image"] == "0123456789ab:latest"
    assert judge({"image": "mariadb@sha256:" + "a" * 64}).web["image"] == "mariadb@sha256:" + "a" * 64
    assert judge({"image": "registry.test:5000/a"}).web["image"] == "registry.test:5000/a:latest"


def test_a_service_named_like_a_container_of_ours_is_refused() -> None:
    findings = judge(None, services={"web": {"image": "a"}, "butai-other-web-1": {"image": "a"}})
    assert "service butai-other-web-1: `name` is refused" in findings.refusals[0]


def test_every_refusal_is_in_one_report() -> None:
    judged = judge({"privileged": True, "pid": "host"}, volumes={"v": {"driver_opts": {"o": "bind"}}}, surprise=1)
    assert len(judged.refusals) == 4


def test_fields_of_swarm_are_as_silent_as_with_compose() -> None:
    judged = judge({"deploy": {"replicas": 2, "placement": {"constraints": ["a"]}, "endpoint_mode": "vip"}})
    assert judged.web["deploy"] == {"replicas": 2}
    assert judged.notices == ()


# -- mounts ----------------------------------------------------------------------------------------------------


def bind(source: str, **more: Any) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": "/x", **more}


@pytest.mark.parametrize(
    ("source", "path", "kind"),
    [
        (ROOT, ".", "directory"),
        (f"{ROOT}/src", "src", "directory"),
        (f"{ROOT}/conf/app.ini", "conf/app.ini", "file"),
        (f"{ROOT}/not/there", "not/there", "missing"),
        (f"{ROOT}/home", "src", "directory"),
    ],
)
def test_a_folder_of_the_checkout_is_mounted_for_reading_and_writing(source: str, path: str, kind: str) -> None:
    judged = judge({"volumes": [bind(source)]})
    assert judged.refusals == ()
    (mount,) = judged.web["volumes"]
    assert (mount["source"], mount["kind"], mount.get("read_only")) == (path, kind, None)


@pytest.mark.parametrize(
    "source",
    ["/", "/var/run/docker.sock", "/proc", "/sys", "/etc/passwd", "/butai-has-no-home/.aws", f"{ROOT}/../x",
     f"{ROOT}/away", f"{ROOT}/away/passwd", f"{ROOT}x", "relative"],
)  # fmt: skip
def test_a_mount_that_leaves_the_checkout_is_refused(source: str) -> None:
    (refusal,) = judge({"volumes": [bind(source)]}).refusals
    assert "`volumes[/x]` is refused" in refusal
    assert "projects.shop.allow.bind_mounts" in refusal


def test_git_itself_is_never_mounted() -> None:
    assert judge({"volumes": [bind(f"{ROOT}/.git")]}).refusals


def test_a_mount_that_the_operator_allows_is_read_only_unless_the_list_says_otherwise() -> None:
    (mount,) = judge({"volumes": [bind("/srv/x/")]}, allow=Allow(bind_mounts=("/srv/x",))).web["volumes"]
    assert (mount["source"], mount["read_only"]) == ("/srv/x", True)
    (mount,) = judge({"volumes": [bind("/srv/x")]}, allow=Allow(bind_mounts=("/srv/x:rw",))).web["volumes"]
    assert "read_only" not in mount
    assert judge({"volumes": [bind("/srv/x/y")]}, allow=Allow(bind_mounts=("/srv/x",))).refusals


def test_mounts_that_spread_to_the_host_or_are_of_an_unknown_kind_are_refused() -> None:
    assert judge({"volumes": [bind(ROOT, bind={"propagation": "rshared"})]}).refusals
    assert judge({"volumes": [{"type": "npipe", "source": "x", "target": "/x"}]}).refusals
    assert judge({"volumes": [bind(ROOT, surprise=1)]}).refusals
    assert judge({"volumes": [bind(ROOT, bind={"recursive": "x"})]}).refusals


def test_volumes_and_memory_are_mounted_as_they_are() -> None:
    mounts = [
        {"type": "volume", "source": "data", "target": "/d", "volume": {"nocopy": True}},
        {"type": "volume", "target": "/anonymous", "volume": {}},
        {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1"}},
    ]
    assert judge({"volumes": mounts}).web["volumes"] == mounts


# -- networks and volumes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["volumes", "networks"])
def test_what_belongs_to_others_is_refused_unless_it_is_listed_by_its_real_name(kind: str) -> None:
    body = {"shared": {"external": True, "name": "real"}}
    (refusal,) = judge(**{kind: body}).refusals
    assert "`external` is refused: `real` belongs to somebody else" in refusal
    assert f"projects.shop.allow.{kind}" in refusal
    judged = judge(**{kind: body}, allow=Allow(**{kind: ("real",)}))
    assert judged.refusals == ()
    assert getattr(judged.checked, kind)["shared"] == {"external": True, "name": "real"}
    assert judge(**{kind: body}, allow=Allow(**{kind: ("shared",)})).refusals


def test_volumes_have_no_driver_that_reaches_the_host() -> None:
    for body in ({"driver": "vieux/sshfs"}, {"driver_opts": {"type": "none", "o": "bind", "device": "/"}}, {"new": 1}):
        assert judge(volumes={"data": body}).refusals
    judged = judge(volumes={"data": {"name": "fixed", "driver": "local", "labels": {"a": "b", "traefik.x": "y"}}})
    assert judged.refusals == ()
    assert judged.checked.volumes["data"] == {"labels": {"a": "b"}}
    assert [line.partition(":")[0] for line in judged.notices] == ["volume data", "volume data"]


def test_the_names_that_compose_gives_are_not_worth_a_word() -> None:
    judged = judge(volumes={"d": {"name": "butai-main_d"}}, networks={"n": {"name": "butai-main_n", "ipam": {}}})
    assert judged.notices == ()


def test_networks_are_plain_bridges_of_the_environment() -> None:
    for driver in ("host", "macvlan", "ipvlan", "overlay", "none"):
        assert judge(networks={"n": {"driver": driver}}).refusals
    assert judge(networks={"n": {"surprise": 1}}).refusals
    body = {
        "name": "fixed",
        "driver": "bridge",
        "driver_opts": {"a": "b"},
        "ipam": {"config": [{}]},
        "enable_ipv6": True,
    }
    judged = judge(networks={"n": {**body, "internal": True, "attachable": True}})
    assert judged.refusals == ()
    assert judged.checked.networks["n"] == {"internal": True}
    assert len(judged.notices) == 4


def test_fixed_addresses_are_removed() -> None:
    judged = judge({"networks": {"n": {"ipv4_address": "10.0.0.2", "mac_address": "02:42:ac:11:00:02", "priority": 5}}})
    assert judged.web["networks"] == {"n": {"priority": 5}}
    assert len(judged.notices) == 2


# -- build -------------------------------------------------------------------------------------------------------


def test_a_build_from_the_repository_is_kept_relative_to_its_root() -> None:
    build = {"context": f"{ROOT}/api", "dockerfile": "Dockerfile.dev", "args": {"A": "1"}, "target": "dev"}
    assert judge({"build": build}).web["build"] == {**build, "context": "api"}
    assert judge({"build": {"context": ROOT}}).web["build"] == {"context": ".", "dockerfile": "Dockerfile"}
    above = {"context": f"{ROOT}/api", "dockerfile": "../Dockerfile"}
    assert judge({"build": above}).web["build"]["dockerfile"] == "../Dockerfile"


@pytest.mark.parametrize(
    ("field", "build"),
    [
        ("build.context", {"context": "https://github.com/a/b.git"}),
        ("build.context", {"context": "git@github.com:a/b.git"}),
        ("build.context", {"context": "/etc"}),
        ("build.context", {"context": f"{ROOT}/away"}),
        ("build.context", {"context": f"{ROOT}/absent"}),
        ("build.dockerfile", {"context": ROOT, "dockerfile": "../../etc/passwd"}),
        ("build.dockerfile", {"context": ROOT, "dockerfile": "away/passwd"}),
        ("build.dockerfile", {"context": ROOT, "dockerfile": "Absent"}),
        ("build.additional_contexts.x", {"context": ROOT, "additional_contexts": {"x": "/etc"}}),
        ("build.privileged", {"context": ROOT, "privileged": True}),
        ("build.entitlements", {"context": ROOT, "entitlements": ["network.host"]}),
        ("build.network", {"context": ROOT, "network": "host"}),
        ("build.network", {"context": ROOT, "network": "container:x"}),
        ("build.surprise", {"context": ROOT, "surprise": 1}),
    ],
)
def test_a_build_that_leaves_the_repository_or_reaches_the_host_is_refused(field: str, build: dict[str, Any]) -> None:
    refusals = judge({"build": build}).refusals
    assert any(f"service web: `{field}` is refused" in refusal for refusal in refusals)


@pytest.mark.parametrize("field", ["tags", "cache_to", "extra_hosts"])
def test_what_a_build_would_leave_behind_elsewhere_is_removed(field: str) -> None:
    judged = judge({"build": {"context": ROOT, field: ["x"]}})
    assert judged.refusals == ()
    assert field not in judged.web["build"]
    assert len(judged.notices) == 1


# -- configs, secrets, x-butai -----------------------------------------------------------------------------------


def test_configs_and_secrets_are_files_of_the_repository_or_the_operators_variables() -> None:
    judged = judge(secrets={"s": {"name": "x_s", "file": f"{ROOT}/conf/app.ini"}}, configs={"c": {"content": "a$$b"}})
    assert judged.refusals == ()
    assert judged.checked.secrets["s"] == {"file": "conf/app.ini"}
    assert judged.checked.configs["c"] == {"content": "a$b"}
    for body in ({"file": "/etc/shadow"}, {"file": f"{ROOT}/away/x"}, {"file": f"{ROOT}/src"}, {"external": True}):
        assert judge(secrets={"s": body}).refusals
    asked = {"s": {"environment": "TOKEN"}}
    assert "projects.shop.allow.variables" in judge(secrets=asked).refusals[0]
    assert judge(secrets=asked, variables={"TOKEN": "t"}).checked.secrets["s"] == {"content": "t"}


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ({"entry": "web"}, ""),
        ({"entry": "web", "port": 8000}, ""),
        ({"port": "8000"}, ""),
        ({"entry": "absent"}, "x-butai.entry"),
        ({"port": 0}, "x-butai.port"),
        ({"port": 70000}, "x-butai.port"),
        ({"port": "http"}, "x-butai.port"),
        ({"entri": "web"}, "x-butai.entri"),
        ("web", "x-butai"),
    ],
)
def test_x_butai_is_understood_or_refused_never_guessed(value: Any, refused: str) -> None:
    refusals = judge(**{"x-butai": value}).refusals
    assert [refused] == [line.split("`")[1] for line in refusals] if refused else refusals == ()
