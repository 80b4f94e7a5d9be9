"""Fetching without `git fetch`: the same mirror in the end, and git itself wherever anything is out of the ordinary."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator

import pytest

from agent.adapters.git import wire
from agent.adapters.git.mirror import Mirror
from agent.adapters.git.wire import Wire
from agent.errors import OutsideError
from agent.model.names import Revision
from tests.support.gitserver import GitServer, Mood
from tests.support.gitworld import GitWorld, git_world


@pytest.fixture(name="world")
def world_fixture() -> Iterator[GitWorld]:
    """A mirror that git itself has made."""
    with git_world() as world:
        world.fetch()
        yield world


@pytest.fixture(name="no_git")
def no_git_fixture(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `git fetch` is not to be used."""

    def refused(*_: object) -> None:
        raise AssertionError("git fetch was started")

    monkeypatch.setattr(Mirror, "_fetch", refused)


def sound(world: GitWorld, revision: Revision, branch: str = "main") -> bool:
    """Whether the mirror holds all of a revision, and it is what the remote has."""
    world.mirrored().git("fsck", "--connectivity-only", "--no-dangling")
    listing = ("ls-tree", "-r", revision)
    return revision == world.repository.head(branch) and (
        world.mirrored().git(*listing) == world.repository.git(*listing)
    )


@pytest.mark.usefixtures("no_git")
def test_a_push_is_two_questions_over_a_connection_that_is_kept(world: GitWorld) -> None:
    for at in range(3):
        world.repository.commit("main", {"src/app.py": f"print({at})\n"})
        assert sound(world, world.fetch())
    del world.server.requests[:]
    world.repository.commit("main", {"src/app.py": "print('last')\n"}, delete=["README.md"])
    assert sound(world, world.fetch())
    assert world.server.requests == ["POST /shop.git/git-upload-pack"] * 2


@pytest.mark.usefixtures("no_git")
def test_no_news_is_one_question(world: GitWorld) -> None:
    head = world.fetch()
    del world.server.requests[:]
    assert world.fetch() == head
    assert world.server.requests == ["POST /shop.git/git-upload-pack"]


@pytest.mark.usefixtures("no_git")
def test_what_was_said_to_be_the_head_comes_first_and_is_believed_only_from_the_remote(world: GitWorld) -> None:
    before = world.fetch()
    stranger = Revision(world.repository.commit("somebody-elses", {"x": "y"}, base="main"))
    world.git.expect("shop", "main", stranger)
    assert world.fetch() == before

    pushed = Revision(world.repository.commit("main", {"src/app.py": "print('said')\n"}))
    world.git.expect("shop", "main", pushed)
    del world.server.requests[:]
    assert world.fetch() == pushed
    assert sound(world, pushed)
    assert world.server.requests == ["POST /shop.git/git-upload-pack"] * 2

    newest = Revision(world.repository.commit("main", {"src/app.py": "print('newer')\n"}))
    world.git.expect("shop", "main", pushed)
    assert world.fetch() == newest
    assert sound(world, newest)


@pytest.mark.usefixtures("no_git")
def test_a_push_that_was_told_of_costs_one_way_to_a_remote_that_is_far(world: GitWorld) -> None:
    for text in ("connects", "print('told')\n"):
        pushed = Revision(world.repository.commit("main", {"src/app.py": text}))
        world.git.expect("shop", "main", pushed)
        began = time.monotonic()
        assert world.fetch() == pushed
        world.server.far_s = 1.0
    assert 1.0 <= time.monotonic() - began < 1.9


@pytest.mark.usefixtures("no_git")
@pytest.mark.parametrize("said", ["a" * 40, "0" * 40])
def test_what_is_said_and_nowhere_delays_nothing(world: GitWorld, said: str) -> None:
    pushed = world.repository.commit("main", {"src/app.py": "print('true')\n"})
    world.git.expect("shop", "main", Revision(said))
    assert sound(world, world.fetch())
    assert world.fetch() == pushed


@pytest.mark.usefixtures("no_git")
def test_every_kind_of_push_arrives_whole(world: GitWorld) -> None:
    for at in range(30):
        world.repository.commit("main", {f"many/{at}": f"{at}\n" * 50})
    assert sound(world, world.fetch())
    world.repository.commit("main", {f"large/{at}": f"{at}" * 400 for at in range(500)})
    assert sound(world, world.fetch())
    world.repository.commit("main", {"another": "root\n"}, force=True)
    assert sound(world, world.fetch())
    world.repository.commit("topic-ä", {"src/app.py": "topic\n"}, base="main")
    world.repository.commit("topic-ä-longer", {"src/app.py": "longer\n"}, base="main")
    assert sound(world, world.fetch("topic-ä"), "topic-ä")
    world.repository.point("refs/heads/main", world.repository.head("topic-ä-longer"))
    assert sound(world, world.fetch())


