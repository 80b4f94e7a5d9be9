"""What the runtime asks of git: branches, one revision of one branch, its files, and a checkout of it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path

from agent.adapters import process
from agent.adapters.git import kept
from agent.adapters.git.checkout import Checkout
from agent.adapters.git.edits import Edits
from agent.adapters.git.mirror import LOCAL_S, Mirror
from agent.adapters.git.objects import commit_of
from agent.config import Settings
from agent.errors import DeployError, NeedsRebuild
from agent.model.change import Change
from agent.model.deployment import Commit
from agent.model.edit import Edit
from agent.model.names import Revision, Slug

_LARGEST_COMMIT = 1024 * 1024  # bytes of a message and its headers


class GitMirrors:
    """Satisfies `ports.Git`. Safe from any thread: what writes to a mirror or a checkout waits for its turn.

    `reclaim` gives a directory and all in it to the agent's user; it is asked for only when files of root are
    in the way.
    """

    def __init__(self, settings: Callable[[], Settings], *, reclaim: Callable[[Path], None] | None = None) -> None:
        self._settings = settings
        self._reclaim = reclaim
        self._mirrors: dict[str, Mirror] = {}

    def branches(self, project: str) -> Mapping[str, Revision]:
        """Every head that the remote has now, by one complete listing; empty only for a repository without any."""
        return self._mirror(project).branches()

    def expect(self, project: str, branch: str, revision: Revision) -> None:
        """Somebody says what the branch's head is now: the next fetch is quicker when that is true."""
        self._mirror(project).expect(branch, revision)

    def fetch(self, project: str, branch: str) -> Revision | None:
        """The branch's head as the remote has it now, with all its objects here; None when it has no such branch."""
        return self._mirror(project).fetch(branch)

    def maintain(self, project: str) -> None:
        """Repack the mirror when it has become untidy; cheap when it has not. Reading and fetching go on meanwhile."""
        self._mirror(project).maintain()

    def close(self) -> None:
        """End the processes that are kept, and hang up; whatever is asked later starts them again."""
        for mirror in list(self._mirrors.values()):
            mirror.close()

    # -- revisions ---------------------------------------------------------------------------------------------

    def commit(self, project: str, revision: Revision) -> Commit:
        self._mirror(project).holding(revision)
        try:
            data = self._mirror(project).batch.blobs([revision], limit=_LARGEST_COMMIT)[revision]
        except NeedsRebuild as error:
            raise DeployError(
                f"The message of commit {revision.short} is larger than a megabyte.",
                hint="Amend it.",
                code="commit-too-large",
            ) from error
        return commit_of(revision, data)

    def files(self, project: str, revision: Revision) -> Mapping[str, str]:
        """Every path of the revision with its git mode."""
        return self._mirror(project).holding(revision).files(revision)

    def read(self, project: str, revision: Revision, path: str, *, limit: int) -> bytes | None:
        """A file's bytes; None when absent. DeployError when it is no regular file or larger than `limit` bytes."""
        return self._mirror(project).objects.read(revision, path, limit=limit)

    def link(self, project: str, revision: Revision, path: str) -> str:
        """Where a symbolic link points, as it is written; "" when the path is no link."""
        return self._mirror(project).holding(revision).link(revision, path)

    def identity(self, project: str, revision: Revision, path: str) -> str:
        """The object id of a file or folder ("." for all of it): equal ids, equal content. "" when absent."""
        return self._mirror(project).holding(revision).identity(revision, path)

    def changed(self, project: str, old: Revision, new: Revision) -> int:
        """How many paths differ."""
        mirror = self._mirror(project)
        mirror.holding(old)
        return mirror.holding(new).changed(old, new)

    def changes(self, project: str, old: Revision, new: Revision) -> tuple[Change, ...]:
        """Every path that differs; a rename is a deletion and an addition."""
        mirror = self._mirror(project)
        mirror.holding(old)
        mirror.holding(new)
        return mirror.batch.changes(old, new)

    def blobs(self, project: str, ids: Iterable[str], *, limit: int) -> Mapping[str, bytes]:
        """Contents by object id, as `changes` told them. NeedsRebuild over `limit` bytes in all."""
        return self._mirror(project).batch.blobs(ids, limit=limit)

    def archive(self, project: str, revision: Revision, *, under: str = "") -> Generator[bytes]:
        """A tar of the revision, or of its folder `under`, in chunks; closing the iterator ends git.

        DeployError when there is no such folder.
        """
        mirror = self._mirror(project)
        mirror.holding(revision)
        folder = posixpath.normpath(under or ".")
        what = revision if folder == "." else self._folder(project, revision, folder)
        argv = ["git", f"--git-dir={mirror.place}", "archive", "--format=tar", "--end-of-options", what]
        timeout_s = self._settings().limits.build_timeout_s
        yield from process.stream(argv, env=mirror.env(), timeout_s=timeout_s)

    # -- checkouts ---------------------------------------------------------------------------------------------

    def checkout(self, project: str, slug: Slug, revision: Revision) -> str:
        """Make the environment's worktree hold `revision`; the ref that keeps edits made there, or ""."""
        mirror = self._mirror(project)
        mirror.holding(revision)
        with mirror.turn(slug):
            if self._edits(project, slug).holds(revision):  # written down just now, while somebody waited for this turn
                return ""
            return self._checkout(project, slug, mirror.env()).update(revision)

    def checkout_revision(self, project: str, slug: Slug) -> Revision | None:
        return self._checkout(project, slug, {}).revision()

    def checkout_identity(self, project: str, slug: Slug) -> str:
        return self._checkout(project, slug, {}).identity()

    def holds_edit(self, project: str, slug: Slug) -> bool:
        return self._checkout(project, slug, {}).holds_edit()

    def checkout_dir(self, project: str, slug: Slug) -> Path:
        return self._settings().state_dir / "checkouts" / slug

    def remove_checkout(self, project: str, slug: Slug) -> None:
        """Remove the worktree, whoever owns the files in it. Edits kept under refs/butai/edits stay in the mirror."""
        with self._mirror(project).turn(slug):
            self._checkout(project, slug, {}).remove()

    # -- edits -------------------------------------------------------------------------------------------------

    def snapshot(
        self,
        project: str,
        slug: Slug,
        head: Revision,
        *,
        apart: Iterable[str],
        paths: Sequence[str] = (),
        user: str = "",
        accept: Callable[[Edit], None] = lambda edit: None,
    ) -> Edit | None:
        """Keep what people changed in the worktree as a commit that the worktree then holds; None when it is nothing.

        An edit that undoes everything has `head` as its revision. With `paths` only these are looked at. While
        `accept` writes down what is wanted, nothing else touches the worktree.
        """
        with self._mirror(project).turn(slug):
            edit = self._edits(project, slug).take(head, accept=accept, apart=apart, paths=paths, user=user)
        if edit is not None:
            self._mirror(project).holds(edit.revision)
        return edit

    def ignored(self, project: str, slug: Slug, paths: Sequence[str]) -> frozenset[str]:
        """Those of the paths of the worktree whose changes never make an edit."""
        return self._edits(project, slug).ignored(paths)

    def folders(self, project: str, slug: Slug, *, apart: Iterable[str]) -> tuple[str, ...]:
        """The folders of the worktree in which a change may be an edit, "" for all of it."""
        with self._mirror(project).turn(slug):
            return self._edits(project, slug).folders(apart)

    def edits(self, project: str, slug: Slug, *, limit: int) -> tuple[Edit, ...]:
        """What was kept of an environment, newest first."""
        mirror = self._mirror(project)
        if not mirror.place.exists():
            return ()
        return kept.kept(mirror.place, slug, env=mirror.env(), changes=mirror.batch.changes, limit=limit)

    def restore(self, project: str, slug: Slug, edit: Edit) -> None:
        """Put the files of an edit back into the worktree. RequestError when something is in the way."""
        with self._mirror(project).turn(slug):
            self._edits(project, slug).restore(edit)

    def patch(self, project: str, edit: Edit) -> bytes:
        """What `git apply` takes, from the edited revision to the edit."""
        options = ("--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color")
        return self._mirror(project).git("diff", *options, "--end-of-options", edit.base, edit.revision).stdout

    # -- below -------------------------------------------------------------------------------------------------

    def _mirror(self, project: str) -> Mirror:
        return self._mirrors.get(project) or self._mirrors.setdefault(project, Mirror(project, self._settings))

    def _folder(self, project: str, revision: Revision, folder: str) -> Revision:
        """A commit of one folder alone: paths start there, and files are as old as the commit and not as now."""
        mirror = self._mirror(project)
        written = f"{self.commit(project, revision).committed_at.timestamp():.0f} +0000"
        env = mirror.env() | {"GIT_AUTHOR_DATE": written, "GIT_COMMITTER_DATE": written}
        argv = ["git", f"--git-dir={mirror.place}", "commit-tree", "-m", folder, f"{revision}:{folder}"]
        done = process.run(argv, env=env, timeout_s=LOCAL_S)
        if not done.ok:
            raise DeployError(
                f"{folder} is no folder of the repository.",
                hint="Look at `build.context` in the compose file.",
                code="no-such-folder",
            )
        return Revision(done.text.strip())

    def _checkout(self, project: str, slug: Slug, env: Mapping[str, str]) -> Checkout:
        mirror = self._mirror(project).place
        return Checkout(
            self.checkout_dir(project, slug), mirror=mirror, env=env, reclaim=self._reclaim, timeout_s=LOCAL_S
        )

    def _edits(self, project: str, slug: Slug) -> Edits:
        mirror = self._mirror(project)
        return Edits(
            self.checkout_dir(project, slug),
            mirror=mirror.place,
            env=mirror.env(),
            changes=mirror.batch.changes,
            timeout_s=LOCAL_S,
        )
