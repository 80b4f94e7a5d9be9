"""What the runtime needs of the world, in its own words. Adapters satisfy these without knowing them.

Every method may raise OutsideError (retried) and, where said, DeployError (the branch's author must
act) or CancelledError (a newer wish). None of them retries by itself, none of them decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from agent.model.change import Change
from agent.model.deployment import Commit
from agent.model.edit import Edit
from agent.model.names import Revision, Slug
from agent.model.observed import Container, Network
from agent.model.release import BuildSpec, ExecHook
from agent.model.route import RouteTable
from agent.model.sync import FileContent, SyncReport


class Cancel(Protocol):
    """Tells work in progress that a newer wish made it pointless."""

    def cancelled(self) -> bool: ...

    def on_cancel(self, act: Callable[[], None]) -> Callable[[], None]:
        """Run `act` once when cancelled (at once when it already is); the result takes it back."""
        ...


class Probe(Protocol):
    """Whether something accepts a TCP connection at an address of a container; answers within a few milliseconds."""

    def __call__(self, address: str, port: int) -> bool: ...


class LogStream(Protocol):
    """Lines as they come; `close`, from any thread, ends it."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall time, UTC, aware."""
        ...

    def monotonic(self) -> float: ...


class Git(Protocol):
    """One bare mirror per project and one worktree per environment. Revisions are read from the mirror only."""

    def branches(self, project: str) -> Mapping[str, Revision]:
        """One complete listing of the heads; never a part of them."""
        ...

    def expect(self, project: str, branch: str, revision: Revision) -> None:
        """A hint for the next fetch of the branch, which never believes it."""
        ...

    def fetch(self, project: str, branch: str) -> Revision | None:
        """Fetch exactly refs/heads/<branch>; None when the remote answers and has no such branch."""
        ...

    def commit(self, project: str, revision: Revision) -> Commit: ...

    def files(self, project: str, revision: Revision) -> Mapping[str, str]:
        """Every path of the revision with its git mode ("100644", "100755", "120000", "160000")."""
        ...

    def read(self, project: str, revision: Revision, path: str, *, limit: int) -> bytes | None:
        """A file's bytes at that revision, None when absent. DeployError: over `limit` bytes, not a regular file."""
        ...

    def link(self, project: str, revision: Revision, path: str) -> str:
        """Where a symbolic link points, as it is written; "" when the path is no link."""
        ...

    def identity(self, project: str, revision: Revision, path: str) -> str:
        """The object id of a file or folder ("." for all of it): equal ids, equal content. "" when absent."""
        ...

    def archive(self, project: str, revision: Revision, *, under: str = "") -> Generator[bytes]:
        """`git archive` as tar chunks, paths relative to `under`. Closing the iterator ends the process."""
        ...

    def checkout(self, project: str, slug: Slug, revision: Revision) -> str:
        """Make the environment's worktree hold `revision`, in place: untracked files stay.

        Edits to tracked files are first kept under refs/butai/edits/<slug>/<UTC time>; returns that ref, or "".
        """
        ...

    def snapshot(
        self,
        project: str,
        slug: Slug,
        head: Revision,
        *,
        apart: Iterable[str],
        paths: Sequence[str] = (),
        user: str = "",
        accept: Callable[[Edit], None] = ...,
    ) -> Edit | None:
        """Keep what people changed in the worktree as a commit, which it then holds; None when that is nothing.

        An edit back to `head` has that as its revision. In the folders `apart` new files do not count. With `paths`
        only these are looked at. `user` is who did it, where the owner of the files does not tell. `accept` writes
        the edit down before the worktree counts as holding it; when that raises, it does not.
        """
        ...

    def ignored(self, project: str, slug: Slug, paths: Sequence[str]) -> frozenset[str]:
        """Those of the worktree's paths whose changes never make an edit."""
        ...

    def folders(self, project: str, slug: Slug, *, apart: Iterable[str]) -> tuple[str, ...]:
        """The folders of the worktree in which a change may make an edit, "" for all of it."""
        ...

    def edits(self, project: str, slug: Slug, *, limit: int) -> tuple[Edit, ...]:
        """What was kept of an environment, newest first."""
        ...

    def restore(self, project: str, slug: Slug, edit: Edit) -> None:
        """Put the files of an edit back into the worktree. RequestError when something is in the way."""
        ...

    def patch(self, project: str, edit: Edit) -> bytes:
        """The edit as `git apply` takes it."""
        ...

    def checkout_revision(self, project: str, slug: Slug) -> Revision | None:
        """What the worktree holds; None when there is none, or when an update of it was interrupted."""
        ...

    def checkout_identity(self, project: str, slug: Slug) -> str:
        """Another text each time that the worktree's folder was made anew; "" when nobody knows."""
        ...

    def holds_edit(self, project: str, slug: Slug) -> bool:
        """Whether what people made of the worktree was kept and is still in it."""
        ...

    def checkout_dir(self, project: str, slug: Slug) -> Path: ...

    def remove_checkout(self, project: str, slug: Slug) -> None: ...

    def changed(self, project: str, old: Revision, new: Revision) -> int:
        """How many paths differ."""
        ...

    def changes(self, project: str, old: Revision, new: Revision) -> tuple[Change, ...]:
        """Every path that differs, in the order of their names; a rename is a deletion and an addition."""
        ...

    def blobs(self, project: str, ids: Iterable[str], *, limit: int) -> Mapping[str, bytes]:
        """Contents by object id, as `changes` told them. NeedsRebuild when they are over `limit` bytes in all."""
        ...

    def maintain(self, project: str) -> None:
        """Repack the mirror when it has become untidy. For idle moments; reads and fetches go on meanwhile."""
        ...