def test_a_look_at_all_branches_is_one_question_over_a_connection_that_is_kept(world: GitWorld) -> None:
    world.git.branches("shop")
    revision = world.repository.commit("topic-ä", {"x": "x"}, base="main")
    world.repository.point("refs/tags/v1", revision)
    del world.server.requests[:]

    listed = world.git.branches("shop")

    assert listed == {"main": world.repository.head(), "topic-ä": revision}
    assert world.server.requests == ["POST /shop.git/git-upload-pack"]


def test_a_branch_that_is_not_there_any_more_is_none(world: GitWorld) -> None:
    world.repository.commit("gone", {"x": "x"}, base="main")
    world.fetch("gone")
    world.repository.delete("gone")
    assert world.git.fetch("shop", "gone") is None
    assert world.git.fetch("shop", "never") is None


def test_a_remote_that_was_restarted_is_called_again(world: GitWorld, no_git: None) -> None:
    world.fetch()
    port = world.server.port
    world.server.close()
    with GitServer(world.server.root, port=port):
        world.repository.commit("main", {"src/app.py": "again\n"})
        assert sound(world, world.fetch())


def test_a_connection_that_was_idle_is_not_trusted(
    world: GitWorld, no_git: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fetch()
    monkeypatch.setattr(wire, "_KEPT_S", -1.0)
    del world.server.requests[:]
    world.repository.commit("main", {"src/app.py": "later\n"})
    assert sound(world, world.fetch())
    assert world.server.requests == ["POST /shop.git/git-upload-pack"] * 2


@pytest.mark.parametrize("mood", [Mood.LOCKED, Mood.FORBIDDEN, Mood.GONE, Mood.BROKEN, Mood.CLOSING, Mood.HANGING])
def test_trouble_is_told_in_gits_words_and_passes(world: GitWorld, mood: Mood) -> None:
    world.repository.commit("main", {"src/app.py": "one\n"})
    world.fetch()
    world.repository.commit("main", {"src/app.py": "two\n"})
    world.allow_s(1.0)
    world.server.mood = mood
    with pytest.raises(OutsideError) as caught:
        world.fetch()
    assert caught.value.code in ("git-refused", "git-unreachable", "git-timeout")
    world.server.mood = Mood.WELL
    world.allow_s(30.0)
    assert sound(world, world.fetch())


def test_a_pack_that_never_ends_is_given_up(world: GitWorld) -> None:
    world.repository.commit("main", {"big": os.urandom(200_000)})
    world.allow_s(1.0)
    world.server.mood = Mood.STALLING
    with pytest.raises(OutsideError):
        world.fetch()
    world.server.mood = Mood.WELL
    world.allow_s(30.0)
    assert sound(world, world.fetch())


def test_a_pack_that_lacks_something_is_fetched_by_git(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = b"PACK" + (2).to_bytes(4, "big") + bytes(4)
    for pack in (empty + hashlib.sha1(empty).digest(), b"", b"PACK", b"rubbish" * 100):
        monkeypatch.setattr(Wire, "pack", lambda *_, pack=pack, **__: pack)
        world.repository.commit("main", {"src/app.py": f"{len(pack)}\n"})
        assert sound(world, world.fetch())


@pytest.mark.usefixtures("no_git")
def test_the_token_travels_in_the_header(world: GitWorld) -> None:
    world.server.credentials = ("user", "p:ss word")
    world.use_token("user", "p:ss word")
    world.repository.commit("main", {"src/app.py": "secret\n"})
    assert sound(world, world.fetch())


def test_behind_a_proxy_git_asks(world: GitWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Wire(Mirror("shop", lambda: world.settings).remote, silence_s=5)
    assert line.fits
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    assert not line.fits
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert line.fits


def test_what_a_killed_agent_left_does_not_stand_in_the_way(world: GitWorld, no_git: None) -> None:
    [ref] = (world.mirror / "refs/butai/heads").iterdir()
    ref.with_name(f"{ref.name}.lock").write_text("half")
    world.repository.commit("main", {"src/app.py": "unlocked\n"})
    assert sound(world, world.fetch())
    assert list(ref.parent.iterdir()) == [ref]
