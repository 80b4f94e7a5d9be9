"""Listing and fetching over real HTTP, local paths and a stand-in for SSH, from servers that answer and that do not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from agent.adapters.git import GitMirrors, quick
from agent.adapters.git.remote import Remote
from agent.adapters.git.wire import Wire
from agent.errors import OutsideError
from agent.model.names import Revision
from tests.support.eventually import eventually
from tests.support.gitserver import Mood, Repository
from tests.support.gitworld import GitWorld, git_world

AWKWARD = [
    "main;touch${IFS}x",
    "$(touch${IFS}x)",
    "`id>x`",
    "a&b",
    "a|b",
    "a'b",
    'a"b',
    "a{b}",
    "a!b",
    "a#b",
    "HEAD",
    "FETCH_HEAD",
    "${HOME}",
    "%s%n",
    "{0.__class__}",
    "<script>alert(1)</script>",
    "a\u202eb",
    "m\u0430in",
    "日本",
    "🚀",
    "x" * 244,
    "Feature/X",
    "feature/x",
    "1234",
    "refs/heads/main",
    "0123456789012345678901234567890123456789",
]


@pytest.fixture
def world() -> Iterator[GitWorld]:
    with git_world() as found:
        yield found


def children(pid: int) -> list[int]:
    """Every living descendant of a process."""
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended while we looked
            for child in listing.read_text().split():
                found += [int(child), *children(int(child))]
    return found


def gits() -> list[int]:
    """Git processes that this process started."""
    found = []
    for pid in children(os.getpid()):
        with contextlib.suppress(OSError):
            if b"git" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                found.append(pid)
    return found


# -- what is there -----------------------------------------------------------------------------------------------


def test_every_branch_is_listed_and_no_tag(world: GitWorld) -> None:
    head = world.repository.head()
    world.repository.point("refs/tags/v1", head)
    world.repository.point("refs/pull/1/head", head)
    for branch in AWKWARD:
        world.repository.point(f"refs/heads/{branch}", head)
    assert world.git.branches("shop") == dict.fromkeys(["main", *AWKWARD], head)


def test_two_thousand_branches_are_one_complete_listing(world: GitWorld) -> None:
    names = [f"team-{number % 9}/branch-{number}" for number in range(2000)]
    world.repository.branch_many(names, world.repository.head())
    started = time.monotonic()
    assert set(world.git.branches("shop")) == {"main", *names}
    world.fetch("team-1/branch-1")
    assert time.monotonic() - started < 10


def test_an_empty_repository_lists_nothing_and_has_no_branch(world: GitWorld) -> None:
    world.server.create("empty")
    world.use_remote(world.server.url("empty"))
    assert world.git.branches("shop") == {}
    assert world.git.fetch("shop", "main") is None


@pytest.mark.parametrize("branch", AWKWARD)
def test_exactly_the_branch_that_was_asked_for_is_fetched(world: GitWorld, branch: str) -> None:
    wanted = world.repository.commit("side", {"side": "x"}, base="main")
    world.repository.point(f"refs/heads/{branch}", wanted)
    assert world.git.fetch("shop", branch) == wanted
    assert not (world.root / "x").exists()


@pytest.mark.parametrize(
    "branch", ["nope", "origin/main", "ma", "mai*", "*", "heads/main", "ain", "main:main", "main\n", "--all", "v1"]
)
def test_what_is_no_branch_is_not_found(world: GitWorld, branch: str) -> None:
    world.repository.point("refs/tags/v1", world.repository.head())
    assert world.git.fetch("shop", branch) is None
    assert world.git.fetch("shop", "main") == world.repository.head()


def test_a_branch_wins_over_a_tag_of_its_name(world: GitWorld) -> None:
    old = world.repository.head()
    world.repository.point("refs/tags/main", old)
    new = world.repository.commit("main", {"a": "b"})
    assert world.fetch() == new
    assert world.git.branches("shop")["main"] == new


def test_a_push_and_a_forced_push_are_both_followed(world: GitWorld) -> None:
    first = world.fetch()
    second = world.repository.commit("main", {"a": "b"})
    assert world.fetch() == second
    third = world.repository.commit("main", {"a": "c"}, force=True)
    assert world.fetch() == third
    assert len({first, second, third}) == 3


def test_a_deleted_branch_is_gone_and_may_come_back(world: GitWorld) -> None:
    world.repository.commit("side", {"a": "b"}, base="main")
    world.fetch("side")
    world.repository.delete("side")
    assert world.git.fetch("shop", "side") is None
    again = world.repository.commit("side", {"a": "c"}, base="main")
    assert world.fetch("side") == again


def test_a_branch_may_become_a_folder_of_branches(world: GitWorld) -> None:
    head = world.repository.head()
    world.repository.point("refs/heads/a", head)
    world.fetch("a")
    world.repository.delete("a")
    world.repository.point("refs/heads/a/b", head)
    assert world.fetch("a/b") == head


def test_many_branches_may_be_fetched_at_once(world: GitWorld) -> None:
    names = [f"branch-{number}" for number in range(8)]
    heads = {name: world.repository.commit(name, {"name": name}, base="main") for name in names}
    found: dict[str, Revision | None] = {}
    threads = [threading.Thread(target=lambda n=name: found.update({n: world.git.fetch("shop", n)})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == heads


def test_objects_that_name_others_which_never_came_are_not_taken_in(world: GitWorld) -> None:
    """A remote that sends half of a push: our branch stays where everything is there."""
    before = world.fetch()
    ref = next((world.mirror / "refs" / "butai" / "heads").iterdir())
    commit = b"tree " + b"1" * 40 + b"\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n"
    header = bytes([0x90 | len(commit) & 15, len(commit) >> 4])
    pack = b"PACK" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + header + zlib.compress(commit)
    head = Revision(hashlib.sha1(b"commit %d\0" % len(commit) + commit).hexdigest())

    class Half(Wire):
        fits = True

        def head(self, branch: str) -> Revision | None:
            return head

        def pack(self, wanted: Revision, have: Iterable[Revision], *, limit: int) -> bytes:
            return pack + hashlib.sha1(pack).digest()

    half = Half(Remote("shop", world.server.url("shop"), world.root / "known_hosts"), silence_s=5)
    name = str(ref.relative_to(world.mirror))
    for expected in (None, head):
        assert quick.fetch(half, half, world.mirror, os.environ, branch="main", ref=name, expected=expected) is None
    assert ref.read_text().strip() == before


def test_a_lost_mirror_is_filled_again(world: GitWorld) -> None:
    revision = world.fetch()
    shutil.rmtree(world.mirror)
    assert set(world.archived(revision)) >= {"README.md"}


def test_a_revision_that_is_nowhere_is_said_to_be(world: GitWorld) -> None:
    world.fetch()
    with pytest.raises(OutsideError) as caught:
        world.git.files("shop", Revision("1" * 40))
    assert caught.value.code == "revision-missing"


# -- who may ask -------------------------------------------------------------------------------------------------


def test_a_token_opens_a_private_remote_and_is_seen_nowhere(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cret/with?odd#letters"
    world.server.credentials = ("robot", secret)
    with pytest.raises(OutsideError):
        world.fetch()
    world.use_token("robot", secret)
    assert world.fetch() == world.repository.head()

    world.server.mood = Mood.HANGING
    world.allow_s(2)
    monkeypatch.setattr(Wire, "fits", False)  # as behind a proxy, where git itself asks
    seen: list[bytes] = []

    def ask() -> None:
        with pytest.raises(OutsideError):
            world.git.branches("shop")

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: len(gits()) >= 2, 5)
    for pid in gits():
        with contextlib.suppress(OSError):
            seen += [Path(f"/proc/{pid}/{what}").read_bytes() for what in ("cmdline", "environ")]
    asking.join(20)
    assert seen
    assert not any(b"s3cret" in text for text in seen)
    assert "s3cret" not in (world.mirror / "config").read_text()
    assert (world.settings.state_dir / "git" / "shop.config").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("mood", [Mood.LOCKED, Mood.FORBIDDEN, Mood.GONE])
def test_a_refusal_says_who_refuses_and_where_to_look(world: GitWorld, mood: Mood) -> None:
    world.use_token("robot", "canary-token")
    world.server.mood = mood
    for ask in (lambda: world.git.fetch("shop", "main"), lambda: world.git.branches("shop")):
        with pytest.raises(OutsideError) as caught:
            ask()
        assert caught.value.code == "git-refused"
        assert "127.0.0.1" in caught.value.message
        assert "projects.shop.remote" in caught.value.hint
        assert "canary-token" not in str(caught.value)


def test_a_refusal_is_over_when_the_server_says_so(world: GitWorld) -> None:
    world.server.mood = Mood.LOCKED
    with pytest.raises(OutsideError):
        world.git.fetch("shop", "main")
    world.server.mood = Mood.WELL
    assert world.fetch() == world.repository.head()


# -- when nobody answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mood", [Mood.CLOSING, Mood.BROKEN])
def test_a_server_in_trouble_is_worth_another_try(world: GitWorld, mood: Mood) -> None:
    world.server.mood = mood
    with pytest.raises(OutsideError) as caught:
        world.git.branches("shop")
    assert caught.value.code == "git-unreachable"
    assert "127.0.0.1" in caught.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/shop.git", "ssh://git@127.0.0.1:{port}/shop.git"])
def test_a_port_that_nobody_listens_on_is_not_answering(world: GitWorld, url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        world.use_remote(url.format(port=taken.getsockname()[1]))
        with pytest.raises(OutsideError) as caught:
            world.git.fetch("shop", "main")
    assert caught.value.code == "git-unreachable"
    assert "127.0.0.1" in caught.value.message


def test_a_hanging_server_costs_the_deadline_and_no_more(world: GitWorld) -> None:
    world.server.mood = Mood.HANGING
    world.allow_s(0.5)
    for ask in (lambda: world.git.branches("shop"), lambda: world.git.fetch("shop", "main")):
        started = time.monotonic()
        with pytest.raises(OutsideError) as caught:
            ask()
        assert time.monotonic() - started < 10
        assert caught.value.code == "git-timeout"
        assert "127.0.0.1" in caught.value.message
    eventually(lambda: not gits(), 5)
    world.server.mood = Mood.WELL
    world.allow_s(30)
    assert world.fetch() == world.repository.head()


def test_a_transfer_that_stalls_is_ended(world: GitWorld) -> None:
    world.repository.commit("main", {"big": os.urandom(400_000)})
    world.server.mood = Mood.STALLING
    world.allow_s(1)
    with pytest.raises(OutsideError) as caught:
        world.git.fetch("shop", "main")
    assert caught.value.code == "git-timeout"
    world.server.mood = Mood.WELL
    assert world.fetch() == world.repository.head()


def test_a_killed_git_leaves_no_lock_that_blocks_the_next(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.fetch()
    monkeypatch.setattr(quick, "fetch", lambda *_, **__: None)
    world.repository.commit("main", {"big": os.urandom(400_000)})
    world.server.mood = Mood.STALLING
    raised: list[OutsideError] = []

    def fetch() -> None:
        try:
            world.git.fetch("shop", "main")
        except OutsideError as error:
            raised.append(error)

    asking = threading.Thread(target=fetch)
    asking.start()
    eventually(lambda: list((world.mirror / "objects/pack").glob("tmp_*")) or len(gits()) >= 3, 20)
    for pid in gits():
        with contextlib.suppress(ProcessLookupError):  # it ended with the one before
            os.kill(pid, signal.SIGKILL)
    asking.join(20)
    assert raised
    leave_locks(world)
    world.server.mood = Mood.WELL
    assert world.fetch() == world.repository.head()


def test_a_killed_agent_leaves_no_git_and_no_lock(world: GitWorld) -> None:
    """The kernel ends git; git's helper that waits for the remote ends once it was silent for too long."""
    world.fetch()
    world.repository.commit("main", {"big": os.urandom(400_000)})
    world.server.mood = Mood.STALLING
    code = (
        "import sys; from pathlib import Path; from agent.adapters.git import GitMirrors, quick;"
        "quick.fetch = lambda *_, **__: None;"
        "from tests.support.gitworld import allowing, settings_for;"
        "settings = allowing(settings_for(Path(sys.argv[1]), sys.argv[2]), 3.0);"
        "GitMirrors(lambda: settings).fetch('shop', 'main')"
    )
    argv = [sys.executable, "-c", code, str(world.settings.state_dir), world.server.url("shop")]
    agent = subprocess.Popen(argv, cwd=Path(__file__).parents[2])
    eventually(lambda: len(children(agent.pid)) >= 3, 20)
    started = children(agent.pid)
    agent.send_signal(signal.SIGKILL)
    agent.wait(10)
    eventually(lambda: not any(Path(f"/proc/{pid}/fd/1").exists() for pid in started), 10)
    leave_locks(world)
    world.server.mood = Mood.WELL
    again = GitMirrors(lambda: world.settings)
    assert again.fetch("shop", "main") == world.repository.head()
    assert not list((world.mirror / "objects" / "pack").glob("tmp_*"))


