"""A delta image: an image that is there, and a few files in one more layer on top of it.

It stands for the image that a build of the same files would give until there is time for that build. Config and labels
are the base's. Whatever would not come out as a build leaves it is refused before anything is built.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from docker.errors import NotFound

from agent.adapters.docker.archive import end, nested
from agent.adapters.docker.build import TAR, Attempt, follow
from agent.adapters.docker.client import Client, EngineRefused
from agent.adapters.docker.placing import check, staged
from agent.adapters.docker.staging import pack
from agent.adapters.docker.trace import Trace
from agent.adapters.process import Cancel
from agent.errors import DeployError, NeedsRebuild
from agent.model.sync import FileContent

MOST_LAYERS = 100  # of the base; the engine cannot run an image of more than 127

_ARCHIVE = "files.tar"


def run(
    client: Client,
    base: str,
    files: Iterable[FileContent],
    *,
    tag: str,
    cancel: Cancel,
    timeout_s: float,
) -> str:
    """Build and tag; the image id. NeedsRebuild when a build must do it; OutsideError, CancelledError."""
    wanted = check(files)
    platform = _platform(_fit(client, base, wanted))
    attempt = Attempt(client.line(), cancel, timeout_s)
    with attempt:
        try:
            params = {"version": "2", "t": tag, "platform": platform}
            body = attempt.guard(_context(base, wanted))
            attempt.line.request("POST", "/build", params=params, body=body, headers=TAR)
            image_id, problem = follow(attempt.line, Trace(), _unheard)
            attempt.check()
        except EngineRefused as refused:
            image_id, problem = "", refused.message
        except DeployError as error:  # it took too long
            image_id, problem = "", error.message
    if not image_id:
        raise NeedsRebuild(f"No delta image of {base}: {problem or 'the build ended without a result'}")
    return image_id


def _unheard(line: str) -> None:
    """Nobody reads the log of a build with one step."""


def _fit(client: Client, base: str, files: Mapping[str, FileContent]) -> Mapping[str, Any]:
    """What the engine knows of the base."""
    with client.asking(f"look at the image {base}"):
        try:
            image = cast("dict[str, Any]", cast("Any", client.api).inspect_image(base))
        except NotFound as error:
            raise NeedsRebuild(f"There is no image {base}.") from error
    config = image.get("Config") or {}
    if config.get("OnBuild"):
        raise NeedsRebuild(f"The image {base} has ONBUILD triggers, which a build on top of it would run.")
    if len(image.get("RootFS", {}).get("Layers") or ()) > MOST_LAYERS:
        raise NeedsRebuild(f"The image {base} has too many layers for one more.")
    for target, file in files.items():
        if not file.mode:
            raise NeedsRebuild(f"{target} goes away, which a layer of files cannot say.")
        for volume in config.get("Volumes") or ():
            if f"{target}/".startswith(f"{volume.rstrip('/')}/"):
                raise NeedsRebuild(f"{target} lies in a volume of the image.")
    return image


def _platform(image: Mapping[str, Any]) -> str:
    """Else the engine asks a registry for the base as it is for this host."""
    return "/".join(part for part in (image.get("Os"), image.get("Architecture"), image.get("Variant")) if part)


def _context(base: str, files: Mapping[str, FileContent]) -> Iterator[bytes]:
    """The files are an archive in it: only so does every folder that is there keep its owner and mode."""
    written = f"FROM {base}\nADD {_ARCHIVE} /\n".encode()
    packed = pack("", {target.lstrip("/"): staged(file) for target, file in files.items()}, now_s=int(time.time()))
    yield from nested("Dockerfile", len(written), [written])
    yield from nested(_ARCHIVE, len(packed), [packed])
    yield end()
