"""Hostile and awkward compose files through the whole reader: git, scan, Compose, policy. No engine is needed.

Each is refused before it has any effect, with one clear reason, and no word of what lies outside the repository.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import DeployError
from agent.model.release import Release
from tests.support.readerworld import ReaderWorld

Files = dict[str, Any]
CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ReaderWorld:
    return ReaderWorld(tmp_path_factory.mktemp("attacks"))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A file of the host that no environment may see."""
    path = tmp_path / "outside.env"
    path.write_text(f"LEAK={CANARY}\n")
    yield path
    assert path.read_text() == f"LEAK={CANARY}\n"


def one(**service: Any) -> str:
    """A compose file, as JSON-like YAML, whose service `web` has these fields."""
    return json.dumps({"services": {"web": {"image": "nginx", "ports": ["80"], **service}}})


def refusal(world: ReaderWorld, files: Files | str) -> str:
    with pytest.raises(DeployError) as caught:
        world.read({"compose.yaml": files} if isinstance(files, str) else files)
    message = str(caught.value)
    assert CANARY not in message
    assert str(world.settings.state_dir) not in message
    return message


# -- the same thing by every road --------------------------------------------------------------------------------

PRIVILEGED: dict[str, Files] = {
    "directly": {"compose.yaml": one(privileged=True)},
    "by an anchor": {
        "compose.yaml": "x-a: &a {privileged: true}\nservices: {web: {<<: *a, image: nginx, ports: ['80']}}"
    },
    "by extends": {
        "compose.yaml": "services: {web: {extends: {file: base/b.yaml, service: b}, ports: ['80']}}",
        "base/b.yaml": "services: {b: {image: nginx, privileged: true}}",
    },
    "by extends of a service beside it": {
        "compose.yaml": "services: {b: {image: a, privileged: true}, web: {extends: b, ports: ['80']}}"
    },
    "by the override file": {
        "compose.yaml": one(),
        "compose.override.yaml": "services: {web: {privileged: true}}",
    },
    "by an include": {
        "compose.yaml": "include: [more/c.yaml]\nservices: {web: {image: nginx, ports: ['80']}}",
        "more/c.yaml": "services: {evil: {image: nginx, privileged: true}}",
    },
    "by a variable": {"compose.yaml": "services: {web: {image: nginx, privileged: '${P}'}}", ".env": "P=true"},
    "by an escaped key": {"compose.yaml": 'services: {web: {image: nginx, "privi\\x6ceged": true}}'},
}


@pytest.mark.parametrize("files", PRIVILEGED.values(), ids=PRIVILEGED)
def test_privileged_is_refused_by_whatever_road_it_comes(world: ReaderWorld, files: Files) -> None:
    assert "`privileged` is refused: it hands over the host" in refusal(world, files)


PROFILE = "services: {web: {image: nginx, ports: ['80']}, e: {image: a, profiles: [x], privileged: true}}"


def test_privileged_behind_a_profile_that_is_not_enabled_never_runs(world: ReaderWorld) -> None:
    release = world.read({"compose.yaml": PROFILE})
    assert [spec.name for spec in release.services] == ["web"]


def test_privileged_behind_a_profile_that_is_enabled_is_refused(tmp_path: Path) -> None:
    world = ReaderWorld(tmp_path, 'profiles = ["x"]\n')
    assert "service e: `privileged` is refused" in refusal(world, PROFILE)


@pytest.mark.parametrize(
    "volume",
    ["/:/h", "/var/run/docker.sock:/s", "../..:/x", "~/.aws:/a", "/proc:/p", "/sys:/s", "./a/../../x:/x",
     "/etc/passwd:/p", "./link/etc:/h", "./${UP}:/x", ".git:/g",
     {"type": "bind", "source": "/", "target": "/h"}, {"type": "bind", "source": "link", "target": "/h"}],
)  # fmt: skip
def test_no_mount_leads_out_of_the_checkout(world: ReaderWorld, volume: Any) -> None:
    files = {"compose.yaml": one(volumes=[volume]), "link": Path("/"), ".env": "UP=../.."}
    assert "volumes[" in refusal(world, files)


