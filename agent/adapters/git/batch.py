"""Objects of one mirror by their ids, and what differs between two revisions, from one git process that is kept.

To start git costs more than to read a hundred objects. `git cat-file --batch` finds what is fetched after it was
started; only after a repack it holds on to old files, so `close` it then.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from agent.adapters.process import DeadlineError
from agent.adapters.process.dialogue import BrokenOffError, Dialogue
from agent.errors import NeedsRebuild, OutsideError
from agent.model.change import Change, Kind
from agent.model.names import Revision

TREES_LIMIT = 64 * 1024 * 1024  # bytes of folders that one comparison may read

_ID = re.compile(r"[0-9a-f]{40}", re.ASCII)
_AT_ONCE = 500  # ids asked for before the answers are read: 20 kB, which any pipe holds
_TIMEOUT_S = 30.0
_FOLDER = "040000"
_KINDS = {"100644": "file", "100755": "file", "120000": "link", "160000": "submodule"}

_Entry = tuple[str, str]  # mode, id
_Side = dict[str, _Entry]  # by name


class Batch:
    """One mirror. Threads share it and take turns. `env` makes git's environment whenever one is started."""

    def __init__(self, mirror: Path, env: Callable[[], Mapping[str, str]]) -> None:
        self._argv = ["git", f"--git-dir={mirror}", "cat-file", "--batch"]
        self._env = env
        self._lock = threading.Lock()
        self._dialogue: Dialogue | None = None

    def blobs(self, ids: Iterable[str], *, limit: int) -> dict[str, bytes]:
        """Contents by id. NeedsRebuild when they are over `limit` bytes in all, OutsideError when one is missing."""
        wanted = list(dict.fromkeys(ids))
        with self._lock:
            return self._read(wanted, limit)

    def changes(self, old: Revision, new: Revision) -> tuple[Change, ...]:
        """Every path that differs, in the order of their names; a rename is a deletion and an addition."""
        with self._lock:
            return tuple(sorted(self._compare(old, new), key=lambda change: change.path))

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    # -- asking ------------------------------------------------------------------------------------------------

    def _read(self, names: list[str], limit: int) -> dict[str, bytes]:
        """Objects by the names given: ids, or ids with `^{tree}`. A process that went away is started again once."""
        for name in names:
            if not _ID.fullmatch(name.removesuffix("^{tree}")):
                raise OutsideError(f"{name[:60]!r} is no object id.", code="object-missing")
        for last in (False, True):
            fresh = self._dialogue is None
            try:
                return self._ask(names, limit)
            except (BrokenOffError, DeadlineError):
                self._end()
                if last or fresh:
                    raise
            except BaseException:
                self._end()
                raise
        raise AssertionError("unreachable")

    def _ask(self, names: list[str], limit: int) -> dict[str, bytes]:
        dialogue = self._dialogue = self._dialogue or Dialogue(self._argv, env=self._env(), timeout_s=_TIMEOUT_S)
        found = {}
        for at in range(0, len(names), _AT_ONCE):
            asked = names[at : at + _AT_ONCE]
            dialogue.say("".join(f"{name}\n" for name in asked).encode())
            for name in asked:
                *_, size = dialogue.line().split(b" ")
                if not size.isdigit():
                    raise OutsideError(f"The mirror has no object {name}.", code="object-missing")
                limit -= int(size)
                if limit < 0:
                    raise NeedsRebuild("What changed is too much to be copied.")
                found[name] = dialogue.exactly(int(size))
                dialogue.exactly(1)
        return found

    def _end(self) -> None:
        if self._dialogue is not None:
            self._dialogue.close()
            self._dialogue = None

    # -- comparing ---------------------------------------------------------------------------------------------

    def _compare(self, old: Revision, new: Revision) -> Iterator[Change]:
        """Level by level, only where the ids differ: one question a level, however many folders it has."""
        pairs: list[tuple[str, str, str]] = [("", f"{old}^{{tree}}", f"{new}^{{tree}}")]
        limit = TREES_LIMIT
        while pairs:
            trees = self._read(list({name for _, *sides in pairs for name in sides if name}), limit)
            limit -= sum(map(len, trees.values()))
            below = []
            for folder, before, after in pairs:
                for name, was, now in _differing(_entries(trees.get(before, b"")), _entries(trees.get(after, b""))):
                    path = folder + name
                    inner = [entry[1] if entry and entry[0] == _FOLDER else "" for entry in (was, now)]
                    if any(inner):
                        below.append((f"{path}/", inner[0], inner[1]))
                    change = _change(path, None if inner[0] else was, None if inner[1] else now)
                    if change is not None:
                        yield change
            pairs = below


def _entries(tree: bytes) -> _Side:
    """A tree object: "<mode> <name>\\0<20 bytes of id>" again and again (gitformat-pack, "tree")."""
    entries = {}
    at = 0
    while at < len(tree):
        space = tree.index(b" ", at)
        end = tree.index(b"\0", space)
        name = tree[space + 1 : end].decode(errors="surrogateescape")
        entries[name] = (tree[at:space].decode().zfill(6), tree[end + 1 : end + 21].hex())
        at = end + 21
    return entries


def _differing(before: _Side, after: _Side) -> Iterator[tuple[str, _Entry | None, _Entry | None]]:
    for name in before.keys() | after.keys():
        was, now = before.get(name), after.get(name)
        if was != now:
            yield name, was, now


def _change(path: str, was: _Entry | None, now: _Entry | None) -> Change | None:
    if was is None and now is None:
        return None
    if now is None:
        return Change(path, Kind.DELETED, old_mode=was[0] if was else "")
    if was is None:
        return Change(path, Kind.ADDED, now[0], now[1])
    same_kind = _KINDS.get(was[0], "file") == _KINDS.get(now[0], "file")
    return Change(path, Kind.MODIFIED if same_kind else Kind.RETYPED, now[0], now[1], was[0])
