"""The compose file and folder for a build that only the Compose CLI can do."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agent.model.release import BuildSpec, Release, ServiceSpec
from agent.runtime.modelfile import write_model


def build_model(
    release: Release, spec: ServiceSpec, *, archive: Iterable[bytes], scratch: Path, checkout_dir: Path
) -> Path:
    """Unpack the revision into `scratch` and write beside it a file that builds `spec` and nothing else."""
    tree = scratch / "tree"
    tree.mkdir()
    with tarfile.open(fileobj=io.BufferedReader(_Chunks(archive)), mode="r|") as tar:
        tar.extractall(tree, filter=_inside)  # noqa: S202 - the filter is the check
    secrets = {name: _moved(body, checkout_dir, tree) for name, body in (release.model.get("secrets") or {}).items()}
    model = {
        "name": release.stack,
        "services": {spec.name: {"image": spec.image, "build": _build(spec, tree)}},
        "secrets": secrets,
    }
    path = scratch / "build.json"
    write_model(path, model)
    return path


def _build(spec: ServiceSpec, tree: Path) -> dict[str, Any]:
    build = spec.build or BuildSpec(context=".", dockerfile="Dockerfile")
    raw = dict(build.raw)
    raw["context"] = str(tree / build.context)
    raw["labels"] = {name: value.replace("$", "$$") for name, value in build.labels.items()}
    raw["additional_contexts"] = {
        name: value if "://" in value else str(tree / value)
        for name, value in (raw.get("additional_contexts") or {}).items()
    }
    return raw


def _moved(body: dict[str, Any], checkout_dir: Path, tree: Path) -> dict[str, Any]:
    """A secret's file as it is in the revision: the checkout may still hold an older one."""
    path = Path(str(body["file"]).replace("$$", "$"))
    if path.is_relative_to(checkout_dir):
        path = tree / path.relative_to(checkout_dir)
    return {"file": str(path).replace("$", "$$")}


def _inside(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
    """Leave out what would lead out of the folder: no Dockerfile can copy it either."""
    try:
        return tarfile.data_filter(member, destination)
    except tarfile.FilterError:
        return None


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