@pytest.mark.parametrize(
    ("service", "field"),
    [
        ({"pid": "host"}, "pid"),
        ({"ipc": "host"}, "ipc"),
        ({"network_mode": "host"}, "network_mode"),
        ({"network_mode": "container:traefik"}, "network_mode"),
        ({"userns_mode": "host"}, "userns_mode"),
        ({"uts": "host"}, "uts"),
        ({"cgroup": "host"}, "cgroup"),
        ({"cap_add": ["ALL"]}, "cap_add"),
        ({"devices": ["/dev/mem:/dev/mem"]}, "devices"),
        ({"security_opt": ["seccomp:unconfined"]}, "security_opt"),
        ({"build": {"context": ".", "network": "host"}}, "build.network"),
        ({"build": {"context": ".", "ssh": ["default"]}}, "build.ssh"),
        ({"build": {"context": "https://evil.test/x.git"}}, "build.context"),
        ({"build": {"context": "../.."}}, "build.context"),
        ({"build": {"context": ".", "dockerfile": "/etc/passwd"}}, "build.dockerfile"),
        ({"image": "butai/other/web:0123456789ab"}, "image"),
        ({"extra_hosts": ["host.docker.internal:host-gateway"]}, "extra_hosts"),
        ({"networks": {"default": {"aliases": ["butai-other-web-1"]}}}, "networks.default.aliases"),
        ({"external_links": ["butai-other-db-1"]}, "external_links"),
        ({"gpus": "all"}, "gpus"),
        ({"surprise": True}, "surprise"),
    ],
)
def test_fields_that_reach_further_are_refused_by_name(world: ReaderWorld, service: dict[str, Any], field: str) -> None:
    message = refusal(world, {"compose.yaml": one(**service), "Dockerfile": "FROM scratch"})
    assert field.partition(".")[0] in message


@pytest.mark.parametrize(
    "text",
    [
        "networks: {n: {external: true, name: butai-other_default}}",
        "volumes: {vol: {external: true, name: butai-other_data}}",
        "volumes: {vol: {driver_opts: {type: none, o: bind, device: /}}}",
    ],
)
def test_what_belongs_to_another_environment_stays_with_it(world: ReaderWorld, text: str) -> None:
    use = "networks: [n]" if text.startswith("networks") else "volumes: ['vol:/v']"
    assert "is refused" in refusal(world, f"services: {{web: {{image: nginx, ports: ['80'], {use}}}}}\n{text}")


def test_a_fixed_name_of_another_environments_volume_gets_a_volume_of_its_own(world: ReaderWorld) -> None:
    release = world.read(
        {
            "compose.yaml": "services: {web: {image: a, ports: ['80'], volumes: ['vol:/v']}}\n"
            "volumes: {vol: {name: butai-other_v}}"
        }
    )
    assert release.volumes == ("butai-main_vol",)
    assert any("`name` was removed" in line for line in release.notices)


# -- files outside the tree --------------------------------------------------------------------------------------


def roads_out(outside: Path) -> dict[str, Files]:
    up = os.path.relpath(outside, "/")
    return {
        "env_file, absolute": {"compose.yaml": one(env_file=str(outside))},
        "env_file, relative": {"compose.yaml": one(env_file=f"{'../' * 12}{up}")},
        "env_file, through a link": {"compose.yaml": one(env_file="e.env"), "e.env": outside},
        "env_file, through a linked folder": {"compose.yaml": one(env_file="d/outside.env"), "d": outside.parent},
        "env_file, by a variable": {"compose.yaml": one(env_file="${E}"), ".env": f"E={outside}"},
        ".env itself": {"compose.yaml": one(environment={"LEAK": "${LEAK}"}), ".env": outside},
        "include": {"compose.yaml": f"include: [{outside}]\n{one()}"},
        "include's env_file": {
            "compose.yaml": f"include: [{{path: i.yaml, env_file: {outside}}}]\nservices: {{web: {{image: a}}}}",
            "i.yaml": "services: {x: {image: a}}",
        },
        "include's folder": {
            "compose.yaml": f"include: [{{path: i.yaml, project_directory: {outside.parent}}}]\nservices: {{}}",
            "i.yaml": "services: {x: {image: a, env_file: outside.env}}",
        },
        "extends": {"compose.yaml": one(extends={"file": str(outside), "service": "x"})},
        "config": {
            "compose.yaml": "services: {web: {image: a, ports: ['80'], configs: [c]}}\n"
            f"configs: {{c: {{file: {outside}}}}}"
        },
        "secret through a link": {
            "compose.yaml": "services: {web: {image: a, ports: ['80'], secrets: [s]}}\nsecrets: {s: {file: ./s}}",
            "s": outside,
        },
        "the compose file itself": {"compose.yaml": outside},
        "a Dockerfile through a link": {"compose.yaml": one(build="."), "Dockerfile": outside},
        "a context through a link": {"compose.yaml": one(build="./c"), "c": outside.parent},
    }


