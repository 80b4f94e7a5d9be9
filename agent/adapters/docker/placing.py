"""How files get into their places: decided from one look at the container, before anything in it changes.

A file is unpacked beside its place with the owner and the mode that it shall have, and renamed: a reader finds the
old one or the new one. New folders are renamed whole. New paths come before changed ones, and deletions last, so that
nothing is there that points to what is not. Only where a folder becomes a file, or a file a folder, does a path
have to go before the other comes.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from agent.adapters.docker.staging import Staged, executable
from agent.errors import NeedsRebuild
from agent.model.sync import LINK, PROGRAM, REGULAR, FileContent

_MODES = {REGULAR: 0o644, PROGRAM: 0o755, LINK: 0o777}
_FOLDER_MODE = 0o755
_LONGEST = 3900  # bytes; the kernel takes 4,095, and a path is staged a little deeper than where it goes


@dataclass(frozen=True, slots=True)
class Node:
    """What stands at a path now. `mode` includes the kind, `changed_s` counts from the epoch."""

    device: int
    mode: int
    uid: int
    gid: int
    changed_s: int


@dataclass(frozen=True, slots=True)
class Move:
    """Names that are staged in one folder, and the folder that they go to."""

    number: int
    folder: str
    replaces: bool
    names: dict[str, None] = field(default_factory=dict)  # a set that keeps its order


@dataclass(slots=True)
class Placing:
    """What to do in one container, in this order: two kinds of removals, moves, removals, empty folders."""

    first_drops: list[str] = field(default_factory=list)
    first_leaves: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)
    prunes: list[str] = field(default_factory=list)
    staged: dict[str, Staged] = field(default_factory=dict)  # by name below the stage
    written: int = 0
    size: int = 0

    @property
    def deleted(self) -> int:
        return len(self.first_drops) + len(self.drops)


def to_look_at(files: Iterable[FileContent]) -> tuple[str, ...]:
    """Every path that `plan` wants to know of: the root, the targets, and the folders above, behind any link."""
    paths: dict[str, None] = {"/.": None}
    for file in files:
        paths[file.target] = None
        for folder in _above(file.target):
            paths[_inside(folder)] = None
    return tuple(paths)


def check(files: Iterable[FileContent]) -> dict[str, FileContent]:
    """The files by target, the last one of each; NeedsRebuild for what cannot be put anywhere."""
    checked = {}
    for file in files:
        target = file.target
        if target != posixpath.normpath(target) or not target.startswith("/") or target[:2] in ("/", "//"):
            raise NeedsRebuild(f"{target!r} is no path of a file in a container.")
        if file.mode and file.mode not in _MODES:
            raise NeedsRebuild(f"{target} is neither a file nor a link.")
        raw = target.encode(errors="surrogateescape")
        if b"\0" in raw or len(raw) > _LONGEST or (file.mode == LINK and not _is_destination(file.data)):
            raise NeedsRebuild(f"{target[:200]!r} cannot be put into a container.")
        checked[target] = file
    return checked


def plan(files: Mapping[str, FileContent], seen: Mapping[str, Node]) -> Placing:
    """Decide. NeedsRebuild where the container is not as any revision could have left it."""
    return _Planner(files, seen).plan()


class _Planner:
    """One batch; `files` as `check` left them, `seen` as the shell saw the paths of `to_look_at`."""

    def __init__(self, files: Mapping[str, FileContent], seen: Mapping[str, Node]) -> None:
        self._files = files
        self._seen = seen
        self._placing = Placing()
        self._moves: dict[tuple[bool, str], Move] = {}
        self._in_the_way: set[str] = set()  # paths that go before others come

    def plan(self) -> Placing:
        for file in self._files.values():
            if file.mode:
                self._write(file)
        self._delete([target for target, file in self._files.items() if not file.mode and target in self._seen])
        self._placing.moves = sorted(self._moves.values(), key=lambda move: (move.replaces, move.number))
        return self._placing

    # -- what comes --------------------------------------------------------------------------------------------

    def _write(self, file: FileContent) -> None:
        folder, rest = self._nearest(file.target)
        parent = self._seen[_inside(folder)]
        there = None if "/" in rest else self._seen.get(file.target)
        if there is not None and stat.S_ISDIR(there.mode):
            self._in_the_way.add(file.target)
            there = None
        staged = self._stage(folder, rest, parent, replaces=there is not None)
        self._placing.staged[staged] = _entry(file, there, parent)
        self._placing.written += 1
        self._placing.size += len(file.data)

    def _nearest(self, target: str) -> tuple[str, str]:
        """The folder above `target` that is there and stays, and the path from it."""
        for folder in _above(target):
            if any(self._becomes_none(path) for path in (folder, *_above(folder))):
                continue
            node = self._seen.get(_inside(folder))
            if node is None:
                continue
            self._on_the_image(target, node)
            rest = target[len(folder.rstrip("/")) + 1 :]
            first = posixpath.join(folder, rest.partition("/")[0])
            if first != target and first in self._seen:
                self._in_the_way.add(first)
            return folder, rest
        raise NeedsRebuild(f"There is no folder for {target}.")

    def _becomes_none(self, path: str) -> bool:
        """Whether a path that looks like a folder now is none in the end: a link to one that goes or is replaced."""
        file, node = self._files.get(path), self._seen.get(path)
        if file is None:
            return False
        if file.mode:
            raise NeedsRebuild(f"{path} cannot be a file and a folder.")
        return node is not None and not stat.S_ISDIR(node.mode)

    def _on_the_image(self, target: str, folder: Node) -> None:
        if folder.device != self._seen["/."].device:
            raise NeedsRebuild(f"{target} lies on a mount, which is not ours to write to.")

    def _stage(self, folder: str, rest: str, parent: Node, *, replaces: bool) -> str:
        """Where `rest` is staged; folders on the way are new and belong to the owner of `folder`."""
        key = (replaces, folder)
        move = self._moves.setdefault(key, Move(len(self._moves), folder, replaces))
        *folders, _ = rest.split("/")
        move.names[folders[0] if folders else rest] = None
        for depth in range(len(folders)):
            name = "/".join((str(move.number), *folders[: depth + 1]))
            self._placing.staged.setdefault(name, Staged(_FOLDER_MODE, parent.uid, parent.gid, is_folder=True))
        return f"{move.number}/{rest}"

    # -- what goes ---------------------------------------------------------------------------------------------

    def _delete(self, targets: Collection[str]) -> None:
        folders = {path for path in self._in_the_way if stat.S_ISDIR(self._seen[path].mode)}
        for path in self._in_the_way - folders:
            if path not in targets:
                raise NeedsRebuild(f"{path} is in the way, and no revision put it there.")
        placing = self._placing
        for target in targets:
            nearest = next(self._seen[_inside(path)] for path in _above(target) if _inside(path) in self._seen)
            self._on_the_image(target, nearest)
            if target in self._in_the_way or not folders.isdisjoint(_above(target)):
                placing.first_drops.append(target)
            elif stat.S_ISDIR(self._seen[target].mode):
                placing.prunes.append(target)
            else:
                placing.drops.append(target)
        below = {path for path in _folders(placing.first_drops) if not folders.isdisjoint(_above(path))}
        placing.first_leaves = _deepest_first(folders | below)
        emptied = _folders(placing.drops) | set(placing.prunes)
        placing.prunes = _deepest_first(path for path in emptied if path.count("/") > 1)


def staged(file: FileContent) -> Staged:
    """A file as `COPY` leaves it without further words."""
    return Staged(_MODES[file.mode], 0, 0, file.data, is_link=file.mode == LINK)


def _entry(file: FileContent, there: Node | None, parent: Node) -> Staged:
    """A file as it will stand: one that is there keeps its owner, and its mode but for git's executable bit."""
    owner = there or parent
    mode = _MODES[file.mode]
    if there is not None and stat.S_ISREG(there.mode) and file.mode != LINK:
        mode = executable(there.mode, yes=file.mode == PROGRAM)
    changed_s = there.changed_s if there else 0
    return Staged(mode, owner.uid, owner.gid, file.data, is_link=file.mode == LINK, changed_s=changed_s)


def _above(path: str) -> Iterator[str]:
    """The folders above a path, the nearest first."""
    while path != "/":
        path = posixpath.dirname(path)
        yield path


def _inside(folder: str) -> str:
    """A name that only a folder has, and a link to one."""
    return f"{folder.rstrip('/')}/."


def _folders(paths: Iterable[str]) -> set[str]:
    return {folder for path in paths for folder in _above(path)}


def _deepest_first(paths: Iterable[str]) -> list[str]:
    return sorted(paths, key=lambda path: (-path.count("/"), path))


def _is_destination(data: bytes) -> bool:
    return 0 < len(data) <= _LONGEST and b"\0" not in data
