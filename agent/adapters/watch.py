"""Notices that files changed, however they were written: in place, by rename, or by a link that now leads elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event

import watchfiles

_LOOK_MS = 5_000  # how late at most a change is noticed that no event told of (network file systems)
_SETTLE_MS = 200  # an editor's several writes are one change

_State = tuple[str, int, int, int]


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
