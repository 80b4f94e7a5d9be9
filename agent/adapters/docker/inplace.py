"""Files into a container without a shell: only what the engine alone can do without harm.

It can neither delete nor rename, and who owns a new file's folder cannot be asked cheaply. So only regular files that
are there already are replaced, a few at a time: unpacked under another name and linked to their own, in one archive.
A reader never finds half a file, but may find none for an instant. The other names stay until the next time.
"""

from __future__ import annotations

import io
import itertools
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from docker.errors import APIError, NotFound

from agent.adapters.docker.client import Client, explanation
from agent.adapters.docker.staging import Staged, executable, pack
from agent.errors import NeedsRebuild
from agent.model.sync import LINK, PROGRAM, FileContent, SyncReport

MOST_FILES = 32  # each costs a call of its own before the archive

_STAGE = "/.butai-sync-kept"
_FIRST = 8 * 1024  # bytes of an archive in which its first header is found, whatever comes before that


def sync(client: Client, container: str, files: Mapping[str, FileContent]) -> SyncReport:
    """Replace what stands there. NeedsRebuild for anything else."""
    if not files:
        return SyncReport()
    if len(files) > MOST_FILES or any(not file.mode or file.mode == LINK for file in files.values()):
        raise NeedsRebuild(f"Container {container[:12]} has no shell to delete, link or move files with.")
    with client.asking(f"put files into {container[:12]}"):
        _refuse_mounts(cast("dict[str, Any]", client.api.inspect_container(container)), files)
        staged = {str(at): _entry(client, container, file) for at, file in enumerate(files.values())}
        links = {target.lstrip("/"): str(at) for at, target in enumerate(files)}
        try:
            client.api.put_archive(container, "/", pack(_STAGE, staged, now_s=int(time.time()), links=links))
        except APIError as error:
            if "read-only" in explanation(error):
                raise NeedsRebuild(f"Container {container[:12]} cannot be written to.") from error
            raise
    return SyncReport(written=len(files), size=sum(len(file.data) for file in files.values()), atomic=False)


def _refuse_mounts(container: Mapping[str, Any], files: Iterable[str]) -> None:
    mounts = [mount["Destination"] for mount in container.get("Mounts") or ()]
    mounts += list(container["HostConfig"].get("Tmpfs") or ())
    for target, mount in itertools.product(files, mounts):
        if f"{target}/".startswith(f"{mount.rstrip('/')}/"):
            raise NeedsRebuild(f"{target} lies on a mount, which is not ours to write to.")


def _entry(client: Client, container: str, file: FileContent) -> Staged:
    try:
        chunks, _ = client.api.get_archive(container, file.target)
    except NotFound as error:
        raise NeedsRebuild(f"{file.target} is new, and container {container[:12]} has no shell.") from error
    there = _first(chunks)
    if not there.isreg():
        raise NeedsRebuild(f"{file.target} is no regular file now, and container {container[:12]} has no shell.")
    mode = executable(there.mode, yes=file.mode == PROGRAM)
    return Staged(mode, there.uid, there.gid, file.data, changed_s=int(there.mtime))


def _first(chunks: Iterator[bytes]) -> tarfile.TarInfo:
    """The first entry of an archive; the rest of it is not waited for."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _FIRST:
            break
    if (close := getattr(chunks, "close", None)) is not None:
        close()
    try:
        with tarfile.open(fileobj=io.BytesIO(head)) as archive:
            first = archive.next()
    except tarfile.TarError as error:
        raise NeedsRebuild("The engine's archive of a file cannot be read.") from error
    if first is None:
        raise NeedsRebuild("The engine's archive of a file is empty.")
    return first
