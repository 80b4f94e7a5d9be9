"""The settings file and its secrets are watched however they are written."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue

import pytest
import watchfiles

from agent.adapters import watch

SOON_S = 20.0
NOT_AT_ALL_S = 0.7


class Watched:
    """A watch in a thread, and what it told."""

    def __init__(self, files: Callable[[], list[Path]]) -> None:
        self.stop = threading.Event()
        self._told: Queue[None] = Queue()
        self._changes = watch.changes(files, stop=self.stop)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def told(self, within_s: float = SOON_S) -> bool:
        try:
            self._told.get(timeout=within_s)
        except Empty:
            return False
        return True

    def _run(self) -> None:
        for told in self._changes:
            self._told.put(told)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_LOOK_MS", 200)
    monkeypatch.setattr(watch, "_SETTLE_MS", 50)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text("one")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("one")
    return tmp_path


@pytest.fixture
def watched(folder: Path) -> Iterator[Watched]:
    watched = Watched(lambda: [folder / "config.toml", folder / "secrets" / "token"])
    yield watched
    watched.stop.set()
    watched.thread.join(SOON_S)
    assert not watched.thread.is_alive()


def test_a_file_written_in_place_is_noticed(watched: Watched, folder: Path) -> None:
    (folder / "config.toml").write_text("two!")
    assert watched.told()


def test_a_file_replaced_by_a_rename_is_noticed_each_time(watched: Watched, folder: Path) -> None:
    for text in ("two", "six"):
        (folder / "new").write_text(text)
        (folder / "new").rename(folder / "config.toml")
        assert watched.told()


def test_a_secret_of_its_own_folder_is_noticed(watched: Watched, folder: Path) -> None:
    (folder / "secrets" / "token").write_text("two!")
    assert watched.told()


def test_a_changed_mode_is_noticed(watched: Watched, folder: Path) -> None:
    (folder / "secrets" / "token").chmod(0o600)
    assert watched.told()


def test_a_file_that_goes_and_comes_back_is_noticed(watched: Watched, folder: Path) -> None:
    (folder / "config.toml").unlink()
    assert watched.told()
    (folder / "config.toml").write_text("again")
    assert watched.told()


def test_other_files_are_not(watched: Watched, folder: Path) -> None:
    (folder / "other").write_text("x")
    (folder / "config.toml").read_text()
    assert not watched.told(NOT_AT_ALL_S)


def test_a_link_that_leads_elsewhere_is_noticed(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    (folder / "a" / "token").write_text("one")
    (folder / "b" / "token").write_text("two")
    (folder / "data").symlink_to("a")
    watched = Watched(lambda: [folder / "data" / "token"])
    (folder / "next").symlink_to("b")
    (folder / "next").rename(folder / "data")
    assert watched.told()
    watched.stop.set()
    watched.thread.join(SOON_S)


def test_files_that_new_settings_name_are_watched_too(folder: Path) -> None:
    files = [folder / "config.toml"]
    watched = Watched(lambda: list(files))
    files.append(folder / "later")
    assert watched.told()
    (folder / "later").write_text("x")
    assert watched.told()
    watched.stop.set()
    watched.thread.join(SOON_S)


def test_changes_are_noticed_without_inotify_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def used_up(*paths: object, **options: object) -> Iterator[None]:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", used_up)
    watched = Watched(lambda: [folder / "config.toml"])
    (folder / "config.toml").write_text("two!")
    assert watched.told()
    watched.stop.set()
    watched.thread.join(SOON_S)


class Folders:
    """Many folders watched in a thread, and what it told of them."""

    def __init__(self, *folders: Path) -> None:
        self.folders = frozenset(folders)
        self.stop = threading.Event()
        self.told: Queue[watch.Seen] = Queue()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def paths(self, within_s: float = SOON_S) -> frozenset[Path]:
        """The next that something was written to."""
        seen = self.next(lambda seen: bool(seen.paths), within_s)
        return seen.paths if seen is not None else frozenset()

    def next(self, fits: Callable[[watch.Seen], bool], within_s: float = SOON_S) -> watch.Seen | None:
        ends_at = time.monotonic() + within_s
        while (left_s := ends_at - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                if fits(seen := self.told.get(timeout=left_s)):
                    return seen
        return None

    def _run(self) -> None:
        for seen in watch.events(lambda: self.folders, stop=self.stop):
            self.told.put(seen)


@contextlib.contextmanager
def watching(*paths: Path) -> Iterator[Folders]:
    """These watched as long as it is entered; that it ends when it is told to is part of every test."""
    folders = Folders(*paths)
    try:
        yield folders
    finally:
        folders.stop.set()
        folders.thread.join(SOON_S)
    assert not folders.thread.is_alive()


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    (tmp_path / "a/below").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    with watching(tmp_path / "a", tmp_path / "b") as folders:
        assert folders.next(lambda seen: not seen.paths), "it watches"
        yield folders


def test_a_saved_file_of_a_watched_folder_is_told_by_its_path(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "b/app.py").write_text("x")
    assert tmp_path / "b/app.py" in folders.paths()


def test_what_lies_below_a_watched_folder_is_not_told_but_a_new_folder_is(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "a/below/x").write_text("x")
    assert not folders.paths(NOT_AT_ALL_S)
    (tmp_path / "a/new").mkdir()
    assert folders.paths() == {tmp_path / "a/new"}


def test_other_folders_are_watched_as_soon_as_they_are_named(folders: Folders, tmp_path: Path) -> None:
    folders.folders = frozenset((*folders.folders, tmp_path / "a/below"))
    assert folders.next(lambda seen: not seen.paths)
    assert folders.next(lambda seen: not seen.paths)
    (tmp_path / "a/below/x").write_text("x")
    assert folders.paths() == {tmp_path / "a/below/x"}


def test_a_folder_that_is_missing_is_told_and_the_others_are_watched(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with watching(tmp_path / "there", tmp_path / "gone") as folders:
        first = folders.next(lambda seen: not seen.is_all)
        assert first is not None
        assert first.paths == {tmp_path / "gone"}
        (tmp_path / "there/x").write_text("x")
        assert folders.paths() == {tmp_path / "there/x"}


def test_a_folder_whose_name_is_no_text_is_left_out_and_the_others_are_watched(tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    strange.mkdir()
    (tmp_path / "there").mkdir()
    with watching(tmp_path / "there", strange) as folders:
        assert folders.next(lambda seen: not seen.is_all)
        (tmp_path / "there/x").write_text("x")
        assert folders.paths() == {tmp_path / "there/x"}


def test_a_file_whose_name_is_no_text_blinds_nobody_and_everything_is_looked_at(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MEND_S", 0.05)
    (tmp_path / "b" / os.fsdecode(b"caf\xe9")).write_text("x")
    for _ in range(2):  # at once, and again when everything is watched
        seen = folders.next(lambda seen: not seen.is_all)
        assert seen is not None
        assert not seen.blind
    (tmp_path / "b/app.py").write_text("x")
    assert tmp_path / "b/app.py" in folders.paths()


def test_a_name_that_the_watcher_refuses_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*paths: object, **options: object) -> Iterator[None]:
        raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(watchfiles, "watch", refused)
    monkeypatch.setattr(watch, "_MEND_S", 0.05)
    with watching(tmp_path) as folders:
        for _ in range(2):
            seen = folders.next(lambda seen: not seen.is_all)
            assert seen is not None
            assert not seen.blind


def test_a_folder_that_nobody_may_look_into_is_neither_gone_nor_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = Path.lstat

    def denied(path: Path) -> os.stat_result:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return lstat(path)

    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(Path, "lstat", denied)
    with watching(tmp_path, tmp_path / "closed") as folders:
        first = folders.next(lambda seen: not seen.is_all)
        assert first is not None
        assert not first.paths


def test_a_thousand_files_are_told_in_few_pieces(folders: Folders, tmp_path: Path) -> None:
    for at in range(1000):
        (tmp_path / f"b/{at}").write_text("x")
    told: list[frozenset[Path]] = []
    while sum(map(len, told)) < 1000:
        told.append(folders.paths())
        assert told[-1]
    assert len(told) <= 50


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ('OS file watch limit reached. about ["/x"]', "max_user_watches"),
        ("Too many open files (os error 24)", "max_user_instances"),
    ],
)
def test_a_limit_of_the_kernel_is_told_with_the_command_that_raises_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, name: str
) -> None:
    def used_up(*paths: object, **options: object) -> Iterator[None]:
        raise OSError(error)

    monkeypatch.setattr(watchfiles, "watch", used_up)
    monkeypatch.setattr(watch, "_BLIND_S", 0.1)
    folders = Folders(tmp_path)
    blind = [folders.next(lambda seen: bool(seen.blind)) for _ in range(2)]
    folders.stop.set()
    folders.thread.join(SOON_S)
    for seen in blind:
        assert seen is not None
        assert f"sysctl -w fs.inotify.{name}=" in seen.blind
