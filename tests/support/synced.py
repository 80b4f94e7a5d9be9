"""Containers to put files into, and what is in them afterwards, seen without their help."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker

from agent.model.sync import LINK, PROGRAM, REGULAR, FileContent
from tests.support.eventually import eventually
from tests.support.run import run_labels

FOREVER = ["sh", "-c", "while :; do sleep 1; done"]


@dataclass(frozen=True)
class Seen:
    """One path of a container. `data` is a file's content, a link's destination, b"" for a folder."""

    kind: str  # "file", "link", "folder"
    mode: int
    owner: tuple[int, int]
    data: bytes = b""
    changed_s: int = 0


def pause(api: Any, container: str) -> None:
    """Hold it, at the next try where a program was just starting in there: then runc is unable to freeze it."""

    def is_frozen() -> bool:
        try:
            api.pause(container)
        except docker.errors.APIError as error:
            if "unable to freeze" not in str(error):
                raise
            return False
        return True

    eventually(is_frozen)


class Stage:
    """One running container of this run."""

    def __init__(self, api: Any, container: str) -> None:
        self.api = api
        self.id = container

    def run(self, script: str, *, user: str = "0") -> str:
        """What a shell script says in there; it must succeed."""
        made = self.api.exec_create(self.id, ["sh", "-ec", script], user=user)["Id"]
        said: bytes = self.api.exec_start(made)
        assert self.api.exec_inspect(made)["ExitCode"] == 0, said
        return said.decode(errors="replace")

    def tree(self, folder: str) -> dict[str, Seen]:
        """Everything below a folder, by its path from there."""
        chunks, _ = self.api.get_archive(self.id, folder)
        seen = {}
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks)), errors="surrogateescape") as archive:
            for entry in archive:
                _, _, name = entry.name.partition("/")
                if name:
                    seen[name.rstrip("/")] = _seen(archive, entry)
        return seen

    def contents(self, folder: str) -> dict[str, bytes]:
        """Files and links only."""
        return {name: seen.data for name, seen in self.tree(folder).items() if seen.kind != "folder"}

    def processes(self) -> list[str]:
        """Command lines of all that runs in there."""
        return [row[-1] for row in self.api.top(self.id, ps_args="-eo pid,args")["Processes"]]


@contextlib.contextmanager
def running(image: str, *, command: list[str] | None = None, setup: str = "", **how: Any) -> Iterator[Stage]:
    """A container that does nothing until it is gone; `setup` ran in it as root, `how` is its host configuration."""
    client = docker.from_env(timeout=120)
    user = how.pop("user", "")
    host = {"NetworkMode": "none", "Init": True, **how}
    api = client.api
    made = api.create_container(image, command or FOREVER, labels=run_labels(), user=user, host_config=host)["Id"]
    try:
        api.start(made)
        stage = Stage(api, made)
        if setup:
            stage.run(setup)
        yield stage
    finally:
        api.remove_container(made, v=True, force=True)
        client.close()


def file(target: str, data: str | bytes = b"", *, program: bool = False) -> FileContent:
    return FileContent(target, PROGRAM if program else REGULAR, data.encode() if isinstance(data, str) else data)


def link(target: str, destination: str) -> FileContent:
    return FileContent(target, LINK, destination.encode())


def gone(target: str) -> FileContent:
    return FileContent(target, "")


def context(files: Mapping[str, bytes]) -> bytes:
    """A build context."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _seen(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Seen:
    owner = (entry.uid, entry.gid)
    if entry.isdir():
        return Seen("folder", entry.mode, owner)
    if entry.issym():
        return Seen("link", entry.mode, owner, entry.linkname.encode(errors="surrogateescape"))
    content = archive.extractfile(entry)
    return Seen("file", entry.mode, owner, content.read() if content else b"", int(entry.mtime))
