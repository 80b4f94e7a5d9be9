"""Where files cannot be put, or no longer: other containers than the usual, and containers that go away meanwhile."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import docker
import pytest

from agent.adapters.docker import DockerEngine
from agent.adapters.docker.client import Client
from agent.adapters.docker.livesync import LiveSync
from agent.errors import NeedsRebuild, OutsideError
from tests.support.eventually import eventually
from tests.support.run import run_id, run_labels
from tests.support.synced import context, file, gone, link, pause, running

pytestmark = pytest.mark.docker

SOCKET = "unix:///var/run/docker.sock"
IMAGE = "busybox:1.37"
SETUP = "mkdir -p /srv/app; echo one > /srv/app/index.txt"


@pytest.fixture(name="engine")
def engine_fixture() -> DockerEngine:
    return DockerEngine(SOCKET, "livesync")


@pytest.fixture(scope="module", name="bare")
def bare_fixture() -> Iterator[str]:
    """An image with a program and two files, and no shell."""
    api = docker.from_env().api
    tag = f"butai-test/bare:{run_id()}"
    dockerfile = (
        b"FROM busybox:1.37 AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /busybox\n"
        b"COPY page.html /site/page.html\nCOPY --chown=12:34 owned.html /site/owned.html\n"
        b'ENTRYPOINT ["/busybox"]\n'
    )
    packed = context({"Dockerfile": dockerfile, "page.html": b"one", "owned.html": b"one"})
    for _ in api.build(fileobj=io.BytesIO(packed), custom_context=True, tag=tag, labels=run_labels(), rm=True):
        pass
    yield tag
    api.remove_image(tag, force=True)


# -- no shell --------------------------------------------------------------------------------------------------------


def test_without_a_shell_files_that_are_there_are_replaced_whole(engine: DockerEngine, bare: str) -> None:
    with running(bare, command=["sleep", "600"]) as stage:
        files = [file("/site/page.html", "two"), file("/site/owned.html", "two", program=True)]
        report = engine.sync(stage.id, files)
        assert (report.written, report.atomic) == (2, False)
        tree = stage.tree("/site")
        assert (tree["page.html"].data, tree["page.html"].owner) == (b"two", (0, 0))
        assert (tree["owned.html"].data, tree["owned.html"].owner, tree["owned.html"].mode) == (b"two", (12, 34), 0o755)
        engine.sync(stage.id, [file("/site/page.html", "three")])
        assert stage.contents("/site") == {"page.html": b"three", "owned.html": b"two"}


def test_without_a_shell_all_else_asks_for_a_rebuild(engine: DockerEngine, bare: str) -> None:
    with running(bare, command=["sleep", "600"]) as stage:
        wishes = (
            gone("/site/page.html"),
            file("/site/new.html", "n"),
            link("/site/page.html", "x"),
            file("/site", "x"),
        )
        for wish in wishes:
            with pytest.raises(NeedsRebuild):
                engine.sync(stage.id, [wish])
        with pytest.raises(NeedsRebuild):
            engine.sync(stage.id, [file(f"/site/{at}", "x") for at in range(500)])
        assert stage.contents("/site") == {"page.html": b"one", "owned.html": b"one"}


# -- not allowed -----------------------------------------------------------------------------------------------------


def test_an_application_that_is_not_root_gets_its_files_all_the_same(engine: DockerEngine) -> None:
    with running(IMAGE, user="1000:1000", setup=f"{SETUP}; chown -R 1000:1000 /srv/app; chmod 700 /srv/app") as stage:
        engine.sync(stage.id, [file("/srv/app/index.txt", "two"), file("/srv/app/new/x", "x")])
        tree = stage.tree("/srv/app")
        assert {seen.owner for seen in tree.values()} == {(1000, 1000)}
        assert stage.run("cat /srv/app/index.txt /srv/app/new/x", user="1000") == "twox"


def test_a_root_without_capabilities_asks_for_a_rebuild_instead_of_more_rights(engine: DockerEngine) -> None:
    setup = f"{SETUP}; chmod 777 /srv/app"
    with running(IMAGE, CapDrop=["ALL"], setup=setup) as stage:
        engine.sync(stage.id, [file("/srv/app/index.txt", "two")])
        assert stage.contents("/srv/app") == {"index.txt": b"two"}
    with running(IMAGE, CapDrop=["ALL"], setup=f"{SETUP}; chmod 555 /srv/app") as stage:
        with pytest.raises(NeedsRebuild):
            engine.sync(stage.id, [file("/srv/app/index.txt", "two")])
        assert stage.contents("/srv/app") == {"index.txt": b"one\n"}


def test_a_read_only_container_asks_for_a_rebuild(engine: DockerEngine) -> None:
    with running(IMAGE, ReadonlyRootfs=True) as stage:
        for wish in (file("/etc/passwd", "x"), gone("/etc/passwd")):
            with pytest.raises(NeedsRebuild):
                engine.sync(stage.id, [wish])


def test_mounts_are_never_written_to(engine: DockerEngine, tmp_path: object) -> None:
    mounts = [
        {"Type": "volume", "Target": "/data"},
        {"Type": "tmpfs", "Target": "/quick"},
        {"Type": "bind", "Source": str(tmp_path), "Target": "/mnt/ro", "ReadOnly": True},
    ]
    setup = "echo precious > /data/x; echo fast > /quick/x; ln -s /data /link; mkdir /srv"
    with running(IMAGE, Mounts=mounts, setup=setup) as stage:
        for folder in ("/data", "/quick", "/mnt/ro", "/link", "/proc", "/dev", "/data/new/deep"):
            for wish in (file(f"{folder}/x", "ours"), file(f"{folder}/y", "ours")):
                with pytest.raises(NeedsRebuild):
                    engine.sync(stage.id, [file("/srv/ok", "x"), wish])
        for wish in (gone("/data/x"), gone("/link/x"), file("/data", "x"), file("/etc/hosts", "x"), gone("/etc/hosts")):
            with pytest.raises(NeedsRebuild):
                engine.sync(stage.id, [wish])
        assert stage.run("cat /data/x /quick/x; ls /data") == "precious\nfast\nx\n"


# -- what goes away --------------------------------------------------------------------------------------------------


def test_a_container_that_stopped_is_told_and_served_again_when_it_is_back(engine: DockerEngine) -> None:
    with running(IMAGE, setup=SETUP) as stage:
        engine.sync(stage.id, [file("/srv/app/index.txt", "two")])
        stage.api.kill(stage.id)
        stage.api.wait(stage.id)
        with pytest.raises(OutsideError):
            engine.sync(stage.id, [file("/srv/app/index.txt", "three")])
        stage.api.start(stage.id)
        engine.sync(stage.id, [file("/srv/app/index.txt", "four")])
        assert stage.contents("/srv/app") == {"index.txt": b"four"}


def test_a_container_that_dies_in_the_middle_is_an_outside_error_and_nothing_hangs(engine: DockerEngine) -> None:
    with running(IMAGE, setup=SETUP) as stage:
        engine.sync(stage.id, [])
        killer = threading.Timer(0.25, lambda: stage.api.kill(stage.id))
        killer.start()
        with pytest.raises(OutsideError):  # noqa: PT012 - the loop is what meets the end
            for round_ in range(1000):
                engine.sync(stage.id, [file(f"/srv/app/d{at}/f", f"{round_}") for at in range(60)])
        killer.join()
        stage.api.wait(stage.id)
        stage.api.start(stage.id)
        files = {f"d{at}/f": f"after {at}".encode() for at in range(60)}
        engine.sync(stage.id, [file(f"/srv/app/{name}", data) for name, data in files.items()])
        assert stage.contents("/srv/app") == {"index.txt": b"one\n", **files}
        eventually(lambda: ".butai" not in stage.run("ls -a /"))


def test_a_container_that_is_gone_is_an_outside_error(engine: DockerEngine) -> None:
    with running(IMAGE) as stage:
        engine.sync(stage.id, [])
    with pytest.raises(OutsideError):
        engine.sync(stage.id, [file("/x", "x")])


def test_a_shell_that_was_killed_is_opened_again_unnoticed(engine: DockerEngine) -> None:
    with running(IMAGE, command=["sleep", "600"], setup=SETUP) as stage:
        engine.sync(stage.id, [])
        stage.run(
            'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != sh ] || [ ${p#/proc/} = $$ ] || kill -9 ${p#/proc/}; done'
        )
        assert engine.sync(stage.id, [file("/srv/app/index.txt", "two")]).written == 1
        assert stage.contents("/srv/app") == {"index.txt": b"two"}


def test_what_a_paused_container_missed_does_not_come_later_over_what_is_newer() -> None:
    impatient = DockerEngine(SOCKET, "livesync", timeout_s=2.0)
    with running(IMAGE, setup=SETUP) as stage:
        impatient.sync(stage.id, [file("/srv/app/index.txt", "two")])
        pause(stage.api, stage.id)
        with pytest.raises(OutsideError):
            impatient.sync(stage.id, [file("/srv/app/index.txt", "old")])
        stage.api.unpause(stage.id)
        impatient.sync(stage.id, [file("/srv/app/index.txt", "new")])
        eventually(lambda: ".butai" not in stage.run("ls -a /"))
        assert stage.contents("/srv/app") == {"index.txt": b"new"}


def test_an_idle_shell_is_closed_and_opened_again_when_needed() -> None:
    brief = LiveSync(Client(SOCKET, timeout_s=30), idle_s=0.3)
    with running(IMAGE, command=["sleep", "600"], setup=SETUP) as stage:
        brief.sync(stage.id, [file("/srv/app/index.txt", "two")])
        eventually(lambda: not any(line.split()[-1] == "sh" for line in stage.processes()))
        brief.sync(stage.id, [file("/srv/app/index.txt", "three")])
        assert stage.contents("/srv/app") == {"index.txt": b"three"}


def test_the_shells_of_an_agent_that_is_gone_end_with_it() -> None:
    with running(IMAGE, command=["sleep", "600"], setup=SETUP) as stage:
        first = LiveSync(Client(SOCKET, timeout_s=30))
        first.sync(stage.id, [])
        first.close()
        eventually(lambda: not any(line.split()[-1] == "sh" for line in stage.processes()))


def test_a_program_that_only_looks_like_a_shell_harms_nobody(engine: DockerEngine) -> None:
    with running(IMAGE, command=["/bin/busybox", "sleep", "600"]) as stage:
        stage.run("rm /bin/sh; printf '#!/bin/busybox sh\\nyes\\n' > /bin/sh; chmod 755 /bin/sh")
        with pytest.raises((OutsideError, NeedsRebuild)):
            engine.sync(stage.id, [file("/x", "x")])
