"""The worktree of one environment: updated in place, never at the cost of something a person wrote there.

Containers write into it as root and may change whatever they like, `.git` included. So git is always told
where the repository and the tree are and never looks for itself, it works on an index of its own name, and what
it may not touch is taken over once and tried again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

from agent.adapters import process
from agent.adapters.git import edits, kept, submodules
from agent.adapters.git.kept import replace_text
from agent.errors import OutsideError
from agent.model.names import Revision

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git knows it without storing it
_DENIED = ("Permission denied", "Operation not permitted")
_NOTHING = "nothing"
_REFUSED = 1  # git checkout's exit code when it would lose something; trouble is 128
_MOST_TAKEN_OVER = 3  # each costs a container; beyond that the whole tree is cheaper


class Checkout:
    """One worktree. `reclaim` makes a directory and all in it ours; None where nobody can (then OutsideError)."""

    def __init__(
        self,
        directory: Path,
        *,
        mirror: Path,
        env: Mapping[str, str],
        reclaim: Callable[[Path], None] | None,
        timeout_s: float,
    ) -> None:
        self._directory = directory
        self._meta = mirror / "worktrees" / directory.name
        self._state = self._meta / "butai-revision"
        self._made = self._meta / "tree-made"
        self._env = dict(env)
        self._reclaim = reclaim
        self._timeout_s = timeout_s

    def revision(self) -> Revision | None:
        """What the tree holds; None when there is none, or when an update of it was interrupted."""
        try:
            return Revision(self._state.read_text().strip()) if self._directory.is_dir() else None
        except (OSError, ValueError):
            return None

    def identity(self) -> str:
        """Another text for each folder that was made; "" when nobody knows."""
        try:
            return self._made.read_text()
        except OSError:
            return ""

    def holds_edit(self) -> bool:
        """Whether it holds an edit that was kept."""
        return edits.held(self._meta) is not None

    def update(self, target: Revision) -> str:
        """Make the tree hold `target`; the ref that keeps what people had changed in it, or "".

        Untracked files stay, unless the revision brings a file of that name: then they are kept in that ref too.
        """
        base, interrupted = self._last()
        fresh = self._prepare(base, target)
        edit = edits.held(self._meta) if base is not None else None
        if edit is not None and base is not None:
            edits.take_up(self._meta, edit, base)
        ref = edit.ref if edit is not None and base != target else ""
        if not fresh and interrupted is None and self._clean(base) and self._gentle(target):
            return self._finish(target, ref)
        kept = "" if fresh else self._keep(base, target, interrupted)
        self._forced(base, target)
        return self._finish(target, kept or ref)

    def remove(self) -> None:
        """Remove the tree and what git knows about it; gone already is fine."""
        if self._directory.is_symlink():  # nothing of ours makes one
            self._directory.unlink()
        try:
            self._remove_tree()
        except PermissionError:
            self._take_over([self._directory])
            self._remove_tree()
        shutil.rmtree(self._meta, ignore_errors=True)

    # -- the steps of an update -------------------------------------------------------------------------------

    def _last(self) -> tuple[Revision | None, Revision | None]:
        """What the tree held last, and what it was being brought to when that was interrupted."""
        words = self._state.read_text().split() if self._state.exists() else []
        held = Revision(words[0]) if words and words[0] != _NOTHING else None
        return held, Revision(words[1]) if len(words) > 1 else None

    def _prepare(self, base: Revision | None, target: Revision) -> bool:
        """Make everything that git needs, and note that the tree is in doubt from here on; whether it is empty."""
        self._meta.mkdir(parents=True, exist_ok=True)
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True)
            replace_text(self._made, uuid4().hex)
        (self._meta / "commondir").write_text("../..\n")
        (self._meta / "gitdir").write_text(f"{self._directory}/.git\n")
        if not (self._meta / "HEAD").exists():
            (self._meta / "HEAD").write_text(f"{base or target}\n")
        for stale in (*self._meta.glob("butai-*"), self._meta / "HEAD.lock"):
            if stale != self._state:  # of a git that was killed: we are the only one who uses these names
                stale.unlink(missing_ok=True)
        fresh = not any(name != ".git" for name in self._names())
        self._link()
        replace_text(self._state, f"{base or _NOTHING} {target}\n")
        return fresh

    def _clean(self, base: Revision | None) -> bool:
        """Whether nobody changed, staged or committed anything. Modes do not count: containers set them at will."""
        if base is None or (self._meta / "HEAD").read_text().strip() != base:
            return False
        with self._index("butai-look") as index:
            options = ("--quiet", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all")
            done = self._run("-c", "core.fileMode=false", "diff", *options, base, index=index)
        if done.exit_code not in (0, 1):
            self._check(done)
        return done.ok

    def _gentle(self, target: Revision) -> bool:
        """Update where that loses nothing; False when git sees files in the way."""
        with self._index("butai-index") as index:
            done = self._run("checkout", "--quiet", "--detach", "--no-overwrite-ignore", target, index=index)
            if _denied(done):
                self._take_over(self._foreign(self._named_in(done)))
                return False
            if done.exit_code == _REFUSED:
                return False
            self._check(done)
            index.replace(self._meta / "index")
        return True

    def _forced(self, base: Revision | None, target: Revision) -> None:
        """Update whatever is in the way: it was kept before."""
        for last in (False, True):
            with self._index("butai-index") as index:
                done = self._run("checkout", "--quiet", "--force", "--detach", target, index=index)
                if not _denied(done):
                    self._check(done)
                    index.replace(self._meta / "index")
                    return
            if last:
                break
            self._take_over(self._foreign(self._between(base, target)))
        raise OutsideError(
            f"Files in {self._directory} cannot be updated: {done.last_line}",
            hint="They belong to another user; `docker.ownership_image` is what takes them over.",
            code="checkout-denied",
        )

    def _finish(self, target: Revision, kept: str) -> str:
        submodules.hide(self._run, edits.begin(self._meta))
        replace_text(self._state, f"{target}\n")
        return kept

    # -- what people changed -----------------------------------------------------------------------------------

    def _keep(self, base: Revision | None, target: Revision, interrupted: Revision | None) -> str:
        """Keep edits, staged files, own commits and untracked files in the way as one commit; its ref, or "".

        What an interrupted update was writing is not an edit: edits there were kept before it began.
        """
        old = base or _EMPTY_TREE
        with self._index("butai-edits") as index:
            submodules.hide(self._run, index)
            self._retried("-c", "core.fileMode=false", "add", "--update", "--", ".", index=index)
            if in_the_way := self._in_the_way(old, target):
                paths = b"\0".join(os.fsencode(path) for path in in_the_way)
                self._retried(
                    "add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul", index=index, stdin=paths
                )
            tree = self._say("write-tree", index=index)
        head = self._head(base)
        edited = set(self._names_between(old, tree)) & set(self._names_between(tree, target))
        if interrupted:
            edited -= set(self._names_between(old, interrupted))
        if not edited and head in (base, interrupted):
            return ""
        parents = [word for parent in dict.fromkeys((base, head)) if parent for word in ("-p", parent)]
        message = f"Changes in {self._directory.name}, kept before {target.short} replaced them"
        edit = edits.held(self._meta)
        trailer = f"{kept.BASE}: {edit.base if edit else base or target}"
        who = edits.owner(self._directory, edited)
        commit = self._say("commit-tree", tree, *parents, "-m", message, "-m", trailer, user=who)
        ref = kept.new_ref(self._directory.name)
        self._say("update-ref", "--end-of-options", ref, commit, "0" * 40)
        return ref

    def _head(self, base: Revision | None) -> str | None:
        """The commit that a person left checked out; usually `base`."""
        done = self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return done.text.strip() if done.ok and base is not None else base

    def _in_the_way(self, old: str, target: Revision) -> list[str]:
        """Untracked files, links or folders where the revision brings a file or a folder of its own."""
        found = {}
        for path in self._names_between(old, target, "--diff-filter=A"):
            for place in (*reversed(Path(path).parents[:-1]), Path(path)):
                there = self._directory / place
                if not os.access(there.parent, os.X_OK, effective_ids=True) and there.parent.exists():
                    self._take_over([there.parent])
                if os.path.lexists(there) and (place == Path(path) or not there.is_dir() or there.is_symlink()):
                    found[str(place)] = True
                    break
        return list(found)

    # -- whose files they are ----------------------------------------------------------------------------------

    def _between(self, base: Revision | None, target: Revision) -> Iterable[str]:
        return self._names_between(base, target) if base else ()

    def _named_in(self, done: process.Completed) -> list[str]:
        """Paths that git's complaints name: `unable to unlink 'a/b': Permission denied`."""
        return [part for line in done.complaint.splitlines() if "'" in line for part in line.split("'")[1:2]]

    def _foreign(self, paths: Iterable[str]) -> list[Path]:
        """The few folders that must be ours for these paths to change; the whole tree when that is simpler.

        Not the whole tree at once: an application that gave its own folders to another user would lose them.
        """
        found: set[Path] = set()
        for path in paths:
            place = self._directory
            for name in Path(path).parts:  # from above: one cannot look into a folder that is not ours
                inner = place / name
                if not _is_ours(place) or inner.is_symlink() or not inner.is_dir():
                    break
                place = inner
            if not _is_ours(place):
                found.add(place)
        outer = [place for place in found if not any(parent in found for parent in place.parents)]
        return outer if 0 < len(outer) <= _MOST_TAKEN_OVER else [self._directory]

    def _take_over(self, places: Iterable[Path]) -> None:
        for place in places:
            if self._reclaim is not None:
                self._reclaim(place)
            _open_up(place)

    def _remove_tree(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._directory)

    def _names(self) -> list[str]:
        try:
            return [entry.name for entry in self._directory.iterdir()]
        except PermissionError:
            self._take_over([self._directory])
            return [entry.name for entry in self._directory.iterdir()]

    def _link(self) -> None:
        """The `.git` file, for people who use git there. We never read it: a container may have put anything in it."""
        link, text = self._directory / ".git", f"gitdir: {self._meta}\n"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if not link.is_symlink() and link.read_text() == text:
                return
        with contextlib.suppress(OSError):  # nothing depends on it, and a folder that is not ours is met later
            if link.is_dir() and not link.is_symlink():
                shutil.rmtree(link)
            link.unlink(missing_ok=True)
            with link.open("x") as file:
                file.write(text)

    # -- git itself --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _index(self, name: str) -> Iterator[Path]:
        """A copy of the index under a name of our own, times included: git tells from them which files are dirty."""
        copy = self._meta / name
        if (self._meta / "index").exists():
            shutil.copy2(self._meta / "index", copy)
        try:
            yield copy
        finally:
            copy.unlink(missing_ok=True)
            copy.with_name(f"{name}.lock").unlink(missing_ok=True)

    def _run(self, *arguments: str, index: Path | None = None, stdin: bytes = b"", user: str = "") -> process.Completed:
        env = self._env | {"GIT_LITERAL_PATHSPECS": "1"}
        if user:
            env |= {"GIT_AUTHOR_NAME": user, "GIT_AUTHOR_EMAIL": f"{user}@localhost"}
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        where = (f"--git-dir={self._meta}", f"--work-tree={self._directory}")
        return process.run(["git", *where, *arguments], env=env, timeout_s=self._timeout_s, input=stdin)

    def _retried(self, *arguments: str, index: Path, stdin: bytes = b"") -> None:
        done = self._run(*arguments, index=index, stdin=stdin)
        if _denied(done):
            self._take_over(self._foreign(self._named_in(done)))
            done = self._run(*arguments, index=index, stdin=stdin)
        self._check(done)

    def _say(self, *arguments: str, index: Path | None = None, user: str = "") -> str:
        return self._check(self._run(*arguments, index=index, user=user)).text.strip()

    def _names_between(self, old: str, new: str, *options: str) -> list[str]:
        done = self._check(self._run("diff-tree", "-r", "-z", "--name-only", "--no-renames", *options, old, new))
        return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]

    def _check(self, done: process.Completed) -> process.Completed:
        if done.ok:
            return done
        raise OutsideError(
            f"The checkout {self._directory.name} could not be updated: {done.last_line}",
            hint="It is tried again by itself; look at disk space and at the owner of the files.",
            code="checkout-failed",
        )


def _is_ours(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _denied(done: process.Completed) -> bool:
    """Git only warns when it cannot remove a file, and exits 0."""
    return any(word in done.complaint for word in _DENIED)


def _open_up(place: Path) -> None:
    """Read-only folders of our own (Go's module cache makes them) must not stop us either."""
    for folder, names, _ in os.walk(place):
        for name in ("", *names):
            inner = Path(folder, name)
            with contextlib.suppress(OSError):
                mode = inner.lstat().st_mode
                if mode & 0o700 != 0o700 and not inner.is_symlink():
                    inner.chmod(mode & 0o7777 | 0o700)