class Compose(Protocol):
    """The official Compose plugin: the only reader of compose files, the only creator of containers."""

    def parse(self, data: bytes, *, path: str) -> Any:
        """A compose file as plain data, bounded, before Compose sees it. DeployError names `path`."""
        ...

    def resolve(
        self,
        directory: Path,
        *,
        files: Sequence[str],
        profiles: Sequence[str],
        environment: Mapping[str, str],
        stack: str,
    ) -> Mapping[str, Any]:
        """`compose config --format json` on files in `directory`; paths in the result are absolute."""
        ...

    def create(self, stack: str, model_path: Path, *, scale: Mapping[str, int], cancel: Cancel) -> None:
        """Create networks, volumes and the missing containers up to `scale`; existing containers are never touched."""
        ...

    def build(
        self, model_path: Path, service: str, *, on_line: Callable[[str], None], cancel: Cancel, timeout_s: float
    ) -> None:
        """`compose build SERVICE`: the fallback for what needs a client session. DeployError with the failing step."""
        ...


class Engine(Protocol):
    """Docker Engine through docker-py's low-level client."""

    def containers(self, filters: Mapping[str, str]) -> tuple[Container, ...]:
        """One list call; `filters` are labels (name -> value, "" for any value). Stopped ones included."""
        ...

    def images(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Tag -> image id of the images that carry all these labels."""
        ...

    def image_id(self, reference: str) -> str | None: ...

    def networks(self, labels: Mapping[str, str]) -> Mapping[str, Network]:
        """By name."""
        ...

    def volumes(self, labels: Mapping[str, str]) -> tuple[str, ...]: ...

    def build(
        self,
        spec: BuildSpec,
        context: Iterable[bytes],
        *,
        tag: str,
        on_line: Callable[[str], None],
        cancel: Cancel,
        timeout_s: float,
    ) -> str:
        """Build over `/build?version=2`; the image id. `context` is an unfiltered tar of the context directory,

        filtered here by the `.dockerignore` found in it. DeployError names the failing step and carries its last lines.
        SessionNeeded, before anything is built, when only Compose can make the same image.
        """
        ...

    def delta(self, base: str, files: Iterable[FileContent], *, tag: str, cancel: Cancel, timeout_s: float) -> str:
        """The image `base` with these files over it, as `COPY` would leave them; its id. It has the base's labels.

        NeedsRebuild when only a build gives such an image, or none came of it in time.
        """
        ...

    def pull(self, reference: str, *, platform: str, on_line: Callable[[str], None], cancel: Cancel) -> str: ...

    def tag(self, source: str, target: str) -> None:
        """Give an image one more name."""
        ...

    def execute(self, container: str, hook: ExecHook) -> tuple[int, list[str]]:
        """Run a command in it; its exit status and what it said, within a minute."""
        ...

    def restart(self, container: str, *, grace_s: float) -> None: ...

    def untag(self, reference: str) -> None: ...

    def start(self, container: str) -> None:
        """Start it; DeployError when the engine says that the command or a mount is wrong."""
        ...

    def stop(self, container: str, *, grace_s: float) -> None: ...

    def unpause(self, container: str) -> None: ...

    def visitors(self, container: str, *, besides: Collection[str]) -> int | None:
        """How many TCP connections others have open to it, those from addresses of `besides` left out.

        None when it cannot be told: the engine is on another host, or its processes are hidden from us.
        """
        ...

    def remove(self, container: str) -> None:
        """Remove with its anonymous volumes; gone already is fine."""
        ...

    def logs(
        self, container: str, *, tail: int | None, since: float | None = None, timestamps: bool = False
    ) -> list[str]:
        """The last lines of standard output and error, decoded, without terminal escapes."""
        ...

    def follow(self, container: str, *, tail: int | None) -> LogStream:
        """Log lines as they come, until the container ends or the iterator is closed."""
        ...

    def sync(self, container: str, files: Iterable[FileContent]) -> SyncReport:
        """Make a running container (its id) hold these files; readers find the old or the new, never half of one.

        Ownership and modes stay as the image has them. With no files the container is only made ready, which makes the
        first sync 60 ms faster. NeedsRebuild when it cannot hold them as a fresh image would (it may hold some then):
        a mount, a read-only container, no permission, no shell. OutsideError: repeat the call.
        """
        ...

    def connect(self, network: str, container: str) -> None:
        """Join; being joined already is fine."""
        ...

    def disconnect(self, network: str, container: str) -> None: ...

    def remove_network(self, network: str) -> None: ...

    def remove_volume(self, volume: str) -> None: ...

    def stats(self, container: str) -> Mapping[str, float]:
        """`one_shot` numbers: memory_bytes, memory_limit_bytes, cpu_seconds, pids."""
        ...

    def events(self, stop: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
        """Container events of this instance as the engine's dicts, until the connection ends; hints only."""
        ...


class Edge(Protocol):
    """Traefik: its container, its folder of routes, and what it answers."""

    def ensure(self) -> bool:
        """Make Traefik run as configured (network, container, static settings); nothing to do is fast.

        True when its container is a new one: every environment's network has to be joined again.
        """
        ...

    @property
    def container(self) -> str:
        """Name of Traefik's container; "" when somebody else runs it."""
        ...

    def joined(self) -> frozenset[str]:
        """Networks that Traefik is attached to, now."""
        ...

    def read(self, slug: Slug) -> RouteTable | None: ...

    def write(self, table: RouteTable) -> None:
        """Validate, then replace the environment's file in one rename."""
        ...

    def remove(self, slug: Slug) -> None: ...

    def confirms(self, table: RouteTable) -> bool:
        """Whether Traefik answers by a file that leads where this table does; never reaches the containers."""
        ...
