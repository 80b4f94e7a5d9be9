"""What looking after the engine takes: its figures, its list of our images, and the build cache.

The build cache has no labels: what of it goes is BuildKit's own choice, the longest unused first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from docker.errors import APIError, NotFound

from agent.adapters.docker import decode
from agent.adapters.docker.client import API_VERSION, Client, explanation
from agent.model.care import EngineFigures, StoredImage

_PRUNE_S = 600.0  # the engine is silent until it has removed everything
_IN_USE = ("is using", "being used", "in progress", "dependent child")


def figures(client: Client) -> EngineFigures:
    with client.asking("tell about itself"):
        info = client.api.info()
    return EngineFigures(
        version=str(info.get("ServerVersion", "")),
        places=decode.places(info),
        containers={
            state: int(info.get(f"Containers{state.capitalize()}") or 0) for state in ("running", "paused", "stopped")
        },
        images=int(info.get("Images") or 0),
    )


def stored_images(client: Client, labels: list[str]) -> tuple[StoredImage, ...]:
    with client.asking("list images"):
        images = cast("list[dict[str, Any]]", client.api.images(filters={"label": labels}))
    return tuple(_image(entry) for entry in images)


def drop(client: Client, image_id: str) -> bool:
    """Remove an image that has no name; False when it is in use after all."""
    with client.asking(f"remove the image {image_id}"):
        try:
            client.api.remove_image(image_id)
        except NotFound:
            return True
        except APIError as error:
            if any(words in explanation(error) for words in _IN_USE):
                return False
            raise
    return True


def cache_bytes(client: Client) -> int:
    """What the build cache takes. Asked alone: all of `docker system df` walks through every volume."""
    with client.asking("measure the build cache"):
        url = f"{client.api.base_url}/v{API_VERSION}/system/df"
        answer = client.api.get(url, params={"type": "build-cache"}, timeout=client.timeout_s)
        client.api._raise_for_status(answer)  # type: ignore[attr-defined]
        records = answer.json().get("BuildCache") or ()
    return sum(int(record.get("Size") or 0) for record in records if not record.get("Shared"))


def prune_cache(client: Client, keep_bytes: int) -> int:
    """Have the engine cut its build cache to `keep_bytes`; how many bytes it freed.

    Not with `all`: that would take layers that images hold as well, which frees nothing and makes the next build slow.
    Engines from 28 on read `keep-storage` as the space to reserve, which without a cap is the same (BuildKit,
    calculateKeepBytes).
    """
    with client.asking("cut its build cache"):
        url = f"{client.api.base_url}/v{API_VERSION}/build/prune"
        answer = client.api.post(url, params={"keep-storage": str(keep_bytes)}, timeout=_PRUNE_S)
        client.api._raise_for_status(answer)  # type: ignore[attr-defined]
        return int(answer.json().get("SpaceReclaimed") or 0)


def _image(entry: Mapping[str, Any]) -> StoredImage:
    return StoredImage(
        id=entry["Id"],
        tags=tuple(tag for tag in entry.get("RepoTags") or () if tag != "<none>:<none>"),
        created_at=datetime.fromtimestamp(int(entry.get("Created", 0)), UTC),
        size_bytes=int(entry.get("Size", 0)),
        labels=dict(entry.get("Labels") or {}),
    )
