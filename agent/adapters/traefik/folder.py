"""Folder: files that a watcher never sees half-written, and only those with our name in front.

Traefik reads its folder again at every change, and one broken or half-written file blocks all new
routes. So each file is written outside the watched folder and renamed into it. The folder may be
somebody else's: nothing whose name does not start with ours is read, changed or removed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.errors import OutsideError

_SUFFIX = ".yml"
_UNFINISHED = ".new"  # no suffix that Traefik reads


class Folder:
    """Documents by key, each a file `<prefix>.<key>.yml`; the empty key is `<prefix>.yml`.

    `staging` takes the unfinished files, unless it is on another file system: then they start with a dot in
    `path` itself. Every method raises OutsideError when the file system refuses.
    """

    def __init__(self, path: Path, *, staging: Path, prefix: str) -> None:
        self.path = path
        self._staging = staging
        self._prefix = prefix

    def prepare(self) -> None:
        """Make the folders."""
        with self._told():
            for directory in (self.path, self._staging):
                directory.mkdir(mode=0o755, parents=True, exist_ok=True)

    def read(self, key: str) -> Any:
        """The document; None when there is none. Raises ValueError when the file holds no JSON."""
        with self._told():
            try:
                return json.loads(self._file(key).read_bytes())
            except FileNotFoundError:
                return None

    def write(self, key: str, document: Mapping[str, Any]) -> None:
        """Replace the document in one rename. JSON is YAML in which nothing depends on how YAML guesses types."""
        content = json.dumps(document, indent=1).encode() + b"\n"
        with self._told():
            self._replace(self._file(key), content, mode=0o644)

    def put_file(self, name: str, content: bytes) -> None:
        """A file beside the documents that only its owner may read."""
        with self._told():
            self._replace(self.path / name, content, mode=0o600)

    def remove(self, key: str) -> None:
        """Gone already is fine."""
        with self._told():
            self._file(key).unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.path / f"{self._prefix}{'.' if key else ''}{key}{_SUFFIX}"

    def _replace(self, path: Path, content: bytes, *, mode: int) -> None:
        """One writer for each name: what a killed one left unfinished is overwritten by the next.

        Without the fsync a power cut can leave an empty file under the final name.
        """
        same = self._staging.stat().st_dev == self.path.stat().st_dev
        staged = (self._staging if same else self.path) / f".{path.name}{_UNFINISHED}"
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        staged.replace(path)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutsideError(
                f"The folder {self.path} cannot be used: {error.strerror or error}.",
                hint="Check its owner, its mode and the free space.",
                code="routes-folder",
            ) from error
