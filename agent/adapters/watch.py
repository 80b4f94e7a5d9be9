"""Notices that files changed, however they were written: in place, by rename, or by a link that now leads elsewhere.

And what happens in many folders at once; where the kernel will watch no more of them it says so, and how to allow more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import watchfiles

_LOOK_MS = 5_000  # how late at most a change is noticed that no event told of (network file systems)
_SETTLE_MS = 200  # an editor's several writes are one change

_STEP_MS = 25  # an edit is told when this long nothing else was written; the library looks as often, edit or no edit
_STORM_MS = 300  # and at the latest after this long
_TURN_MS = 250  # how often other folders may be asked for
_BLIND_S = 5.0  # between looks at everything while the kernel does not tell
_TRY_AGAIN_S = 60.0  # to be told again
_MEND_S = 1.0  # before everything is watched anew, because of one name
_LIMITS = Path("/proc/sys/fs/inotify")

_State = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was written since the last one. `is_all`: nothing else was; `blind`: why the kernel does not tell, and the
    command that mends it.
    """

    paths: frozenset[Path] = frozenset()
    blind: str = ""
    is_all: bool = True


def events(folders: Callable[[], frozenset[Path]], *, stop: Event) -> Iterator[Seen]:
    """What happens in the folders, not below them, a few times a second even when that is nothing, until `stop`.

    `folders` is asked each time: when it gives another object than before, they are watched anew, and what happened
    meanwhile is not told. Links are never followed. A folder that is gone is told as a path; one whose name is no UTF-8
    cannot be watched.
    """
    while not stop.is_set():
        watched = folders()
        gone = frozenset(folder for folder in watched if _is_gone(folder))
        there = frozenset(folder for folder in watched if folder not in gone and _is_text(folder))
        if not there:
            stop.wait(_TURN_MS / 1000)
            yield Seen(gone)
            continue
        before = Seen(gone, is_all=False)  # nobody told what happened until now
        try:
            for seen in _events(there, stop):
                yield replace(before, paths=before.paths | seen.paths)
                before = Seen()
                if folders() is not watched:
                    break
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: watchfiles', of what happens while it runs
            if not _is_of_a_name(error):
                yield from _blindly(_limit(str(error)), stop)
                continue
            stop.wait(_MEND_S)
            yield Seen(is_all=False)


def _is_gone(folder: Path) -> bool:
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # not ours to see
        return False
    return False


def _is_text(folder: Path) -> bool:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_of_a_name(error: Exception) -> bool:
    """Whether one file or folder is the trouble: it went just now, or its name is no UTF-8."""
    return isinstance(error, FileNotFoundError | ValueError) or "unable to decode path" in str(error).lower()


def _events(watched: frozenset[Path], stop: Event) -> Iterator[Seen]:
    for changes in watchfiles.watch(
        *watched,
        watch_filter=None,
        step=_STEP_MS,
        debounce=_STORM_MS,
        stop_event=stop,
        rust_timeout=_TURN_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
        recursive=False,
        ignore_permission_denied=True,
    ):
        paths = ((change, Path(path)) for change, path in changes)
        # What is "modified" about a folder is its mode or time; what comes into it is told by itself.
        is_told = (path for change, path in paths if change != watchfiles.Change.modified or not _is_folder(path))
        yield Seen(frozenset(is_told))


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - `Path.is_dir` raises where we may not look


def _blindly(why: str, stop: Event) -> Iterator[Seen]:
    for _ in range(round(_TRY_AGAIN_S / _BLIND_S)):
        yield Seen(is_all=False, blind=why)
        if stop.wait(_BLIND_S):
            return


def _limit(error: str) -> str:
    """The kernel says only "no space" or "too many open files"; which of its limits that means, and how to raise it."""
    name = "max_user_instances" if "too many open files" in error.lower() else "max_user_watches"
    try:
        now = int((_LIMITS / name).read_text())
    except (OSError, ValueError):
        now = 0
    return f"{error}; raise the limit with `sysctl -w fs.inotify.{name}={max(2 * now, 1024)}`"


def changes(files: Callable[[], Iterable[Path]], *, stop: Event) -> Iterator[None]:
    """Something after each change of one of the files, beginning with this call, until `stop` is set.

    `files` is asked again every few seconds: other files are a change too. One that does not exist may appear.
    """
    watched = tuple(files())
    return _changes(files, watched, before=_signature(watched), stop=stop)


def _changes(
    files: Callable[[], Iterable[Path]], watched: tuple[Path, ...], *, before: tuple[_State, ...], stop: Event
) -> Iterator[None]:
    while not stop.is_set():
        for _ in _hints(_folders(watched), stop):
            now_watched = tuple(files())
            now = _signature(now_watched)
            if now != before:
                before = now
                yield
            if now_watched != watched:
                watched = now_watched
                break


def _hints(folders: set[Path], stop: Event) -> Iterator[object]:
    """Something for each event in the folders, and every few seconds without one."""
    try:
        yield from watchfiles.watch(
            *folders,
            watch_filter=None,
            step=_SETTLE_MS // 2,
            debounce=_SETTLE_MS,
            stop_event=stop,
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        )
    except OSError:  # no inotify instance is left on this host: looking now and then still works
        while not stop.wait(_LOOK_MS / 1000):
            yield None


def _folders(files: Iterable[Path]) -> set[Path]:
    """The folders whose entries decide what the files are: a rename happens in a folder, not in a file."""
    parents = {parent for file in files for parent in (file.absolute().parent, file.resolve().parent)}
    return {next(folder for folder in (parent, *parent.parents) if folder.is_dir()) for parent in parents}


def _signature(files: Iterable[Path]) -> tuple[_State, ...]:
    return tuple(_state(file) for file in files)


def _state(file: Path) -> _State:
    try:
        status = file.stat()
    except OSError:
        return (str(file), 0, 0, 0)
    # st_ctime and not st_mtime: `chmod 600` may be what the settings were waiting for
    return (str(file), status.st_ino, status.st_ctime_ns, status.st_size)
