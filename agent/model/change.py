"""Change and verdict: what differs between two revisions, and the cheapest correct thing to do about it per service.

A rename is a deletion and an addition; so is a folder that becomes a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from agent.model.release import ExecHook

SYMLINK = "120000"
SUBMODULE = "160000"
FOLDER = "040000"

_NAMED = 3  # of the paths of one cause; the rest is counted


class Kind(StrEnum):
    ADDED = "added"
    MODIFIED = "modified"  # content, mode or both
    DELETED = "deleted"
    RETYPED = "retyped"  # file, symbolic link and submodule turn into each other


@dataclass(frozen=True, slots=True)
class Change:
    """One line of `git diff --raw --no-renames`. Modes are git's; "" where the path does not exist."""

    path: str  # from the root of the repository
    kind: Kind
    mode: str = ""
    blob: str = ""  # object id of the new content; "" when deleted
    old_mode: str = ""

    @property
    def is_link(self) -> bool:
        """Whether it is or was a symbolic link."""
        return SYMLINK in (self.mode, self.old_mode)

    @property
    def is_submodule(self) -> bool:
        """Whether it is or was a submodule: git archives it as an empty folder."""
        return SUBMODULE in (self.mode, self.old_mode)


class Action(IntEnum):
    """What happens to a service; the larger number includes what the smaller ones are for."""

    NOTHING = 0
    SYNC = 1
    RESTART = 2
    RECREATE = 3  # same image, new container
    REBUILD = 4  # and a new container, if the image differs from the present one


@dataclass(frozen=True, slots=True)
class FileSync:
    """One path to copy into a container, or to remove from it when `blob` is ""."""

    path: str  # from the root of the repository
    target: str  # absolute, in the container
    mode: str = ""
    blob: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why, in words, and the paths that it is true of."""

    why: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.paths:
            return self.why
        more = len(self.paths) - _NAMED
        named = ", ".join(self.paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{named}: {self.why}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one service needs.

    `files`, deletions first, are also what a recreated container gets before it is routed; a rebuilt service needs
    none. `recreate` asks for a new container even if the rebuilt image is the present one, `restart` likewise for a
    restart. `behind`: a fresh image would differ from the present one, though nobody sees it; to be built when there
    is time. `mounted` counts the paths that the service sees as soon as they are checked out. `verbatim`: of a restart,
    that the image before with `files` laid over it is what a build would give.
    """

    service: str
    action: Action = Action.NOTHING
    files: tuple[FileSync, ...] = ()
    restart: bool = False
    recreate: bool = False
    execs: tuple[ExecHook, ...] = ()
    behind: bool = False
    mounted: int = 0
    verbatim: bool = False
    causes: tuple[Cause, ...] = ()

    @property
    def title(self) -> str:
        """What is to be done, as a plan says it."""
        return self._words("sync", "restart", "recreate", "rebuild", "run", "check out")

    @property
    def summary(self) -> str:
        """What was done, as a message says it."""
        return self._words("synced", "restarted", "recreated", "rebuilt", "ran", "checked out")

    @property
    def beside(self) -> str:
        """What was done, where a restart was a new container that took over."""
        return f"restarted {self.service} beside the old one, with {len(self.files)} file{'s' * (len(self.files) != 1)}"

    def _words(self, sync: str, restart: str, recreate: str, rebuild: str, run: str, checkout: str) -> str:
        if self.action is Action.NOTHING and self.mounted:
            return f"{checkout} {self.mounted} file{'s' * (self.mounted != 1)} that {self.service} mounts"
        if self.action is Action.NOTHING:
            return f"nothing for {self.service}"
        if self.action is Action.REBUILD:
            return f"{rebuild} {self.service}"
        parts = []
        if self.action is Action.RECREATE:
            parts.append(f"{recreate} {self.service}")
        if self.files:
            to = "it" if parts else self.service
            parts.append(f"{sync} {len(self.files)} file{'s' * (len(self.files) != 1)} to {to}")
        if self.restart:
            parts.append(f"{restart} {'it' if parts else self.service}")
        parts += [f"{run} `{' '.join(hook.command)}`" for hook in self.execs]
        return " and ".join(parts)


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict for each service, in the order of the release.

    `reread` are the paths because of which the compose model must be read again before anything is done: then
    `planning.changes.reread` decides. `unused` are paths that no service takes in.
    """

    verdicts: tuple[Verdict, ...] = ()
    reread: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def verdict(self, service: str) -> Verdict:
        """The verdict of a service; KeyError when there is no such service."""
        for verdict in self.verdicts:
            if verdict.service == service:
                return verdict
        raise KeyError(service)

    @property
    def summary(self) -> str:
        """One line for people: "synced 3 files to web, rebuilt api"."""
        if self.reread:
            return "the compose model is read again"
        done = [one.summary for one in self.verdicts if one.action is not Action.NOTHING or one.mounted]
        return ", ".join(done) or "nothing to do"

    def __str__(self) -> str:
        lines = [str(Cause("the compose model is read again", self.reread))] if self.reread else []
        for verdict in self.verdicts:
            if verdict.action is not Action.NOTHING or verdict.causes:
                lines.append(verdict.title)
                lines += [f"  {cause}" for cause in verdict.causes]
        if self.unused:
            lines.append(str(Cause("no service uses it", self.unused)))
        return "\n".join(lines) or "nothing to do"