@pytest.mark.parametrize("road", list(roads_out(Path("/x"))))
def test_no_file_outside_the_repository_is_read(world: ReaderWorld, outside: Path, road: str) -> None:
    refusal(world, roads_out(outside)[road])


def test_a_link_inside_the_repository_is_followed(world: ReaderWorld) -> None:
    release = world.read(
        {"compose.yaml": one(env_file="now.env"), "now.env": Path("env/dev.env"), "env/dev.env": "A=1"}
    )
    assert release.model["services"]["web"]["environment"]["A"] == "1"


@pytest.mark.parametrize("remote", ["https://evil.test/c.yaml", "oci://evil.test/c:1", "git@evil.test:a/b.git"])
def test_nothing_is_fetched(world: ReaderWorld, remote: str) -> None:
    message = refusal(world, f"include: ['{remote}']\nservices: {{web: {{image: a}}}}")
    assert "is fetched from elsewhere" in message


# -- .env --------------------------------------------------------------------------------------------------------


def test_a_dot_env_cannot_steer_compose_docker_or_the_linker(world: ReaderWorld) -> None:
    release = world.read(
        {
            "compose.yaml": one(
                environment={"N": "${COMPOSE_PROJECT_NAME}", "P": "${PATH}", "D": "${DOCKER_HOST}", "A": "$A"}
            ),
            ".env": "COMPOSE_PROJECT_NAME=other\nCOMPOSE_FILE=evil.yaml\nDOCKER_HOST=tcp://evil.test\n"
            "PATH=/evil\nLD_PRELOAD=/evil.so\nA='1'COMPOSE_PROFILES=evil\n",
            "evil.yaml": "services: {evil: {image: a, privileged: true}}",
        }
    )
    environment = release.model["services"]["web"]["environment"]
    assert [spec.name for spec in release.services] == ["web"]
    assert (environment["N"], environment["D"], environment["A"]) == ("butai-main", "", "1")
    assert "evil" not in environment["P"]
    assert release.stack == release.model["name"] == "butai-main"
    assert sum("was not passed on" in line for line in release.notices) == 5


def test_nothing_of_the_agents_own_environment_reaches_a_container(
    world: ReaderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    bare = {"AWS_SECRET_ACCESS_KEY": None, "PATH": None, "HOME": None, "B": "${AWS_SECRET_ACCESS_KEY}${HOSTNAME}"}
    environment = world.read({"compose.yaml": one(environment=bare)}).model["services"]["web"]["environment"]
    assert environment["B"] == ""
    assert not {"AWS_SECRET_ACCESS_KEY", "PATH", "HOME"} & set(environment)


# -- size and shape ----------------------------------------------------------------------------------------------


def bomb() -> str:
    lines = ["x0: &a0 [x, x, x, x, x, x]"]
    return "\n".join(lines + [f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 6)}]" for n in range(1, 10)])


