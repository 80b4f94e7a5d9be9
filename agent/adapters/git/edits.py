"""Edits made in a worktree, kept as commits while people go on: no file that they see there is touched by keeping.

HEAD and the index stay as they are too, so that `git status`, `git diff` and `git commit` tell a person what they would
tell anywhere; we work on an index of our own. Only an update of the worktree makes HEAD follow.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.adapters import process
from agent.adapters.git import submodules
from agent.adapters.git.kept import BASE, Compare, named, new_ref, replace_text, store_commit
from agent.adapters.git.quick import point
from agent.errors import OutsideError, RequestError
from agent.model.change import Change, Kind
from agent.model.edit import Edit, described
from agent.model.names import Revision

_STATE = "butai-revision"  # written by `checkout`: what the tree holds
_INDEX = "edits-index"  # ours: what the tree held when it was looked at last, new files included
_HELD = "edits-held"
_MOST_LOOKED_AT = 1000  # files whose owner is asked for
_MOST_FOLDERS = 20_000
_MOST_PLACES = 200  # beyond that everything is looked at
_ALONE = ("-c", "core.preloadIndex=false")  # threads cost more than they save where few files are looked at


@dataclass(frozen=True, slots=True)
class Held:
    """The worktree holds an edit: of which revision, under which ref it is kept, and where HEAD was."""

    base: Revision
    ref: str
    head: str


def held(meta: Path) -> Held | None:
    """The edit that a worktree holds; None when it holds what was checked out."""
    try:
        base, ref, head = (meta / _HELD).read_text().split("\n")[:3]
        return Held(Revision(base), ref, head)
    except (OSError, ValueError):
        return None


def take_up(meta: Path, edit: Held, revision: Revision) -> None:
    """Let git know as checked out what the tree holds, so that an update removes and replaces it as any other file.

    Where a person committed in between, HEAD is theirs, and the update keeps everything once more.
    """
    if (meta / "HEAD").read_text().strip() == edit.head and (meta / _INDEX).exists():
        shutil.copy2(meta / _INDEX, meta / "index")
        (meta / "HEAD").write_text(f"{revision}\n")


def begin(meta: Path) -> Path:
    """The tree holds what was checked out just now: edits are counted from here, by the index that is returned."""
    shutil.copy2(meta / "index", meta / _INDEX)  # times included: git tells from them which files it must read
    (meta / _HELD).unlink(missing_ok=True)
    return meta / _INDEX


def owner(directory: Path, paths: Iterable[str]) -> str:
    """The Unix user who owns what changed last; for a file that is gone, of the folder it was in."""
    newest, uid = -1, os.getuid()
    for path in list(paths)[:_MOST_LOOKED_AT]:
        place = directory / path
        while place != directory and not os.path.lexists(place):
            place = place.parent
        status = place.lstat()
        if status.st_ctime_ns > newest:
            newest, uid = status.st_ctime_ns, status.st_uid
    try:
        return re.sub(r"[^\w.@$-]", "_", pwd.getpwuid(uid).pw_name) or str(uid)
    except KeyError:
        return str(uid)


class Edits:
    """The edits of one worktree. `apart`: folders that containers write into, where only what git knows counts."""

    def __init__(
        self, directory: Path, *, mirror: Path, env: Mapping[str, str], changes: Compare, timeout_s: float
    ) -> None:
        self._directory = directory
        self._mirror = mirror
        self._meta = mirror / "worktrees" / directory.name
        self._env = dict(env)
        self._changes = changes
        self._timeout_s = timeout_s

    def holds(self, edit: Revision) -> bool:
        """Whether the tree holds this edit, and nobody removed it: then an update has nothing to do."""
        return self._holds() == edit and held(self._meta) is not None and self._directory.is_dir()

    def take(
        self,
        head: Revision,
        *,
        accept: Callable[[Edit], None],
        apart: Iterable[str],
        paths: Sequence[str] = (),
        user: str = "",
    ) -> Edit | None:
        """Keep what was changed since the last look; None when that is nothing.

        An edit back to `head` has that as its revision. With `paths` only these are looked at; without, everything is
        compared, whatever an earlier look saw. Only after `accept` the tree counts as holding the edit: when that
        raises, or we are killed, a look at everything finds it again.
        """
        holds = self._holds()
        if holds is None or not self._directory.is_dir():
            return None
        self._prepare(holds, apart)
        places = self._places(paths)
        options = ("-c", "core.fileMode=false", "-c", f"core.excludesFile={self._meta / 'edits-apart'}", *_ALONE)
        # --ignore-errors: what we may not read is no reason to pass over the rest; exit code 1 says only that, or that
        # one of the places is ignored
        seen = self._run(*options, "add", "--all", "--verbose", "--ignore-errors", "--", *places)
        if seen.exit_code > 1 and places != ["."]:  # one of them went away just now
            return self.take(head, accept=accept, apart=apart, user=user)
        if seen.exit_code > 1:
            self._check(seen)
        if not seen.stdout and paths:
            return None
        tree = Revision(self._say("write-tree"))
        if repositories := [change for change in self._changes(tree, holds) if change.is_submodule]:
            self._leave_out(repositories)
            tree = Revision(self._say("write-tree"))
        newly = [change.path for change in self._changes(holds, tree)]
        if not newly:
            return None
        return self._keep(head, holds, tree, accept=accept, user=user or owner(self._directory, newly))

    def ignored(self, paths: Sequence[str]) -> frozenset[str]:
        """Those of the paths whose changes never count."""
        if not paths or self._holds() is None or not (self._meta / _INDEX).exists():
            return frozenset()
        asked = b"\0".join(b"./" + os.fsencode(path) for path in paths)  # "./": a name may begin like a pathspec
        ignoring = ("-c", f"core.excludesFile={self._meta / 'edits-apart'}")
        literal = {"GIT_LITERAL_PATHSPECS": "0"}  # this command alone refuses it
        done = self._run(*ignoring, "check-ignore", "-z", "--stdin", stdin=asked, more=literal)
        return frozenset(os.fsdecode(path[2:]) for path in done.stdout.split(b"\0") if path)

    def folders(self, apart: Iterable[str]) -> tuple[str, ...]:
        """Every folder in which a change may count, "" for the tree itself; links are not followed."""
        if (holds := self._holds()) is None or not self._directory.is_dir():
            return ()
        self._prepare(holds, apart)
        found, level = [""], [""]
        while level and len(found) < _MOST_FOLDERS:
            below = [inner for folder in level for inner in self._below(folder)]
            ignored = self.ignored(below)
            level = [folder for folder in below if folder not in ignored]
            found += level
        return tuple(found)

    def restore(self, edit: Edit) -> None:
        """Put the files of an edit back; files that it did not touch stay as they are.

        To be called when everything was taken. RequestError when something that git does not know is in the way.
        """
        was = self._say("write-tree")
        lines = submodules.lines(self._changes(edit.base, edit.revision))
        beside = self._meta / "edits-next"
        try:
            shutil.copy2(self._meta / _INDEX, beside)
            self._check(self._run("update-index", "-z", "--replace", "--index-info", index=beside, stdin=lines))
            becomes = self._say("write-tree", index=beside)
        finally:
            beside.unlink(missing_ok=True)
        trouble = self._in_the_way(self._changes(Revision(was), Revision(becomes)))
        if not trouble:
            done = self._run("read-tree", "-m", "-u", was, becomes)
            trouble = "" if done.ok else done.last_line
        if trouble:
            raise RequestError(
                f"The edit {edit.id} cannot be put back: {trouble}",
                hint="Move what is in the way, or apply it by hand: `butai edits BRANCH --patch ID | git apply`.",
                code="edit-in-the-way",
                http_status=409,
            )

    def _in_the_way(self, changes: Iterable[Change]) -> str:
        """What an update would overwrite though nothing keeps it: git thinks nothing of files that it ignores."""
        goes, comes = set(), []
        for change in changes:
            if change.kind is Kind.ADDED:
                comes.append(change.path)
            else:
                goes.add(change.path)
        for path in comes:
            for place in (*reversed(Path(path).parents[:-1]), Path(path)):
                there = self._directory / place
                is_folder = there.is_dir() and not there.is_symlink()
                if os.path.lexists(there) and str(place) not in goes and (place == Path(path) or not is_folder):
                    return f"{place} is there and not kept by git"
        return ""

    # -- one look ----------------------------------------------------------------------------------------------

    def _holds(self) -> Revision | None:
        try:
            return Revision((self._meta / _STATE).read_text().strip())
        except (OSError, ValueError):
            return None

    def _prepare(self, holds: Revision, apart: Iterable[str]) -> None:
        """Our index, and what is not to be looked at. It is our turn: whoever left a lock is gone."""
        (self._meta / f"{_INDEX}.lock").unlink(missing_ok=True)
        if not (self._meta / _INDEX).exists():
            self._check(self._run("read-tree", holds))
            submodules.hide(self._run, self._meta / _INDEX)
        text = "".join(f"{_pattern(folder)}\n" for folder in sorted(apart))
        place = self._meta / "edits-apart"
        if not place.exists() or place.read_text() != text:
            place.write_text(text)

    def _places(self, paths: Sequence[str]) -> list[str]:
        """Where to look; for what is gone, the folder that it was in."""
        if not paths or len(paths) > _MOST_PLACES:
            return ["."]
        found = set()
        for path in paths:
            place = self._directory / path
            while place != self._directory and not os.path.lexists(place):
                place = place.parent
            found.add(os.path.relpath(place, self._directory))
        return sorted(found)

    def _leave_out(self, changes: Iterable[Change]) -> None:
        """A repository inside the tree is somebody's own: what is in it is no edit, nor that it is there."""
        stdin = submodules.lines(changes)
        self._check(self._run("update-index", "-z", "--replace", "--index-info", stdin=stdin))
        submodules.hide(self._run, self._meta / _INDEX)

    def _keep(
        self, head: Revision, holds: Revision, tree: Revision, *, accept: Callable[[Edit], None], user: str
    ) -> Edit:
        before = held(self._meta)
        base = before.base if before else holds
        files = tuple(change.path for change in self._changes(base, tree))
        ref = new_ref(self._directory.name)
        edit_id, at = named(ref)
        if not self._changes(head, tree):
            undone = Edit(edit_id, head, head, user, at, ())
            accept(undone)
            (self._meta / _HELD).unlink(missing_ok=True)
            self._now_holds(head)
            return undone
        commit = self._commit(tree, holds, base, before, user=user, files=files)
        point(self._mirror / ref, commit)
        head_text = before.head if before else (self._meta / "HEAD").read_text().strip()
        edit = Edit(edit_id, commit, base, user, at, files)
        accept(edit)
        replace_text(self._meta / _HELD, f"{base}\n{ref}\n{head_text}\n")
        self._now_holds(commit)
        return edit

    def _commit(
        self,
        tree: Revision,
        holds: Revision,
        base: Revision,
        before: Held | None,
        *,
        user: str,
        files: Sequence[str],
    ) -> Revision:
        parents = [holds]
        if (self._meta / "HEAD").read_text().strip() != (before.head if before else base):
            done = self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
            own = done.text.strip()
            if done.ok and own not in (holds, base):  # a person committed: that must not get lost either
                parents.append(Revision(own))
        message = f"Edit of {described(files)}\n\n{BASE}: {base}\n"
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        now = int(datetime.now(UTC).timestamp())
        lines += [f"author {user} <{user}@localhost> {now} +0000", f"committer Butai <butai@localhost> {now} +0000"]
        return store_commit(self._mirror / "objects", "\n".join([*lines, "", message]))

    def _now_holds(self, revision: Revision) -> None:
        replace_text(self._meta / _STATE, f"{revision}\n")

    def _below(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._directory / folder) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:  # gone meanwhile, or not ours to see
            return []
        return [f"{folder}/{name}" if folder else name for name in names if name != ".git"]

    # -- git itself --------------------------------------------------------------------------------------------

    def _run(
        self, *arguments: str, index: Path | None = None, stdin: bytes = b"", more: Mapping[str, str] | None = None
    ) -> process.Completed:
        own = {"GIT_LITERAL_PATHSPECS": "1", "GIT_INDEX_FILE": str(index or self._meta / _INDEX)}
        where = (f"--git-dir={self._meta}", f"--work-tree={self._directory}")
        env = self._env | own | dict(more or {})
        return process.run(["git", *where, *arguments], env=env, timeout_s=self._timeout_s, input=stdin)

    def _say(self, *arguments: str, index: Path | None = None) -> str:
        return self._check(self._run(*arguments, index=index)).text.strip()

    def _check(self, done: process.Completed) -> process.Completed:
        if done.ok:
            return done
        raise OutsideError(
            f"Edits in the checkout {self._directory.name} could not be read: {done.last_line}",
            hint="It is tried again by itself; look at disk space and at the owner of the files.",
            code="edits-failed",
        )


def _pattern(folder: str) -> str:
    """A line of .gitignore that means exactly this folder's inside."""
    if folder == ".":
        return "/*"
    return "/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", folder) + "/*"
