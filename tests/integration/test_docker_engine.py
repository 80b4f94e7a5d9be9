"""Containers, networks and files on the real engine, through the agent's one way to reach it."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from agent.adapters.docker import DockerEngine
from agent.errors import DeployError, OutsideError
from agent.model.edge import ContainerSpec, Mount, NetworkSpec, PublishedPort
from agent.model.labels import CONFIG, INSTANCE, ROLE
from agent.model.observed import ContainerState, Health
from agent.runtime.cancel import CancelToken
from tests.support.eventually import eventually
from tests.support.place import free_pool, free_port
from tests.support.run import run_labels
from tests.support.synced import pause

pytestmark = pytest.mark.docker

HOST = "unix:///var/run/docker.sock"
BUSYBOX = "busybox:1.37"
LOOP = "trap exit TERM; while true; do sleep 0.1; done"


class World:
    """An engine of one instance, and containers that are not made by it."""

    def __init__(self) -> None:
        self.client = docker.APIClient(HOST)
        self.instance = f"t{secrets.token_hex(4)}"
        self.labels = {INSTANCE: self.instance, **run_labels()}
        self.engine = DockerEngine(HOST, self.instance)

    def container(self, command: str = LOOP, **more: Any) -> str:
        config = {
            "Image": BUSYBOX,
            "Cmd": ["sh", "-c", command],
            "Labels": {**self.labels, "com.docker.compose.service": "web"},
            "HostConfig": {"NetworkMode": "none"},
        } | more
        return str(cast("Any", self.client).create_container_from_config(config)["Id"])

    def started(self, command: str = LOOP, **more: Any) -> str:
        container = self.container(command, **more)
        self.engine.start(container)
        return container

    def look(self, container: str) -> Any:
        return next(found for found in self.engine.containers({INSTANCE: self.instance}) if found.id == container)

    def remove(self) -> None:
        mine = {"label": [f"{INSTANCE}={self.instance}"]}
        for entry in self.client.containers(all=True, filters=mine):
            self.client.remove_container(entry["Id"], force=True, v=True)
        for network in self.client.networks(filters=mine):
            self.client.remove_network(network["Id"])
        for volume in self.client.volumes(filters=mine)["Volumes"] or ():
            self.client.remove_volume(volume["Name"])
        self.client.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    try:
        yield world
    finally:
        world.remove()


def test_a_container_is_seen_from_start_to_removal(world: World) -> None:
    container = world.container()
    assert world.look(container).state is ContainerState.CREATED
    world.engine.start(container)
    world.engine.start(container)  # running already is fine
    assert world.look(container).running
    pause(world.client, container)
    assert world.look(container).state is ContainerState.PAUSED
    world.engine.unpause(container)
    world.engine.unpause(container)  # not paused is fine
    world.engine.stop(container, grace_s=3)
    world.engine.stop(container, grace_s=3)
    stopped = world.look(container)
    assert (stopped.state, stopped.exit_code, stopped.service) == (ContainerState.EXITED, 0, "web")
    world.engine.remove(container)
    world.engine.remove(container)
    assert world.engine.containers({INSTANCE: world.instance}) == ()
    world.engine.stop(container, grace_s=1)  # gone is stopped


def test_health_is_read_from_the_list(world: World) -> None:
    check = {"Test": ["CMD", "test", "-e", "/tmp/well"], "Interval": 200_000_000, "Retries": 1}
    container = world.started(Healthcheck={**check, "StartPeriod": 0})
    eventually(lambda: world.look(container).health is Health.UNHEALTHY, 10)
    exec_id = world.client.exec_create(container, ["touch", "/tmp/well"])["Id"]
    world.client.exec_start(exec_id)
    eventually(lambda: world.look(container).health is Health.HEALTHY, 10)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"Entrypoint": ["no-such-program"]}, "executable file not found"),
        ({"User": "nobody-here"}, "unable to find user"),
        ({"Cmd": None, "Entrypoint": ["/etc"]}, "permission denied"),
    ],
)
def test_what_the_author_got_wrong_is_told_with_the_service(world: World, wrong: Mapping[str, Any], words: str) -> None:
    container = world.container(**wrong)
    with pytest.raises(DeployError, match=words) as caught:
        world.engine.start(container)
    assert caught.value.service == "web"
    assert caught.value.code == "start-failed"
    assert "OCI runtime" not in caught.value.message


def test_a_container_that_is_gone_is_not_the_authors_fault(world: World) -> None:
    for ask in (world.engine.start, world.engine.stats, lambda gone: world.engine.logs(gone, tail=1)):
        with pytest.raises(OutsideError, match="No such container"):
            ask(f"gone-{world.instance}")


def test_logs_come_as_clean_lines(world: World) -> None:
    container = world.started("echo one; printf '\\033[31mtwo\\033[0m\\n' >&2; printf three")
    eventually(lambda: world.look(container).state is ContainerState.EXITED)
    assert sorted(world.engine.logs(container, tail=None)) == ["one", "three", "two"]
    assert len(world.engine.logs(container, tail=2)) == 2
    assert world.engine.logs(container, tail=None, since=time.time() + 60) == []
    (stamped,) = world.engine.logs(container, tail=1, timestamps=True)
    assert stamped.startswith("20")


def test_a_terminals_logs_are_read_too(world: World) -> None:
    container = world.started("echo one; echo two", Tty=True)
    eventually(lambda: world.look(container).state is ContainerState.EXITED)
    assert world.engine.logs(container, tail=None) == ["one", "two"]
    assert list(world.engine.follow(container, tail=None)) == [b"one", b"two"]


def test_following_ends_with_the_container_or_when_another_thread_closes_it(world: World) -> None:
    container = world.started("echo hello; " + LOOP)
    follow = world.engine.follow(container, tail=10)
    assert next(follow) == b"hello"
    closer = threading.Timer(0.3, follow.close)
    started = time.monotonic()
    closer.start()
    assert list(follow) == []
    assert time.monotonic() - started < 3
    again = world.engine.follow(container, tail=0)
    world.engine.stop(container, grace_s=2)
    assert list(again) == []


def test_stats_are_one_quick_sample(world: World) -> None:
    container = world.started()
    started = time.monotonic()
    stats = world.engine.stats(container)
    assert time.monotonic() - started < 0.9  # two samples, as the engine does by default, take a second and more
    assert stats["memory_bytes"] > 0
    assert stats["pids"] >= 1


def test_events_are_ours_alone_and_end_when_asked(world: World) -> None:
    stop = threading.Event()
    heard: list[tuple[str, str]] = []
    ended = threading.Event()

    def listen() -> None:
        for event in world.engine.events(stop.is_set):
            heard.append((event["Action"], event["Actor"]["ID"]))
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    other = world.container(Labels=run_labels())
    try:
        eventually(lambda: world.container() and heard, 10)
        container = world.started("exit 3")
        eventually(lambda: ("die", container) in heard)
        assert ("start", container) in heard
        assert other not in {owner for _, owner in heard}
    finally:
        world.client.remove_container(other)
    stop.set()
    assert ended.wait(5)


def test_networks_are_joined_left_and_removed_as_often_as_you_like(world: World) -> None:
    subnet = free_pool(docker.from_env()).replace("/17", "/28")
    gateway = subnet.replace(".0/28", ".1")
    spec = NetworkSpec(f"{world.instance}-net", subnet, gateway, world.labels)
    world.engine.ensure_network(spec)
    world.engine.ensure_network(spec)
    [(made, network)] = world.engine.networks({INSTANCE: world.instance}).items()
    assert (made, network.subnets) == (spec.name, (subnet,))
    container = world.started(HostConfig={"NetworkMode": "bridge"})
    name = world.look(container).name
    for _ in range(2):
        world.engine.connect(spec.name, container)
    assert world.engine.joined(name) == {"bridge", spec.name}
    assert world.look(container).networks[spec.name] == network.id
    assert world.look(container).addresses[spec.name].startswith(subnet.rpartition(".")[0])
    with pytest.raises(OutsideError):
        world.engine.remove_network(spec.name)
    for _ in range(2):
        world.engine.disconnect(spec.name, container)
        world.engine.remove_network(spec.name)
    assert world.engine.networks({INSTANCE: world.instance}) == {}
    assert world.engine.joined(f"{name}-not") == frozenset()


def test_volumes_and_images_are_found_by_label_and_gone_is_removed(world: World) -> None:
    volume = f"{world.instance}-data"
    world.client.create_volume(volume, labels=world.labels)
    assert world.engine.volumes({INSTANCE: world.instance, **run_labels()}) == (volume,)
    for _ in range(2):
        world.engine.remove_volume(volume)
    assert world.engine.volumes({INSTANCE: ""}) is not None
    assert world.engine.images({INSTANCE: world.instance}) == {}
    assert world.engine.image_id("butai-test/no-such-image:1") is None
    assert str(world.engine.image_id(BUSYBOX)).startswith("sha256:")
    world.engine.untag("butai-test/no-such-image:1")


def test_a_tag_goes_and_an_image_in_use_stays(world: World) -> None:
    world.client.tag(BUSYBOX, f"butai-test/{world.instance}", "a")
    container = world.container(Image=f"butai-test/{world.instance}:a")
    world.engine.untag(f"butai-test/{world.instance}:a")
    assert world.engine.image_id(f"butai-test/{world.instance}:a") is None
    assert world.engine.image_id(BUSYBOX) is not None
    world.engine.start(container)


def test_the_agents_own_container_is_replaced_only_when_it_changes(world: World, tmp_path: Path) -> None:
    pool = free_pool(docker.from_env())
    network = NetworkSpec(
        f"{world.instance}-edge", pool.replace("/17", "/28"), pool.replace(".0/17", ".1"), world.labels
    )
    port = free_port()
    (tmp_path / "index.html").write_text("served")

    def ensure(config: str) -> str:
        world.engine.ensure_container(
            ContainerSpec(
                name=f"{world.instance}-edge",
                image=BUSYBOX,
                # The first process of a container hears SIGTERM only if it says so: ten seconds else.
                command=("sh", "-c", "trap 'exit 0' TERM; httpd -p 8000 -h /www; sleep 86400 & wait"),
                network=network.name,
                address=pool.replace(".0/17", ".5"),
                labels={**world.labels, ROLE: "edge", CONFIG: config},
                ports=(PublishedPort("127.0.0.1", port, 8000),),
                mounts=(Mount(tmp_path, "/www"),),
            )
        )
        (container,) = world.engine.containers({INSTANCE: world.instance})
        assert container.running
        assert container.addresses == {network.name: pool.replace(".0/17", ".5")}
        return str(container.id)

    world.engine.ensure_network(network)
    first = ensure("1")
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    assert ensure("1") == first
    world.engine.stop(first, grace_s=0)
    assert ensure("1") == first
    assert ensure("2") != first


def test_files_of_root_become_ours_and_go(world: World, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "node_modules" / "a b").mkdir(parents=True)
    (tree / "node_modules" / "a b" / "file").write_text("x")
    (tree / "-rf").write_text("x")
    outside = tmp_path / "outside"
    outside.write_text("not touched")
    (tree / "link").symlink_to(outside)
    (tree / "link-to-folder").symlink_to(tmp_path)
    owner = outside.stat().st_uid
    world.engine.own_tree(tree, uid=12345, gid=12345)
    found = [tree, *tree.rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in found} == {(12345, 12345)}
    assert outside.stat().st_uid == owner
    world.engine.empty_tree(tree)
    assert list(tree.iterdir()) == []
    assert outside.read_text() == "not touched"
    assert world.engine.containers({INSTANCE: world.instance}) == ()


def test_a_pull_that_no_registry_answers_is_tried_again_later(world: World) -> None:
    with pytest.raises(OutsideError, match="registry") as caught:
        world.engine.pull("127.0.0.1:9/nothing:1", platform="", on_line=lambda line: None, cancel=CancelToken())
    assert caught.value.code == "registry-unreachable"


def test_an_engine_that_is_away_or_hangs_is_said_to_be(tmp_path: Path) -> None:
    away = DockerEngine(f"unix://{tmp_path}/none.sock", "t")
    for ask in (
        away.version,
        lambda: away.containers({}),
        lambda: away.logs("x", tail=1),
        lambda: list(away.events(bool)),
    ):
        with pytest.raises(OutsideError, match="does not answer on unix://"):
            ask()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/silent.sock")
        silent.listen()
        hanging = DockerEngine(f"unix://{tmp_path}/silent.sock", "t", timeout_s=0.3)
        with pytest.raises(OutsideError, match="did not answer in time"):
            hanging.version()


def test_threads_share_the_engine_and_its_connections(world: World) -> None:
    containers = [world.started() for _ in range(3)]
    wrong: list[object] = []

    def look() -> None:
        for _ in range(20):
            found = {container.id for container in world.engine.containers({INSTANCE: world.instance})}
            if found != set(containers):
                wrong.append(found)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
