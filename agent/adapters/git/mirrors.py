"""What the runtime asks of git: branches, one revision of one branch, its files, and a checkout of it."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import re
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agent.adapters import process
from agent.adapters.git import kept, quick
from agent.adapters.git.batch import Batch
from agent.adapters.git.checkout import Checkout
from agent.adapters.git.edits import Edits
from agent.adapters.git.kept import replace_text
from agent.adapters.git.objects import Objects, commit_of
from agent.adapters.git.remote import Remote, branch_is_missing
from agent.adapters.git.wire import NotThisWay, Wire
from agent.config import Settings
from agent.errors import DeployError, NeedsRebuild, OutsideError
from agent.model.change import Change
from agent.model.deployment import Commit
from agent.model.edit import Edit
from agent.model.names import Revision, Slug

_PATIENCE = (
    10  # a remote that keeps talking gets this many times `limits.fetch_timeout_s` in all: first fetches are long
)
_LOCAL_S = 300.0  # work on the local disk; only a dying disk takes this long
_HEADS = "refs/heads/"
_LARGEST_COMMIT = 1024 * 1024  # bytes of a message and its headers
_NEVER_A_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")  # `*` would be a pattern in a refspec, `:` a second ref
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")


class GitMirrors:
    """Satisfies `ports.Git`. Safe from any thread: what writes to a mirror or a checkout waits for its turn.

    `reclaim` gives a directory and all in it to the agent's user; it is asked for only when files of root are
    in the way.
    """

    def __init__(self, settings: Callable[[], Settings], *, reclaim: Callable[[Path], None] | None = None) -> None:
        self._settings = settings
        self._reclaim = reclaim
        self._turns: dict[str, threading.Lock] = {}
        self._tidied: set[str] = set()
        self._batches: dict[str, Batch] = {}
        self._wires: dict[tuple[str, str], Wire] = {}  # by project and purpose: one question at a time goes over each
        self._expected: dict[tuple[str, str], Revision] = {}
        self._held: dict[str, set[Revision]] = {}  # project -> revisions that were seen in its mirror

    # -- the remote --------------------------------------------------------------------------------------------

    def branches(self, project: str) -> Mapping[str, Revision]:
        """Every head that the remote has now, by one complete listing; empty only for a repository without any."""
        listed = self._listed(project)
        if listed is None:
            listed = self._listed_by_git(project)
        found = {}
        for name, revision in listed.items():
            with contextlib.suppress(UnicodeDecodeError):  # such a name can be asked for by nobody
                found[name.decode()] = revision
        return found

    def _listed(self, project: str) -> Mapping[bytes, Revision] | None:
        """By the kept connection; None where git is needed. A listing waits for no fetch, so it has one of its own."""
        wire = self._wire(project, "listing")
        if not wire.fits:
            return None
        try:
            with self._turn(f"listing {project}"):
                return wire.heads()
        except NotThisWay:
            return None
        except TimeoutError as error:
            raise wire.remote.silent(wire.silence_s) from error

    def _listed_by_git(self, project: str) -> Mapping[bytes, Revision]:
        done = self._ask(project, "ls-remote", "--heads", "--quiet", "--end-of-options", "origin")
        if not done.ok:
            raise self._remote(project).failure(done.complaint)
        found = {}
        for line in done.stdout.splitlines():
            revision, _, name = line.partition(b"\t")
            found[name.removeprefix(_HEADS.encode())] = _revision(revision.decode(), project)
        return found

    def expect(self, project: str, branch: str, revision: Revision) -> None:
        """Somebody says what the branch's head is now: the next fetch is quicker when that is true."""
        self._expected[project, branch] = revision

    def fetch(self, project: str, branch: str) -> Revision | None:
        """The branch's head as the remote has it now, with all its objects here; None when it has no such branch."""
        if _NEVER_A_BRANCH.search(branch):
            return None
        ref = _kept_as(branch)
        with self._turn(project):
            mirror = self._ensure_mirror(project)
            self._unlock(mirror, ref)
            if (revision := self._quick(project, branch, ref)) is not None:
                self._held.setdefault(project, set()).add(revision)
                return revision
            done = self._fetch(project, f"+{_HEADS}{branch}:{ref}")
            if done.ok:
                revision = self._objects(project).resolve(ref)
                self._held.setdefault(project, set()).add(revision)
                return revision
            if not branch_is_missing(done.complaint):
                raise self._remote(project).failure(done.complaint)
            self._local(project, "update-ref", "-d", "--end-of-options", ref)
            return None

    def maintain(self, project: str) -> None:
        """Repack the mirror when it has become untidy; cheap when it has not. Reading and fetching go on meanwhile."""
        if self._mirror(project).exists():
            options = ("-c", "gc.auto=2000", "-c", "gc.autoPackLimit=40")
            self._local(project, *options, "gc", "--auto", "--quiet", timeout_s=_LOCAL_S * _PATIENCE)
            self._batch(project).close()

    # -- revisions ---------------------------------------------------------------------------------------------

    def commit(self, project: str, revision: Revision) -> Commit:
        self._holding(project, revision)
        try:
            data = self._batch(project).blobs([revision], limit=_LARGEST_COMMIT)[revision]
        except NeedsRebuild as error:
            raise DeployError(
                f"The message of commit {revision.short} is larger than a megabyte.",
                hint="Amend it.",
                code="commit-too-large",
            ) from error
        return commit_of(revision, data)

    def files(self, project: str, revision: Revision) -> Mapping[str, str]:
        """Every path of the revision with its git mode."""
        return self._holding(project, revision).files(revision)

    def read(self, project: str, revision: Revision, path: str, *, limit: int) -> bytes | None:
        """A file's bytes; None when absent. DeployError when it is no regular file or larger than `limit` bytes."""
        return self._objects(project).read(revision, path, limit=limit)

    def link(self, project: str, revision: Revision, path: str) -> str:
        """Where a symbolic link points, as it is written; "" when the path is no link."""
        return self._holding(project, revision).link(revision, path)

    def identity(self, project: str, revision: Revision, path: str) -> str:
        """The object id of a file or folder ("." for all of it): equal ids, equal content. "" when absent."""
        return self._holding(project, revision).identity(revision, path)

    def changed(self, project: str, old: Revision, new: Revision) -> int:
        """How many paths differ."""
        self._holding(project, old)
        return self._holding(project, new).changed(old, new)

    def changes(self, project: str, old: Revision, new: Revision) -> tuple[Change, ...]:
        """Every path that differs; a rename is a deletion and an addition."""
        self._holding(project, old)
        self._holding(project, new)
        return self._batch(project).changes(old, new)

    def blobs(self, project: str, ids: Iterable[str], *, limit: int) -> Mapping[str, bytes]:
        """Contents by object id, as `changes` told them. NeedsRebuild over `limit` bytes in all."""
        return self._batch(project).blobs(ids, limit=limit)

    def archive(self, project: str, revision: Revision, *, under: str = "") -> Generator[bytes]:
        """A tar of the revision, or of its folder `under`, in chunks; closing the iterator ends git.

        DeployError when there is no such folder.
        """
        self._holding(project, revision)
        folder = posixpath.normpath(under or ".")
        what = revision if folder == "." else self._folder(project, revision, folder)
        argv = ["git", f"--git-dir={self._mirror(project)}", "archive", "--format=tar", "--end-of-options", what]
        timeout_s = self._settings().limits.build_timeout_s
        yield from process.stream(argv, env=self._env(project), timeout_s=timeout_s)

    # -- checkouts ---------------------------------------------------------------------------------------------

    def checkout(self, project: str, slug: Slug, revision: Revision) -> str:
        """Make the environment's worktree hold `revision`; the ref that keeps edits made there, or ""."""
        self._holding(project, revision)
        with self._turn(f"{project}/{slug}"):
            if self._edits(project, slug).holds(revision):  # written down just now, while somebody waited for this turn
                return ""
            return self._checkout(project, slug, self._env(project)).update(revision)

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
        with self._turn(f"{project}/{slug}"):
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
        with self._turn(f"{project}/{slug}"):
            edit = self._edits(project, slug).take(head, accept=accept, apart=apart, paths=paths, user=user)
        if edit is not None:
            self._held.setdefault(project, set()).add(edit.revision)
        return edit

    def ignored(self, project: str, slug: Slug, paths: Sequence[str]) -> frozenset[str]:
        """Those of the paths of the worktree whose changes never make an edit."""
        return self._edits(project, slug).ignored(paths)

    def folders(self, project: str, slug: Slug, *, apart: Iterable[str]) -> tuple[str, ...]:
        """The folders of the worktree in which a change may be an edit, "" for all of it."""
        with self._turn(f"{project}/{slug}"):
            return self._edits(project, slug).folders(apart)

    def edits(self, project: str, slug: Slug, *, limit: int) -> tuple[Edit, ...]:
        """What was kept of an environment, newest first."""
        mirror = self._mirror(project)
        if not mirror.exists():
            return ()
        return kept.kept(mirror, slug, env=self._env(project), changes=self._batch(project).changes, limit=limit)

    def restore(self, project: str, slug: Slug, edit: Edit) -> None:
        """Put the files of an edit back into the worktree. RequestError when something is in the way."""
        with self._turn(f"{project}/{slug}"):
            self._edits(project, slug).restore(edit)

    def patch(self, project: str, edit: Edit) -> bytes:
        """What `git apply` takes, from the edited revision to the edit."""
        options = ("--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color")
        return self._local(project, "diff", *options, "--end-of-options", edit.base, edit.revision).stdout

    def close(self) -> None:
        """End the processes that are kept, and hang up; whatever is asked later starts them again."""
        for batch in list(self._batches.values()):
            batch.close()
        for wire in list(self._wires.values()):
            wire.close()

    # -- below -------------------------------------------------------------------------------------------------

    def _remote(self, project: str) -> Remote:
        found = self._settings().projects.get(project)
        if found is None:
            raise OutsideError(
                f"The project {project} is not in the settings any more.",
                hint=f"Put `[projects.{project}]` back, or destroy its environments.",
                code="project-gone",
            )
        return Remote(
            project,
            found.remote,
            self._settings().state_dir / "git" / "known_hosts",
            deploy_key=found.deploy_key_file,
            username=found.username,
            token=found.token,
        )

    def _mirror(self, project: str) -> Path:
        return self._settings().state_dir / "mirrors" / f"{project}.git"

    def _objects(self, project: str) -> Objects:
        return Objects(self._mirror(project), self._env(project))

    def _quick(self, project: str, branch: str, ref: str) -> Revision | None:
        """The head, fetched without `git fetch`; None where that is needed."""
        wire = self._wire(project, "fetching")
        try:
            expected = self._expected.pop((project, branch), None)
            env = self._env(project)
            return quick.fetch(wire, self._mirror(project), env, branch=branch, ref=ref, expected=expected)
        except TimeoutError as error:
            raise wire.remote.silent(wire.silence_s) from error

    def _wire(self, project: str, purpose: str) -> Wire:
        remote, silence_s = self._remote(project), self._settings().limits.fetch_timeout_s
        wire = self._wires.get((project, purpose))
        if wire is None or (wire.remote, wire.silence_s) != (remote, silence_s):
            if wire is not None:
                wire.close()
            wire = self._wires[project, purpose] = Wire(remote, silence_s=silence_s)
        return wire

    def _batch(self, project: str) -> Batch:
        return self._batches.setdefault(project, Batch(self._mirror(project), self._env(project)))

    def _holding(self, project: str, revision: Revision) -> Objects:
        """The mirror's objects, the revision among them: a mirror that was lost is filled again."""
        objects = self._objects(project)
        held = self._held.setdefault(project, set())
        if self._mirror(project).exists() and (revision in held or objects.has(revision)):
            held.add(revision)
            return objects
        with self._turn(project):
            self._ensure_mirror(project)
            done = self._fetch(project, revision)
        if done.ok and objects.has(revision):
            held.add(revision)
            return objects
        raise OutsideError(
            f"Revision {revision.short} of {project} is neither here nor at {self._remote(project).host}.",
            hint="Deploy the branch again: its newest revision is fetched then.",
            code="revision-missing",
        )

    def _folder(self, project: str, revision: Revision, folder: str) -> Revision:
        """A commit of one folder alone: paths start there, and files are as old as the commit and not as now."""
        written = f"{self.commit(project, revision).committed_at.timestamp():.0f} +0000"
        env = self._env(project) | {"GIT_AUTHOR_DATE": written, "GIT_COMMITTER_DATE": written}
        argv = ["git", f"--git-dir={self._mirror(project)}", "commit-tree", "-m", folder, f"{revision}:{folder}"]
        done = process.run(argv, env=env, timeout_s=_LOCAL_S)
        if not done.ok:
            raise DeployError(
                f"{folder} is no folder of the repository.",
                hint="Look at `build.context` in the compose file.",
                code="no-such-folder",
            )
        return Revision(done.text.strip())

    def _checkout(self, project: str, slug: Slug, env: Mapping[str, str]) -> Checkout:
        directory = self.checkout_dir(project, slug)
        mirror = self._mirror(project)
        return Checkout(directory, mirror=mirror, env=env, reclaim=self._reclaim, timeout_s=_LOCAL_S)

    def _edits(self, project: str, slug: Slug) -> Edits:
        return Edits(
            self.checkout_dir(project, slug),
            mirror=self._mirror(project),
            env=self._env(project),
            changes=self._batch(project).changes,
            timeout_s=_LOCAL_S,
        )

    def _ensure_mirror(self, project: str) -> Path:
        """Make the mirror when there is none: beside its place, then moved there whole."""
        mirror = self._mirror(project)
        if (mirror / "HEAD").exists():
            return mirror
        new = mirror.with_name(f".new-{mirror.name}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        argv = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=butai-none", "--", str(new)]
        done = process.run(argv, env=self._env(project), timeout_s=_LOCAL_S)
        if not done.ok:
            raise OutsideError(f"No mirror for {project} can be made: {done.complaint}", code="mirror-failed")
        (new / "info").mkdir(exist_ok=True)
        # `git archive` would leave out and rewrite files that these attributes name: an image needs them as they are.
        (new / "info" / "attributes").write_text("* -export-ignore -export-subst\n")
        new.rename(mirror)
        self._held.pop(project, None)
        self._batch(project).close()  # it reads a mirror that is gone
        return mirror

    def _unlock(self, mirror: Path, ref: str) -> None:
        """Remove what a killed git left. It is our turn and every git of ours has ended: nobody holds these locks."""
        for name in (f"{ref}.lock", "packed-refs.lock", "HEAD.lock", "shallow.lock", "config.lock"):
            (mirror / name).unlink(missing_ok=True)
        if mirror.name not in self._tidied:
            for pattern in ("tmp_*", "*.keep"):
                for left in (mirror / "objects" / "pack").glob(pattern):
                    left.unlink(missing_ok=True)
            self._tidied.add(mirror.name)

    def _fetch(self, project: str, what: str) -> process.Completed:
        options = ("--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--force")
        return self._ask(project, "fetch", *options, "--end-of-options", "origin", what)

    def _ask(self, project: str, *arguments: str) -> process.Completed:
        """Run a command that talks to the remote, within `limits.fetch_timeout_s` of silence."""
        silence_s = self._settings().limits.fetch_timeout_s
        mirror = self._mirror(project)
        try:
            return process.run(
                ["git", f"--git-dir={mirror}", *arguments],
                env=self._env(project),
                timeout_s=silence_s * (_PATIENCE if "fetch" in arguments else 1),
                silence_s=silence_s,
            )
        except process.DeadlineError as error:
            raise self._remote(project).silent(error.seconds) from error

    def _local(self, project: str, *arguments: str, timeout_s: float = _LOCAL_S) -> process.Completed:
        argv = ["git", f"--git-dir={self._mirror(project)}", *arguments]
        done = process.run(argv, env=self._env(project), timeout_s=timeout_s)
        if not done.ok:
            raise OutsideError(f"git could not work on the mirror of {project}: {done.complaint}", code="mirror-failed")
        return done

    def _env(self, project: str) -> dict[str, str]:
        """Git's whole environment: our configuration and nobody else's, no questions, no shell of the operator's."""
        remote = self._remote(project)
        files = self._files()
        configuration = files / f"{project}.config"
        low_speed_s = max(1, min(30, int(self._settings().limits.fetch_timeout_s)))
        text = remote.configuration(low_speed_s=low_speed_s)
        with self._turn(str(configuration)):
            if not configuration.exists() or configuration.read_text() != text:
                replace_text(configuration, text)
        return process.short_environment(
            HOME="/nonexistent",
            GIT_CONFIG_NOSYSTEM="1",
            GIT_CONFIG_GLOBAL=str(configuration),
            GIT_ATTR_NOSYSTEM="1",
            GIT_TERMINAL_PROMPT="0",
            GIT_SSH_COMMAND=remote.ssh_command(),
            **process.inherited(*_PASSED_ON),
        )

    def _files(self) -> Path:
        directory = self._settings().state_dir / "git"
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    @contextlib.contextmanager
    def _turn(self, what: str) -> Iterator[None]:
        """Wait for the mirror or the checkout, but not for ever: what holds it has deadlines of its own."""
        lock = self._turns.setdefault(what, threading.Lock())
        if not lock.acquire(timeout=self._settings().limits.fetch_timeout_s * _PATIENCE):
            raise OutsideError(f"The mirror of {what} is busy.", hint="It is tried again by itself.", code="git-busy")
        try:
            yield
        finally:
            lock.release()


def _kept_as(branch: str) -> str:
    """The ref that keeps a branch's objects here. Flat, since `a` may go at the remote when `a/b` comes."""
    return f"refs/butai/heads/{hashlib.sha256(branch.encode()).hexdigest()[:32]}"


def _revision(text: str, project: str) -> Revision:
    try:
        return Revision(text)
    except ValueError as error:
        raise OutsideError(
            f"The remote of {project} names a commit by {text[:80]!r}.",
            hint="Repositories with SHA-256 names are not supported.",
            code="git-unsupported",
        ) from error
