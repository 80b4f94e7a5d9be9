"""Files into running containers: one archive, one round of renames and deletions, and no reader ever sees half a file.

`put_archive` alone removes and rewrites in place, and deletes nothing; so it fills a folder of its own on the same
file system, and a shell in the container does the rest. That shell is opened by the first sync of a container and
kept for the next ones. Containers without a shell are served as far as the engine alone can (`inplace`).
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from docker.errors import APIError

from agent.adapters.docker import inplace, placing
from agent.adapters.docker.client import Client, explanation
from agent.adapters.docker.dictated import dictated
from agent.adapters.docker.placing import Node, Placing
from agent.adapters.docker.shell import STAGE_PREFIX, NoShell, Shell, ShellGone, command, lost
from agent.adapters.docker.staging import Staged, pack
from agent.errors import NeedsRebuild
from agent.model.sync import FileContent, SyncReport

IDLE_S = 300.0  # a shell that was not used for so long is closed; it costs its container one process

_READ_ONLY = "read-only"


@dataclass(slots=True)
class _Session:
    """What is known of one container. `shell` is None before the first sync and after trouble."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    shell: Shell | None = None
    has_shell: bool = True
    used_at: float = 0.0  # monotonic


class LiveSync:
    """All containers of one engine. Threads share it; those who sync the same container take turns."""

    def __init__(self, client: Client, *, idle_s: float = IDLE_S) -> None:
        self._client = client
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._timer: threading.Timer | None = None

    def sync(self, container: str, files: Iterable[FileContent]) -> SyncReport:
        """Make a running container hold `files`; with none of them it is only made ready for the next time.

        `container` is an id: a name may be another container's tomorrow. NeedsRebuild when it cannot hold them as its
        image would; it may hold some of them then. OutsideError when it went away; then the same call can be repeated.
        """
        wanted = placing.check(files)
        session = self._session(container)
        with session.lock:
            try:
                if session.has_shell:
                    return self._by_shell(container, session, wanted)
            except NoShell:
                if not self._is_running(container):  # the end of a container kills what its shell was about to run
                    raise lost(container) from None
                session.has_shell = False
            return inplace.sync(self._client, container, wanted)

    def close(self) -> None:
        """Close every shell; the next sync opens a new one."""
        self._sweep(0.0)

    # -- one round ---------------------------------------------------------------------------------------------

    def _by_shell(self, container: str, session: _Session, wanted: Mapping[str, FileContent]) -> SyncReport:
        paths = placing.to_look_at(wanted.values())
        try:
            shell, seen = self._look(container, session, paths)
            if not wanted:
                return SyncReport()
            plan = placing.plan(wanted, seen)
            self._carry_out(container, shell, plan)
        except ShellGone as error:
            self._drop(session)
            raise lost(container) from error
        return SyncReport(written=plan.written, deleted=plan.deleted, size=plan.size)

    def _look(self, container: str, session: _Session, paths: Sequence[str]) -> tuple[Shell, dict[str, Node]]:
        """What stands at the paths; a shell that ended since the last time is opened again."""
        if session.shell is not None:
            try:
                return session.shell, _seen(session.shell, paths)
            except ShellGone:
                self._drop(session)
        session.shell = Shell(self._client, container)
        return session.shell, _seen(session.shell, paths)

    def _carry_out(self, container: str, shell: Shell, plan: Placing) -> None:
        stage = f"{STAGE_PREFIX}{secrets.token_hex(6)}"
        forget = b"".join(command("forget", stage))
        if plan.staged:
            try:
                self._stage(container, shell, stage, plan.staged)
            except BaseException:
                shell.tell(forget)
                raise
        status, said = shell.ask(_commands(plan, stage), afterwards=forget if plan.staged else b"")
        if status:
            why = said.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise NeedsRebuild(f"Files cannot be put into container {container[:12]}: {why[-1]}")

    def _stage(self, container: str, shell: Shell, stage: str, staged: Mapping[str, Staged]) -> None:
        """Small files by the shell itself, which saves the engine the start of a program; all else as an archive."""
        now_s = int(time.time())
        words = dictated(stage, staged, now_s=now_s)
        if words:
            status, _ = shell.ask(words)
            if not status:
                return
            shell.ask(command("forget", stage))  # it lacks a right or a program; the engine has both
        self._unpack(container, pack(stage, staged, now_s=now_s))

    def _unpack(self, container: str, archive: bytes) -> None:
        with self._client.asking(f"put files into {container[:12]}"):
            try:
                self._client.api.put_archive(container, "/", archive)
            except APIError as error:
                if _READ_ONLY in explanation(error):
                    raise NeedsRebuild(f"Container {container[:12]} cannot be written to.") from error
                raise

    def _is_running(self, container: str) -> bool:
        with self._client.asking(f"look at {container[:12]}"):
            found = cast("dict[str, Any]", self._client.api.inspect_container(container))
        return bool(found["State"]["Running"])

    # -- the shells --------------------------------------------------------------------------------------------

    def _session(self, container: str) -> _Session:
        with self._lock:
            self._arm()
            session = self._sessions.setdefault(container, _Session())
            session.used_at = time.monotonic()
            return session

    def _look_around(self) -> None:
        """Close what is idle; look again later as long as there is something."""
        self._sweep(self._idle_s)
        with self._lock:
            self._timer = None
            if self._sessions:
                self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(self._idle_s, self._look_around)
            self._timer.daemon = True
            self._timer.start()

    def _sweep(self, idle_s: float) -> None:
        with self._lock:
            for container, session in list(self._sessions.items()):
                if time.monotonic() - session.used_at >= idle_s and session.lock.acquire(blocking=False):
                    self._drop(session)
                    del self._sessions[container]
                    session.lock.release()

    def _drop(self, session: _Session) -> None:
        if session.shell is not None:
            session.shell.close()
            session.shell = None


def _commands(plan: Placing, stage: str) -> Iterator[bytes]:
    yield from command("drop", *plan.first_drops)
    yield from command("leave", *plan.first_leaves)
    for move in plan.moves:
        yield from command("place", *(f"{stage}/{move.number}/{name}" for name in move.names), first=f"{move.folder}/.")
    yield from command("drop", *plan.drops)
    yield from command("prune", *plan.prunes)


def _seen(shell: Shell, paths: Sequence[str]) -> dict[str, Node]:
    """Those of the paths that are there. ShellGone when the answer makes no sense: they come and go meanwhile."""
    seen: dict[str, Node] = {}
    at = 0
    for look in command("look", *paths):
        _, said = shell.ask([look])
        there, *rows = said.rstrip(b"\n").split(b"\n")
        found = [
            path for path, digit in zip(paths[at:], there.decode("ascii", "replace"), strict=False) if digit == "1"
        ]
        if len(found) != len(rows):
            raise ShellGone
        seen |= {path: _node(row) for path, row in zip(found, rows, strict=True)}
        at += len(there)
    return seen


def _node(row: bytes) -> Node:
    try:
        device, mode, uid, gid, changed_s = row.split()
        return Node(int(device), int(mode, 16), int(uid), int(gid), int(changed_s))
    except ValueError as error:
        raise ShellGone from error