SHAPES: dict[str, tuple[Callable[[], Any], str]] = {
    "alias bomb": (bomb, "aliases"),
    "50 MB": (lambda: b"#" * 50_000_000, "most that is read"),
    "10,000 services": (lambda: "services:\n" + "".join(f" s{n}: {{}}\n" for n in range(9_000)), "more than"),
    "duplicate keys": (lambda: "services: {web: {image: a, image: b}}", "appears twice"),
    "tabs": (lambda: "services:\n\tweb: {image: a}", "not valid YAML"),
    "two documents": (lambda: f"{one()}\n---\n{one()}", "more than one"),
    "NUL": (lambda: "services: {web: {image: a\0}}", "not valid YAML"),
    "not UTF-8": (lambda: b"services: {web: {image: \xff}}", "not UTF-8"),
    "deep": (lambda: "a: " + "[" * 5_000, "levels deep"),
    "nothing": (lambda: "", "holds no services"),
    "a list": (lambda: "[]", "holds no services"),
    "a cycle": (
        lambda: "services: {a: {image: x, ports: ['80'], depends_on: [b]}, b: {image: x, depends_on: [a]}}",
        "ycle",
    ),
    "an unknown dependency": (lambda: one(depends_on=["absent"]), "absent"),
    "a service without image": (lambda: "services: {web: {ports: ['80']}}", "image"),
    "extends itself": (lambda: "services: {web: {extends: {file: compose.yaml, service: web}}}", "Circular"),
    "include itself": (lambda: f"include: [compose.yaml]\n{one()[1:-1]}", "compose.yaml"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_any_shape_ends_soon_with_a_reason(world: ReaderWorld, shape: str) -> None:
    make, reason = SHAPES[shape]
    started = time.monotonic()
    assert reason in refusal(world, {"compose.yaml": make()})
    assert time.monotonic() - started < 15


def test_a_byte_order_mark_is_no_reason_to_refuse(world: ReaderWorld) -> None:
    assert world.read({"compose.yaml": b"\xef\xbb\xbf" + one().encode()}).entry_service == "web"


def test_no_compose_file_is_said_in_plain_words(world: ReaderWorld) -> None:
    assert "There is no compose file at the root of this branch." in refusal(world, {"README.md": "x"})


# -- limits ------------------------------------------------------------------------------------------------------


def service_of(release: Release) -> dict[str, Any]:
    made: dict[str, Any] = release.model["services"]["web"]
    return made


def test_absurd_limits_end_at_those_of_the_host(world: ReaderWorld) -> None:
    release = world.read(
        {
            "compose.yaml": one(
                mem_limit="900g",
                cpus=512,
                pids_limit=-1,
                shm_size="100g",
                stop_grace_period="10000h",
                deploy={"replicas": 100_000},
                ulimits={"nofile": 10**9, "rtprio": 99},
                healthcheck={"test": "true", "interval": "1ms", "timeout": "10000h", "retries": 10**6},
                oom_score_adj=-1000,
                logging={"driver": "syslog", "options": {"syslog-address": "udp://evil.test"}},
            )
        }
    )
    made = service_of(release)
    assert (made["mem_limit"], made["cpus"], made["pids_limit"], made["scale"]) == ("1073741824", 2.0, 512, 3)
    assert made["shm_size"] == str(256 * 1024**2)
    assert made["stop_grace_period"] == "60000ms"
    assert made["ulimits"] == {"nofile": {"soft": 65536, "hard": 65536}}
    assert made["logging"]["driver"] == "local"
    assert "oom_score_adj" not in made
    assert (made["healthcheck"]["interval"], made["healthcheck"]["timeout"]) == ("5000ms", "60000ms")
    notices = " ".join(release.notices)
    for word in ("memory", "cpus", "shm_size", "100000 replicas", "rtprio", "syslog"):
        assert word in notices


def test_labels_that_would_steer_traefik_or_us_are_gone(world: ReaderWorld) -> None:
    labels = {"traefik.http.routers.x.rule": "Host(`other.stage.test`)", "butai.slug": "other", "mine": "1"}
    made = service_of(world.read({"compose.yaml": one(labels=labels)}))
    assert made["labels"]["butai.slug"] == "main"
    assert made["labels"]["mine"] == "1"
    assert not any(name.startswith("traefik") for name in made["labels"])


def test_published_ranges_are_only_ports_to_route_to(world: ReaderWorld) -> None:
    ports = ["0.0.0.0:8000-8005:8000-8005", {"target": 9000, "published": "80", "mode": "host"}]
    release = world.read({"compose.yaml": one(ports=ports)})
    assert "ports" not in service_of(release)
    assert release.service("web").ports == (8000, 8001, 8002, 8003, 8004, 8005, 9000)
