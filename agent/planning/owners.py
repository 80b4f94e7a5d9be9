"""Whether a file that is copied into a container would stand there as a build leaves it: whose it is, and its mode.

A file that is replaced keeps both. A new one belongs to the owner of its folder, which is right but where
`COPY --chown` or `--chmod` gives it what nothing in the container tells.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from agent.model.change import Change, Kind
from agent.planning.mounts import inside
from agent.planning.recipe import Instruction

_NOT_PLAIN = "[]*?$\"'\\"


def doubt(
    dockerfile: Sequence[Instruction], change: Change, in_context: str | None, *, stood: Callable[[str], bool]
) -> str:
    """Why it may stand otherwise; "" when it will not.

    `in_context` is the path in the build context, `stood` whether a folder of it was there before: it belongs then
    to whom `--chown` gave it, unless it is the destination itself, which may be older than the copy.
    """
    if change.kind is Kind.DELETED or (change.kind is Kind.MODIFIED and change.mode == change.old_mode):
        return ""
    if _giving(dockerfile, "--chmod"):
        return "`--chmod` gives it a mode"
    giving = _giving(dockerfile, "--chown")
    if not giving or change.kind is Kind.MODIFIED:
        return ""
    folder = posixpath.dirname(in_context or "")
    if folder and stood(folder) and not any(_may_end_at(step, folder) for step in giving):
        return ""
    return "`--chown` gives it an owner"


def is_given(dockerfile: Sequence[Instruction]) -> bool:
    """Whether copied files may stand there otherwise than as root's, with the mode that git has."""
    return bool(_giving(dockerfile, "--chmod") or _giving(dockerfile, "--chown"))


def _giving(dockerfile: Sequence[Instruction], flag: str) -> list[Instruction]:
    return [step for step in dockerfile if step.keyword in ("COPY", "ADD") and _has(step, flag)]


def _may_end_at(step: Instruction, folder: str) -> bool:
    """Whether what the folder holds may lie in the destination itself."""
    if any(char in step.rest for char in _NOT_PLAIN):
        return True
    sources = [posixpath.normpath(f"/{source}").strip("/") or "." for source in step.rest.split()[:-1]]
    return any(inside(source, folder) is not None for source in sources)


def _has(step: Instruction, flag: str) -> bool:
    return any(given.partition("=")[0] == flag for given in step.flags)
