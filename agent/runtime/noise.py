"""What may be passed over in one worktree: paths that git ignores are found out once and then cost nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_MOST = 50_000  # paths remembered; afterwards they are learnt again


class Noise:
    """Of one worktree. Not safe for several threads."""

    def __init__(self) -> None:
        self.folders: frozenset[str] = frozenset()
        self.is_stale = True
        self._ignored: set[str] = set()

    def learn(self, folders: Iterable[str]) -> None:
        """The folders in which a change may count, as they are now; none while the worktree is not to be read."""
        self.folders = frozenset(folders)
        self.is_stale = not self.folders

    def forget(self) -> None:
        """What is ignored may be something else now."""
        self._ignored.clear()
        self.is_stale = True

    def hears(self, path: str, *, is_folder: bool) -> bool:
        """Whether what happened to `path` may be an edit. A folder that comes or goes changes what is watched."""
        if path == ".git" or any(each in self._ignored for each in _ways(path)):
            return False
        if path.rpartition("/")[2] == ".gitignore":
            self.forget()
        if is_folder or path in self.folders:  # even one that is known: it may be another one of that name
            self.is_stale = True
        return True

    def unknown(self, paths: Iterable[str]) -> tuple[str, ...]:
        """These and the folders they are in: what is to be asked about."""
        return tuple(dict.fromkeys(each for path in paths for each in _ways(path)))

    def ignore(self, paths: Iterable[str]) -> None:
        if len(self._ignored) > _MOST:
            self._ignored.clear()
        self._ignored.update(paths)


def _ways(path: str) -> Iterator[str]:
    """ "a", "a/b", "a/b/c" of "a/b/c"."""
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path
