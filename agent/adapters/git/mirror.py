"""One project's bare mirror: the remote's branches, and every object that they ever had, in it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agent.adapters import process
from agent.adapters.git import quick
from agent.adapters.git.batch import Batch
from agent.adapters.git.kept import replace_text
from agent.adapters.git.objects import Objects
from agent.adapters.git.remote import Remote, branch_is_missing
from agent.adapters.git.wire import NotThisWay, Wire
from agent.config import Settings
from agent.errors import OutsideError
from agent.model.names import Revision

LOCAL_S = 300.0  # work on the local disk; only a dying disk takes this long

# A remote that keeps talking gets this many times `limits.fetch_timeout_s` in all: first fetches are long.
_PATIENCE = 10
_HEADS = "refs/heads/"
_NEVER_A_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")  # `*` would be a pattern in a refspec, `:` a second ref
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
# No slug has a space, and who waits for a checkout may have to write the configuration.
_LISTING, _CONFIGURATION = "a listing", "its configuration"


class Mirror:
    """Made when it is first needed. Safe from any thread: what writes to it, or to a checkout of it, takes turns."""

    def __init__(self, project: str, settings: Callable[[], Settings]) -> None:
        self._project = project
        self._settings = settings
        self._turns: dict[str, threading.Lock] = {}
        self.batch = Batch(self.place, self.env)
        self.objects = Objects(self.place, self.env)
        self._wires: dict[str, Wire] = {}  # by purpose: one question at a time goes over each
        self._expected: dict[str, Revision] = {}  # by branch
        self._held: set[Revision] = set()  # that were seen here
        self._is_tidied = False

    @property
    def place(self) -> Path:
        return self._settings().state_dir / "mirrors" / f"{self._project}.git"

    @property
    def remote(self) -> Remote:
        found = self._settings().projects.get(self._project)
        if found is None:
            raise OutsideError(
                f"The project {self._project} is not in the settings any more.",
                hint=f"Put `[projects.{self._project}]` back, or destroy its environments.",
                code="project-gone",
            )
        return Remote(
            self._project,
            found.remote,
            self._settings().state_dir / "git" / "known_hosts",
            deploy_key=found.deploy_key_file,
            username=found.username,
            token=found.token,
        )

    # -- the remote --------------------------------------------------------------------------------------------

    def branches(self) -> Mapping[str, Revision]:
        """Every head that the remote has now, by one complete listing; empty only for a repository without any."""
        listed = self._listed()
        if listed is None:
            listed = self._listed_by_git()
        found = {}
        for name, revision in listed.items():
            with contextlib.suppress(UnicodeDecodeError):  # such a name can be asked for by nobody
                found[name.decode()] = revision
        return found

    def _listed(self) -> Mapping[bytes, Revision] | None:
        """By the kept connection; None where git is needed. A listing waits for no fetch, so it has one of its own."""
        wire = self._wire(_LISTING)
        if not wire.fits:
            return None
        try:
            with self.turn(_LISTING):
                return wire.heads()
        except NotThisWay:
            return None
        except TimeoutError as error:
            raise wire.remote.silent(wire.silence_s) from error

    def _listed_by_git(self) -> Mapping[bytes, Revision]:
        done = self._ask("ls-remote", "--heads", "--quiet", "--end-of-options", "origin")
        if not done.ok:
            raise self.remote.failure(done.complaint)
        found = {}
        for line in done.stdout.splitlines():
            revision, _, name = line.partition(b"\t")
            found[name.removeprefix(_HEADS.encode())] = _revision(revision.decode(), self._project)
        return found

    def expect(self, branch: str, revision: Revision) -> None:
        """Somebody says what the branch's head is now: the next fetch is quicker when that is true."""
        self._expected[branch] = revision

    def fetch(self, branch: str) -> Revision | None:
        """The branch's head as the remote has it now, with all its objects here; None when it has no such branch."""
        if _NEVER_A_BRANCH.search(branch):
            return None
        ref = _kept_as(branch)
        with self.turn():
            self._ensure()
            self._unlock(ref)
            revision = self._quick(branch, ref) or self._fetch_head(branch, ref)
            if revision is not None:
                self.holds(revision)
            return revision

    def _quick(self, branch: str, ref: str) -> Revision | None:
        """The head, fetched without `git fetch`; None where that is needed."""
        wire, beside = self._wire("fetching"), self._wire("asking")
        try:
            expected = self._expected.pop(branch, None)
            return quick.fetch(wire, beside, self.place, self.env(), branch=branch, ref=ref, expected=expected)
        except TimeoutError as error:
            raise wire.remote.silent(wire.silence_s) from error

    def _fetch_head(self, branch: str, ref: str) -> Revision | None:
        done = self._fetch(f"+{_HEADS}{branch}:{ref}")
        if done.ok:
            return self.objects.resolve(ref)
        if not branch_is_missing(done.complaint):
            raise self.remote.failure(done.complaint)
        self.git("update-ref", "-d", "--end-of-options", ref)
        return None

    def _fetch(self, what: str) -> process.Completed:
        options = ("--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--force")
        return self._ask("fetch", *options, "--end-of-options", "origin", what)

    def _ask(self, *arguments: str) -> process.Completed:
        """Run a command that talks to the remote, within `limits.fetch_timeout_s` of silence."""
        silence_s = self._settings().limits.fetch_timeout_s
        try:
            return process.run(
                ["git", f"--git-dir={self.place}", *arguments],
                env=self.env(),
                timeout_s=silence_s * (_PATIENCE if "fetch" in arguments else 1),
                silence_s=silence_s,
            )
        except process.DeadlineError as error:
            raise self.remote.silent(error.seconds) from error

    def _wire(self, purpose: str) -> Wire:
        remote, silence_s = self.remote, self._settings().limits.fetch_timeout_s
        wire = self._wires.get(purpose)
        if wire is None or (wire.remote, wire.silence_s) != (remote, silence_s):
            if wire is not None:
                wire.close()
            wire = self._wires[purpose] = Wire(remote, silence_s=silence_s)
        return wire

    # -- what is here ------------------------------------------------------------------------------------------

    def holds(self, revision: Revision) -> None:
        """It was made or fetched just now: nobody need look for it."""
        self._held.add(revision)

    def holding(self, revision: Revision) -> Objects:
        """The mirror's objects, the revision among them: a mirror that was lost is filled again."""
        if self.place.exists() and (revision in self._held or self.objects.has(revision)):
            self.holds(revision)
            return self.objects
        with self.turn():
            self._ensure()
            done = self._fetch(revision)
        if done.ok and self.objects.has(revision):
            self.holds(revision)
            return self.objects
        raise OutsideError(
            f"Revision {revision.short} of {self._project} is neither here nor at {self.remote.host}.",
            hint="Deploy the branch again: its newest revision is fetched then.",
            code="revision-missing",
        )

    def maintain(self) -> None:
        """Repack when it has become untidy; cheap when it has not. Reading and fetching go on meanwhile."""
        if self.place.exists():
            options = ("-c", "gc.auto=2000", "-c", "gc.autoPackLimit=40")
            self.git(*options, "gc", "--auto", "--quiet", timeout_s=LOCAL_S * _PATIENCE)
            self.batch.close()

    def close(self) -> None:
        """End the process that is kept, and hang up; whatever is asked later starts them again."""
        self.batch.close()
        for wire in list(self._wires.values()):
            wire.close()

    def _ensure(self) -> None:
        """Make the mirror when there is none: beside its place, then moved there whole."""
        place = self.place
        if (place / "HEAD").exists():
            return
        new = place.with_name(f".new-{place.name}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        argv = ["git", "init", "--quiet", "--bare", "--template=", "--initial-branch=butai-none", "--", str(new)]
        done = process.run(argv, env=self.env(), timeout_s=LOCAL_S)
        if not done.ok:
            raise OutsideError(f"No mirror for {self._project} can be made: {done.complaint}", code="mirror-failed")
        (new / "info").mkdir(exist_ok=True)
        # `git archive` would leave out and rewrite files that these attributes name: an image needs them as they are.
        (new / "info" / "attributes").write_text("* -export-ignore -export-subst\n")
        new.rename(place)
        self._held.clear()
        self.batch.close()  # it reads a mirror that is gone

    def _unlock(self, ref: str) -> None:
        """Remove what a killed git left. It is our turn and every git of ours has ended: nobody holds these locks."""
        for name in (f"{ref}.lock", "packed-refs.lock", "HEAD.lock", "shallow.lock", "config.lock"):
            (self.place / name).unlink(missing_ok=True)
        if not self._is_tidied:
            for pattern in ("tmp_*", "*.keep"):
                for left in (self.place / "objects" / "pack").glob(pattern):
                    left.unlink(missing_ok=True)
            self._is_tidied = True

    # -- how git is run ----------------------------------------------------------------------------------------

    def git(self, *arguments: str, timeout_s: float = LOCAL_S) -> process.Completed:
        """Run a command that needs nobody else. OutsideError when it fails."""
        done = process.run(["git", f"--git-dir={self.place}", *arguments], env=self.env(), timeout_s=timeout_s)
        if not done.ok:
            raise OutsideError(
                f"git could not work on the mirror of {self._project}: {done.complaint}", code="mirror-failed"
            )
        return done

    def env(self) -> dict[str, str]:
        """Git's whole environment: our configuration and nobody else's, no questions, no shell of the operator's."""
        remote = self.remote
        directory = self._settings().state_dir / "git"
        directory.mkdir(parents=True, exist_ok=True)
        configuration = directory / f"{self._project}.config"
        low_speed_s = max(1, min(30, int(self._settings().limits.fetch_timeout_s)))
        text = remote.configuration(low_speed_s=low_speed_s)
        with self.turn(_CONFIGURATION):
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

    @contextlib.contextmanager
    def turn(self, what: str = "") -> Iterator[None]:
        """Wait for the mirror, or for the checkout of a slug, but not for ever: what holds it has its own deadlines."""
        lock = self._turns.setdefault(what, threading.Lock())
        if not lock.acquire(timeout=self._settings().limits.fetch_timeout_s * _PATIENCE):
            busy = f"{self._project} is busy{f' with {what}' if what else ''}"
            raise OutsideError(f"The mirror of {busy}.", hint="It is tried again by itself.", code="git-busy")
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
