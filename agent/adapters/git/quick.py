"""Fetch one branch into a mirror that already has something of the repository, with as few processes as can be.

What git does, in git's order: ask for the head, get what is missing, unpack it, check that nothing is missing, move our
ref. None of it is needed: where anything is out of the ordinary, None is returned, and `git fetch` does all of it.
Who was told what the head may be gets that, and asks for the head at the same time: no hint is believed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.adapters import process
from agent.adapters.git.wire import NotThisWay, Wire
from agent.model.names import Revision

LARGEST = 32 * 1024 * 1024  # bytes of a pack that are held in memory; beyond that git is as fast

_LOOSE = 100  # objects; more stay packed (git's own `fetch.unpackLimit`)
_MOST_HAVES = 16
_LOCAL_S = 300.0
_HEADER = 12  # "PACK", version, number of objects (gitformat-pack)


def fetch(
    wire: Wire, beside: Wire, mirror: Path, env: Mapping[str, str], *, branch: str, ref: str, expected: Revision | None
) -> Revision | None:
    """The head of `branch`, all its objects in the mirror and `ref` pointing to it; None: let git do it.

    `beside` is for a second question at the same time. Raises TimeoutError when the remote is silent.
    """
    if not wire.fits:
        return None
    have = list(_heads(mirror, ref))
    if not have:
        return None
    try:
        if expected is None or expected in have:
            head = wire.head(branch)
        else:
            head = _head(wire, beside, mirror, env, branch=branch, expected=expected, have=have)
        if head is None or head == _read(mirror / ref):
            return head
        if head not in have:
            _unpack(mirror, env, head, wire.pack(head, have, limit=LARGEST))
    except NotThisWay:
        return None
    point(mirror / ref, head)
    return head


def _head(
    wire: Wire,
    beside: Wire,
    mirror: Path,
    env: Mapping[str, str],
    *,
    branch: str,
    expected: Revision,
    have: list[Revision],
) -> Revision | None:
    """What the remote says. `have` grows by what was expected, if that could be had meanwhile."""
    packed = b""
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(beside.head, branch)
        with contextlib.suppress(NotThisWay):  # a forged hint, or a server that is not as far yet
            packed = wire.pack(expected, have, limit=LARGEST)
        if packed:
            _unpack(mirror, env, expected, packed)
            have.append(expected)
        head = asked.result()
    # Who answers otherwise may have been asked a moment too early: forges have several servers.
    return head if head == expected else wire.head(branch)


def _heads(mirror: Path, ref: str) -> Iterator[Revision]:
    """Where our branches are: this one first, then those that moved last."""
    own = mirror / ref
    others = [path for path in own.parent.glob("*") if path != own and path.suffix != ".lock"]
    found = (_read(path) for path in (own, *sorted(others, key=_moved_at, reverse=True)[:_MOST_HAVES]))
    yield from dict.fromkeys(revision for revision in found if revision is not None)


def _moved_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> Revision | None:
    try:
        return Revision(path.read_text().strip())
    except (OSError, ValueError):
        return None


def _unpack(mirror: Path, env: Mapping[str, str], head: Revision, packed: bytes) -> None:
    """Take in the objects, if everything that they name is among them or was here already."""
    if packed[:4] != b"PACK":
        raise NotThisWay("no pack")
    if int.from_bytes(packed[8:_HEADER], "big") <= _LOOSE:
        _run(mirror, env, "unpack-objects", "-q", "--strict", stdin=packed)
        if not (mirror / "objects" / head[:2] / head[2:]).exists():
            raise NotThisWay("not what was asked for")
    else:
        _run(mirror, env, "index-pack", "--stdin", "--fix-thin", stdin=packed)
        _run(mirror, env, "rev-list", "--objects", "--quiet", head, "--not", "--all")


def _run(mirror: Path, env: Mapping[str, str], *arguments: str, stdin: bytes = b"") -> None:
    done = process.run(["git", f"--git-dir={mirror}", *arguments], env=env, timeout_s=_LOCAL_S, input=stdin)
    if not done.ok:
        raise NotThisWay(done.complaint)


def point(path: Path, revision: Revision) -> None:
    """Move a ref as git does. What a killed agent leaves is a lock of git's own form, which is cleared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    with os.fdopen(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "w") as file:
        file.write(f"{revision}\n")
    lock.replace(path)
