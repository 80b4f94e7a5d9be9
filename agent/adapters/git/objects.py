"""Reads commits and files of a mirror with GitPython; no object of that library leaves this file.

`Commit.diff` is never used: it is a hundred times slower than `git diff-tree`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from git import Repo
from git.exc import GitCommandError, GitError
from git.objects import Blob, Submodule, Tree

from agent.errors import DeployError, StateError
from agent.model.deployment import Commit
from agent.model.names import Revision

_REGULAR = (0o100644, 0o100755)
_LINK = 0o120000


class Objects:
    """One mirror, read. `env` makes the whole environment of git whenever one may be started."""

    def __init__(self, mirror: Path, env: Callable[[], Mapping[str, str]]) -> None:
        self._mirror = mirror
        self._env = env

    def resolve(self, ref: str) -> Revision:
        """The commit that a full ref of ours points to. StateError when there is none.

        They are loose files (`gc.packRefs` is off), which are read a hundred times faster than git is started.
        """
        with contextlib.suppress(OSError, ValueError):
            return Revision((self._mirror / ref).read_text().strip())
        with self._repo() as repo:
            return Revision(repo.git.rev_parse("--verify", "--end-of-options", f"{ref}^{{commit}}"))

    def has(self, revision: Revision) -> bool:
        """Whether the mirror exists and holds the commit."""
        if not self._mirror.exists():
            return False
        try:
            with self._repo() as repo:
                repo.git.cat_file("-e", f"{revision}^{{commit}}")
        except StateError:
            return False
        return True

    def files(self, revision: Revision) -> dict[str, str]:
        """Every path with its mode. A name that is no UTF-8 comes as the file system would give it to Python."""
        with self._repo() as repo:
            listing: bytes = repo.git.ls_tree("-r", "-z", "--full-tree", revision, stdout_as_string=False)
        entries = (entry.partition(b"\t") for entry in listing.split(b"\0") if entry)
        return {path.decode(errors="surrogateescape"): about[:6].decode() for about, _, path in entries}

    def read(self, revision: Revision, path: str, *, limit: int) -> bytes | None:
        """A file's bytes; None when absent. DeployError when it is no regular file or larger than `limit` bytes."""
        with self._repo() as repo:
            found = _find(repo, revision, path)
            if found is None:
                return None
            if not isinstance(found, Blob) or found.mode not in _REGULAR:
                kind = "a symbolic link" if found.mode == _LINK else "not a file"
                raise DeployError(f"{path} is {kind}.", hint="Commit it as a regular file.", code="not-a-file")
            if found.size > limit:
                raise DeployError(
                    f"{path} has {found.size} bytes; {limit} is the most that is read.",
                    hint="Make it smaller.",
                    code="file-too-large",
                )
            return bytes(found.data_stream.read())

    def link(self, revision: Revision, path: str) -> str:
        """Where a symbolic link points, as it is written; "" when the path is no link."""
        with self._repo() as repo:
            found = _find(repo, revision, path)
            if not isinstance(found, Blob) or found.mode != _LINK:
                return ""
            return bytes(found.data_stream.read()).decode(errors="surrogateescape")

    def identity(self, revision: Revision, path: str) -> str:
        """The object id of a file or folder ("." for all of it); "" when absent."""
        with self._repo() as repo:
            found = repo.commit(revision).tree if path == "." else _find(repo, revision, path)
            return found.hexsha if found is not None else ""

    def changed(self, old: Revision, new: Revision) -> int:
        """How many paths differ."""
        with self._repo() as repo:
            names: bytes = repo.git.diff_tree(
                "-r", "-z", "--name-only", "--no-renames", old, new, stdout_as_string=False
            )
        return names.count(b"\0")

    @contextlib.contextmanager
    def _repo(self) -> Iterator[Repo]:
        try:
            with Repo(self._mirror, expand_vars=False) as repo:
                repo.git.update_environment(**self._env(), GIT_DIR=str(self._mirror))
                yield repo
        except GitCommandError as error:
            raise StateError(
                f"The mirror {self._mirror.name} cannot be read: {_text(str(error.stderr).strip())}"
            ) from error
        except (GitError, ValueError, OSError) as error:  # ValueError: GitPython's word for a missing object
            raise StateError(f"The mirror {self._mirror.name} cannot be read: {_text(str(error))}") from error


def commit_of(revision: Revision, data: bytes) -> Commit:
    """Author, first line and time (UTC) out of a commit object (gitformat: headers, an empty line, the message).

    GitPython would start a process for it, and every push asks. StateError when it is none.
    """
    head, _, message = data.partition(b"\n\n")
    headers = {name: rest for name, _, rest in (line.partition(b" ") for line in reversed(head.split(b"\n")))}
    try:
        who, _, _ = headers[b"author"].rpartition(b"> ")
        name, _, address = (b" " + who).partition(b" <")
        seconds = int(headers[b"committer"].rpartition(b"> ")[2].split()[0])
        committed_at = datetime.fromtimestamp(seconds, UTC)
    except (KeyError, IndexError, ValueError, OverflowError, OSError) as error:
        raise StateError(f"The commit {revision.short} cannot be read.") from error
    encoding = headers.get(b"encoding", b"utf-8").decode("ascii", "replace")
    author = _decoded(name.strip() or address, encoding) or "somebody"
    subject = _decoded(message.lstrip(b"\n").partition(b"\n")[0], encoding)
    return Commit(revision, _text(author), _text(subject), committed_at)


def _decoded(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding, "replace")
    except (LookupError, ValueError):  # ValueError: not every codec knows "replace", and a name may hold a NUL
        return text.decode("utf-8", "replace")


def _find(repo: Repo, revision: Revision, path: str) -> Blob | Tree | Submodule | None:
    try:
        return repo.commit(revision).tree / path
    except (KeyError, TypeError):  # TypeError: a component is a file
        return None


def _text(value: str | bytes) -> str:
    """Without surrogates, which neither JSON nor SQLite takes."""
    raw = value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
    return raw.decode(errors="replace")
