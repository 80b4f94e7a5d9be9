"""Files put into running containers: afterwards there is the tree that a fresh image would have."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from agent.adapters.docker import DockerEngine
from agent.errors import NeedsRebuild, OutsideError
from tests.support.eventually import eventually
from tests.support.synced import Stage, file, gone, link, running

pytestmark = pytest.mark.docker

SOCKET = "unix:///var/run/docker.sock"
APP = "/srv/app"
SETUP = f"""
mkdir -p {APP}/views {APP}/static && cd {APP}
echo one > views/index.txt; echo style > static/main.css; echo run > run.sh
chmod 755 run.sh; chmod 640 views/index.txt; chown -R 1000:50 views; chown 7:8 static/main.css
"""


@pytest.fixture(scope="module", name="engine")
def engine_fixture() -> DockerEngine:
    return DockerEngine(SOCKET, "livesync")


@pytest.fixture(scope="module", params=["busybox:1.37", "debian:bookworm-slim"], name="shared")
def shared_fixture(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with running(request.param) as stage:
        yield stage


@pytest.fixture(name="stage")
def stage_fixture(shared: Stage) -> Stage:
    """The application as its image has it."""
    shared.run(f"rm -rf {APP} && {SETUP}")
    return shared


# -- as the image would have it --------------------------------------------------------------------------------------


def test_a_changed_file_keeps_its_owner_and_its_mode(engine: DockerEngine, stage: Stage) -> None:
    report = engine.sync(stage.id, [file(f"{APP}/views/index.txt", "two\n"), file(f"{APP}/static/main.css", "new\n")])
    tree = stage.tree(APP)
    index, css = tree["views/index.txt"], tree["static/main.css"]
    assert (index.data, index.mode, index.owner) == (b"two\n", 0o640, (1000, 50))
    assert (css.data, css.mode, css.owner) == (b"new\n", 0o644, (7, 8))
    assert (report.written, report.deleted, report.size, report.atomic) == (2, 0, 8, True)


def test_a_new_file_and_its_new_folders_belong_to_whom_the_folder_belongs(engine: DockerEngine, stage: Stage) -> None:
    engine.sync(stage.id, [file(f"{APP}/views/a/b/new.txt", "new"), file(f"{APP}/views/a/tool", "#!", program=True)])
    tree = stage.tree(APP)
    assert (tree["views/a"].kind, tree["views/a"].mode, tree["views/a"].owner) == ("folder", 0o755, (1000, 50))
    assert tree["views/a/b"].owner == (1000, 50)
    new = tree["views/a/b/new.txt"]
    assert (new.data, new.mode, new.owner) == (b"new", 0o644, (1000, 50))
    assert tree["views/a/tool"].mode == 0o755


def test_the_executable_bit_follows_git_and_nothing_else_does(engine: DockerEngine, stage: Stage) -> None:
    engine.sync(stage.id, [file(f"{APP}/run.sh", "x"), file(f"{APP}/views/index.txt", "y", program=True)])
    tree = stage.tree(APP)
    assert tree["run.sh"].mode == 0o644
    assert tree["views/index.txt"].mode == 0o750


def test_links_come_as_links_and_files_take_their_place_again(engine: DockerEngine, stage: Stage) -> None:
    engine.sync(stage.id, [link(f"{APP}/current", "views/index.txt"), link(f"{APP}/run.sh", "/no/where $(x)")])
    tree = stage.tree(APP)
    assert (tree["current"].kind, tree["current"].data) == ("link", b"views/index.txt")
    assert tree["run.sh"].data == b"/no/where $(x)"
    engine.sync(stage.id, [file(f"{APP}/current", "a file"), link(f"{APP}/run.sh", "elsewhere")])
    tree = stage.tree(APP)
    assert (tree["current"].kind, tree["current"].data, tree["current"].mode) == ("file", b"a file", 0o644)
    assert tree["run.sh"].data == b"elsewhere"
    assert tree["views/index.txt"].data == b"one\n"


def test_deletions_take_the_folders_with_them_that_git_does_not_know_any_more(
    engine: DockerEngine, stage: Stage
) -> None:
    engine.sync(stage.id, [file(f"{APP}/deep/er/one", "1"), file(f"{APP}/deep/er/two", "2"), link(f"{APP}/l", "x")])
    report = engine.sync(stage.id, [gone(f"{APP}/deep/er/one"), gone(f"{APP}/l"), gone(f"{APP}/never/was")])
    assert report.deleted == 2
    assert {name for name in stage.tree(APP) if name.startswith(("deep", "l"))} == {"deep", "deep/er", "deep/er/two"}
    engine.sync(stage.id, [gone(f"{APP}/deep/er/two"), gone(f"{APP}/static/main.css"), file(f"{APP}/static/b", "b")])
    tree = stage.tree(APP)
    assert "deep" not in tree
    assert tree["static/b"].data == b"b"


def test_a_folder_that_holds_what_a_program_wrote_stays(engine: DockerEngine, stage: Stage) -> None:
    stage.run(f"mkdir {APP}/static/cache; echo 1 > {APP}/static/cache/x")
    engine.sync(stage.id, [gone(f"{APP}/static/main.css")])
    assert set(stage.tree(f"{APP}/static")) == {"cache", "cache/x"}


def test_folders_become_files_and_links_and_back(engine: DockerEngine, stage: Stage) -> None:
    engine.sync(stage.id, [gone(f"{APP}/views/index.txt"), file(f"{APP}/views", "a file")])
    assert stage.tree(APP)["views"].data == b"a file"
    engine.sync(stage.id, [gone(f"{APP}/views"), file(f"{APP}/views/in/side.txt", "inside")])
    assert stage.contents(f"{APP}/views") == {"in/side.txt": b"inside"}
    engine.sync(stage.id, [gone(f"{APP}/views/in/side.txt"), link(f"{APP}/views", "static")])
    assert stage.tree(APP)["views"].data == b"static"
    engine.sync(stage.id, [gone(f"{APP}/views"), file(f"{APP}/views/main.css", "its own")])
    assert stage.contents(f"{APP}/views") == {"main.css": b"its own"}
    assert stage.contents(f"{APP}/static") == {"main.css": b"style\n"}


def test_a_folder_that_a_program_wrote_into_does_not_become_a_file(engine: DockerEngine, stage: Stage) -> None:
    stage.run(f"echo precious > {APP}/views/written")
    with pytest.raises(NeedsRebuild):
        engine.sync(stage.id, [gone(f"{APP}/views/index.txt"), file(f"{APP}/views", "a file")])
    assert stage.contents(f"{APP}/views")["written"] == b"precious\n"


def test_a_path_through_a_link_ends_where_the_container_sees_it(engine: DockerEngine, stage: Stage) -> None:
    stage.run(f"ln -s {APP}/views {APP}/pages")
    engine.sync(stage.id, [file(f"{APP}/pages/index.txt", "through"), file(f"{APP}/pages/new/x", "new")])
    tree = stage.tree(APP)
    assert tree["pages"].kind == "link"
    assert (tree["views/index.txt"].data, tree["views/index.txt"].owner) == (b"through", (1000, 50))
    assert tree["views/new/x"].owner == (1000, 50)


def test_a_file_is_always_later_than_the_one_it_replaces(engine: DockerEngine, stage: Stage) -> None:
    times = []
    for content in ("a", "b", "c"):
        engine.sync(stage.id, [file(f"{APP}/run.sh", content)])
        times.append(stage.tree(APP)["run.sh"].changed_s)
    assert times[0] < times[1] < times[2], "Python would take the second for the first: same second, same size"


def test_nothing_of_ours_stays(engine: DockerEngine, stage: Stage) -> None:
    stage.run("mkdir -p /.butai-sync-left/0; echo x > /.butai-sync-left/0/x")
    DockerEngine(SOCKET, "another").sync(stage.id, [file(f"{APP}/new", "n")])
    eventually(lambda: ".butai" not in stage.run("ls -a /"))


def test_nothing_to_do_only_opens_the_shell(engine: DockerEngine, stage: Stage) -> None:
    assert engine.sync(stage.id, []).written == 0
    assert "sh" in stage.processes()


# -- hostile names ---------------------------------------------------------------------------------------------------

NAMES = (
    "new\nline", "two\n\nlines\n", " spaces ", "tab\there", "quo'te", '"double"', "$(touch /pwned)", "`touch /pwned`",
    "-rf", "--help", "*", "?", "[a-z]", "back\\slash", "ends\\", ";touch", "&", "|", ">x", "#", "~", "!", "{a,b}",
    "ünï", "舞台", "emoji 🎭", "\x01\x7f\x1b[31m", "\u0081\u0088", "raw \udcff\udc81 bytes", "$IFS",
    "a" * 200, "ä" * 120, "...", ".hidden", "'", "''", "'\\''", "EOF", "butai_drop", "%s%n", "\r", "=", "x=y",
)  # fmt: skip


def test_no_byte_of_a_name_means_anything(engine: DockerEngine, stage: Stage) -> None:
    files = [file(f"{APP}/{at}/{name}/{name}", f"{at}") for at, name in enumerate(NAMES)]
    flat = [file(f"{APP}/flat/{name}", f"{at}") for at, name in enumerate(NAMES)]
    engine.sync(stage.id, [*files, *flat])
    names = [name.encode(errors="surrogateescape") for name in NAMES]
    found = stage.contents(f"{APP}/flat")
    assert {name.encode(errors="surrogateescape"): data for name, data in found.items()} == {
        name: b"%d" % at for at, name in enumerate(names)
    }
    engine.sync(stage.id, [file(one.target, one.data + b" again") for one in flat])
    assert set(stage.contents(f"{APP}/flat").values()) == {b"%d again" % at for at in range(len(names))}
    engine.sync(stage.id, [gone(one.target) for one in (*files, *flat)])
    assert set(stage.contents(APP)) == {"views/index.txt", "static/main.css", "run.sh"}
    assert "pwned" not in stage.run("ls -a /")


@pytest.mark.parametrize(
    "target", ["relative", "/", "//srv/x", "/srv/../etc/passwd", "/srv/./x", "/srv/x/", "", "/nul\0", "/" + "a/" * 3000]
)
def test_what_is_no_path_of_a_file_is_refused(engine: DockerEngine, stage: Stage, target: str) -> None:
    for wish in (file(target, "x"), gone(target)):
        with pytest.raises(NeedsRebuild):
            engine.sync(stage.id, [file(f"{APP}/run.sh", "never"), wish])
    assert stage.tree(APP)["run.sh"].data == b"run\n"


def test_a_name_that_no_file_system_takes_asks_for_a_rebuild(engine: DockerEngine, stage: Stage) -> None:
    with pytest.raises((NeedsRebuild, OutsideError)):
        engine.sync(stage.id, [file(f"{APP}/{'a' * 300}", "x")])
    engine.sync(stage.id, [file(f"{APP}/fine", "x")])


# -- readers ---------------------------------------------------------------------------------------------------------


def test_no_reader_sees_a_missing_or_a_torn_file(engine: DockerEngine, stage: Stage) -> None:
    contents = [bytes([65 + at]) * (300_000 + at) for at in range(4)]
    sizes = {str(len(content)) for content in contents}
    engine.sync(stage.id, [file(f"{APP}/big", contents[0])])
    reading = f"while [ ! -e {APP}/stop ]; do wc -c < {APP}/big; done"
    said: list[str] = []
    readers = [threading.Thread(target=lambda: said.append(stage.run(reading))) for _ in range(3)]
    for reader in readers:
        reader.start()
    for at in range(24):
        engine.sync(stage.id, [file(f"{APP}/big", contents[at % 4])])
    engine.sync(stage.id, [file(f"{APP}/stop")])
    for reader in readers:
        reader.join(60)
    seen = [line.strip() for text in said for line in text.splitlines()]
    assert len(said) == 3
    assert len(seen) > 20
    assert set(seen) <= sizes


def test_many_threads_may_sync_the_same_container(engine: DockerEngine, stage: Stage) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for at in range(4):
                engine.sync(stage.id, [file(f"{APP}/t{number}/f{at}", f"{number}/{at}")])
        except BaseException as error:  # noqa: BLE001 - the test must hear of any
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert len([name for name in stage.contents(APP) if name.startswith("t")]) == 24


def test_a_thousand_files_in_one_round(engine: DockerEngine, stage: Stage) -> None:
    files = [file(f"{APP}/pkg{at % 40:02d}/module{at:04d}.py", f"VALUE = {at}\n") for at in range(1000)]
    assert engine.sync(stage.id, files).written == 1000
    assert sum(name.startswith("pkg") for name in stage.contents(APP)) == 1000
    assert engine.sync(stage.id, [gone(one.target) for one in files]).deleted == 1000
    assert not any(name.startswith("pkg") for name in stage.tree(APP))
