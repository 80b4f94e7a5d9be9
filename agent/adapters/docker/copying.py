"""Files into a container, as the one who is in it would have made them; and what a path in it is.

`docker cp` leaves what it copies the numbers of its owner on the host, and a service that runs as another user can read
it at most. Here it belongs to whoever owns the file that it replaces, or the folder that it comes into.
"""

from __future__ import annotations

import base64
import json
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from docker.errors import APIError

from agent.adapters.docker.client import Client, EngineRefused, explanation
from agent.errors import OutsideError, RequestError

_SILENCE_S = 600  # unpacking a large archive is one call without a word
_REFUSALS = ("read-only", "not a directory", "cannot overwrite")  # the engine's 500 for what the caller asked wrongly


@dataclass(frozen=True, slots=True)
class Owner:
    """Numbers in the container."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path of a container; `path` is where its links lead."""

    path: str
    is_folder: bool


class Files:
    """The files of one container; `where` is what people call it: "web of feature-checkout"."""

    def __init__(self, docker_host: str, container: str, *, where: str) -> None:
        self._client = Client(docker_host, timeout_s=_SILENCE_S)
        self._where = where
        api = self._client.api
        self._place = f"/containers/{container}/archive"
        self._url = f"{api.base_url}/v{api.api_version}{self._place}"

    def look(self, path: str) -> Found | None:
        """None when nothing is there."""
        found = self._stat(path)
        if found and (target := str(found.get("linkTarget", ""))):  # its end, within the container
            found, path = self._stat(target), target
        # Go's os.FileMode: the highest bit says folder.
        return Found(path, bool(int(found["mode"]) & 1 << 31)) if found else None

    def owner(self, path: str) -> Owner:
        """Of the path itself: of a link, not of where it leads."""
        line = self._client.line()
        with closing(line):  # cuts what would be the rest of the folder
            try:
                line.request("GET", self._place, params={"path": path})
            except EngineRefused as refused:
                raise self.nothing_at(path) from refused
            with tarfile.open(fileobj=cast("IO[bytes]", _Chunks(line.chunks())), mode="r|") as archive:
                member = archive.next()
        if member is None:
            raise self.nothing_at(path)
        return Owner(member.uid, member.gid)

    def put(self, folder: str, archive: IO[bytes]) -> None:
        """Unpack a tar archive there. RequestError where the container cannot take it; a folder never gives way to a
        file, nor a file to a folder."""
        api = self._client.api
        params = {"path": folder, "noOverwriteDirNonDir": "true"}
        with self._client.asking(f"copy into {self._where}"):
            answer = api.put(self._url, params=params, data=archive, timeout=_SILENCE_S)
            try:
                api._raise_for_status(answer)  # type: ignore[attr-defined]
            except APIError as error:
                why = explanation(error)
                if not error.is_client_error() and not any(word in why for word in _REFUSALS):
                    raise
                raise RequestError(
                    f"{self._where} does not take that at {folder}: {why}",
                    hint="Copy to another path, or to a folder that is writable there.",
                    code="cannot-copy",
                ) from error

    def nothing_at(self, path: str) -> RequestError:
        return RequestError(
            f"Nothing is at {path} in {self._where}.",
            hint="See what is there with `butai exec BRANCH SERVICE -- ls -l FOLDER`.",
            code="no-such-path",
        )

    def _stat(self, path: str) -> dict[str, Any]:
        """The engine's words about a path; empty when nothing is there."""
        with self._client.asking(f"look at {path} in {self._where}"):
            answer = self._client.api.head(self._url, params={"path": path}, timeout=_SILENCE_S)
            if not answer.ok:  # 404, or 500 without a reason for a path through a file and for links in a circle
                return {}
            return dict(json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"])))


def packed(source: Path, name: str, owner: Owner) -> IO[bytes]:
    """A file, folder or link of this host as an archive, in which it is called `name`; "." for what is in a folder.

    RequestError names what cannot be read, before anything is sent.
    """
    file = TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(source.iterdir()) if name == "." else [source]:
                archive.add(path, arcname=path.name if name == "." else name, filter=_given_to(owner))
    except OSError as error:
        file.close()
        raise RequestError(
            f"{error.filename or source} cannot be read: {error.strerror or error}.", code="cannot-read"
        ) from error
    file.seek(0)
    return file


def repacked(stream: IO[bytes], owner: Owner) -> IO[bytes]:
    """The archive that comes in `stream`, compressed or not, with all its entries given to `owner`."""
    file = TemporaryFile()  # noqa: SIM115 - the caller closes it
    give = _given_to(owner)
    try:
        with (
            tarfile.open(fileobj=stream, mode="r|*") as given,
            tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for member in given:
                if (ours := give(member)) is not None:
                    archive.addfile(ours, given.extractfile(member) if member.isreg() else None)
    except (tarfile.TarError, EOFError) as error:
        file.close()
        raise RequestError(
            f"What came on standard input is no tar archive: {error}.",
            hint="For example `tar -c FILES | butai cp BRANCH - SERVICE:/FOLDER`.",
            code="no-archive",
        ) from error
    except OSError as error:
        file.close()
        raise OutsideError(f"The archive cannot be held: {error.strerror or error}.", hint="Is /tmp full?") from error
    file.seek(0)
    return file


def _given_to(owner: Owner) -> Callable[[tarfile.TarInfo], tarfile.TarInfo | None]:
    """What an entry becomes: files, folders and links of the owner's, without what gives rights; nothing else."""

    def give(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            return None  # devices, pipes
        if member.isreg():
            member.type = tarfile.REGTYPE  # one with holes is written out: its map is not kept
        member.uid, member.gid = owner.uid, owner.gid
        member.uname = member.gname = ""  # names of this host mean nothing there
        member.mode &= ~(stat.S_ISUID | stat.S_ISGID)
        member.pax_headers = {}  # among them capabilities and owners; long names are written anew
        return member

    return give


class _Chunks:
    """Chunks as the file that tarfile reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