def leave_locks(world: GitWorld) -> None:
    """Every lock that a git may leave which is killed while it writes."""
    for name in ("packed-refs", "HEAD", "config", "shallow"):
        (world.mirror / f"{name}.lock").touch()
    for ref in (world.mirror / "refs" / "butai" / "heads").iterdir():
        ref.with_name(f"{ref.name}.lock").touch()


# -- other ways to get there -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{path}", "file://{path}"])
def test_a_repository_on_this_host_may_belong_to_another_user(world: GitWorld, form: str) -> None:
    path = world.repository.path
    if os.geteuid() == 0:
        for place in (path, *path.rglob("*")):
            os.chown(place, 12345, 12345)
    world.use_remote(form.format(path=path))
    assert world.git.branches("shop") == {"main": world.repository.head()}
    assert world.fetch() == world.repository.head()


def test_ssh_never_asks_and_uses_only_the_deploy_key(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    log, programs = world.root / "ssh.log", world.root / "bin"
    programs.mkdir()
    key = world.root / "deploy key"
    key.touch()
    stand_in = programs / "ssh"
    stand_in.write_text(
        f"#!{sys.executable}\nimport os, shlex, sys\n"
        f"open({str(log)!r}, 'a').write(shlex.join(sys.argv[1:]) + '\\n')\n"
        "command = shlex.split(sys.argv[-1])\nos.execvp(command[0], command)\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    world.use_remote(f"git@git.example.com:{world.repository.path}", key)
    assert world.fetch() == world.repository.head()
    options = shlex.split(log.read_text().splitlines()[0])
    assert options[:2] == ["-F", "/dev/null"]
    assert {"-oBatchMode=yes", "-oConnectTimeout=10", "-oIdentitiesOnly=yes"} <= set(options)
    assert options[options.index("-i") + 1] == str(key)
    assert f"-oUserKnownHostsFile={world.settings.state_dir}/git/known_hosts" in options


@pytest.mark.parametrize("url", ["ext::touch{IFS}x", "git://127.0.0.1:1/shop.git", "ftp://127.0.0.1/shop.git"])
def test_only_http_ssh_and_local_remotes_are_spoken(world: GitWorld, url: str) -> None:
    world.use_remote(url)
    with pytest.raises(OutsideError):
        world.git.branches("shop")


def test_nothing_of_the_machines_git_reaches_ours(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    home = world.root / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "http://127.0.0.1:1/"]\n\tinsteadOf = http://127.0.0.1\n[core]\n\tsshCommand = touch {world.root}/ran\n'
    )
    for name, value in {"HOME": str(home), "GIT_DIR": "/nonexistent", "GIT_INDEX_FILE": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    revision = world.fetch()
    assert world.git.commit("shop", revision).author == "Anna Author"
    assert (world.checkout() / "README.md").exists()


def test_a_project_without_settings_is_said_to_be_gone(world: GitWorld) -> None:
    with pytest.raises(OutsideError) as caught:
        world.git.fetch("other", "main")
    assert caught.value.code == "project-gone"


def test_pushing_over_http_is_seen_by_the_next_fetch(world: GitWorld, tmp_path: Path) -> None:
    work = Repository.create(tmp_path / "work.git")
    pushed = work.commit("topic", {"a": "b"})
    work.git("push", "--quiet", world.server.url("shop"), "topic")
    assert world.fetch("topic") == pushed


def test_tidying_up_loses_nothing(world: GitWorld) -> None:
    first = world.fetch()
    for number in range(5):
        world.repository.commit("main", {"a": str(number)})
        world.fetch()
    world.git.maintain("shop")
    assert world.git.changed("shop", first, world.fetch()) == 1
