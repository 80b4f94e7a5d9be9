"""How edits are kept in a mirror: commits under refs of their own, by the environment and the time."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from agent.adapters import process
from agent.model.change import Change
from agent.model.edit import Edit
from agent.model.names import Revision, Slug

BASE = "Butai-Base"  # the trailer that names the branch's revision which was edited

_EDITS = "refs/butai/edits"  # below it: <slug>/<UTC time>
_TIME = "%Y%m%dT%H%M%S.%fZ"
_REF = re.compile(r"refs/butai/edits/[^/]+/[0-9]{8}T[0-9]{6}\.[0-9]{6}Z", re.ASCII)
_FORMAT = (
    f"%(refname)%00%(objectname)%00%(authorname)%00%(parent)%00%(trailers:key={BASE},valueonly=true,separator=)%01"
)

Compare = Callable[[Revision, Revision], tuple[Change, ...]]


def new_ref(slug: str) -> str:
    return f"{_EDITS}/{slug}/{datetime.now(UTC).strftime(_TIME)}"


def named(ref: str) -> tuple[str, datetime]:
    """An edit's id, and the time that it is."""
    edit_id = ref.rpartition("/")[2]
    return edit_id, datetime.strptime(edit_id, _TIME).replace(tzinfo=UTC)


def kept(mirror: Path, slug: Slug, *, env: Mapping[str, str], changes: Compare, limit: int) -> tuple[Edit, ...]:
    """The edits of an environment, newest first, at most `limit`; those that an update kept among them."""
    argv = ["git", f"--git-dir={mirror}", "for-each-ref", f"--count={limit}", "--sort=-refname", f"--format={_FORMAT}"]
    done = process.run([*argv, f"{_EDITS}/{slug}/"], env=env, timeout_s=60.0)
    found = []
    for record in done.text.split("\x01\n")[:-1]:
        ref, revision, user, parents, trailer = record.split("\0")
        if not _REF.fullmatch(ref):
            continue
        base = Revision(trailer.strip() or parents.split(" ")[0])
        files = tuple(change.path for change in changes(base, Revision(revision)))
        edit_id, at = named(ref)
        found.append(Edit(edit_id, Revision(revision), base, user, at, files))
    return tuple(found)


def store_commit(objects: Path, commit: str) -> Revision:
    """Write a commit as git does (gitformat-loose-object): to start git for that would be a third of an edit's time."""
    body = os.fsencode(commit)
    data = b"commit %d\0" % len(body) + body
    name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    place = objects / name[:2] / name[2:]
    place.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix="tmp_obj_", delete=False) as file:
        file.write(zlib.compress(data, 1))
        os.fchmod(file.fileno(), 0o444)
    Path(file.name).replace(place)
    return Revision(name)


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that it holds the old text or the new, whatever happens; only we can read it."""
    beside = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)
