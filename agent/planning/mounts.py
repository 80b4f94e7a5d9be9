"""Which part of a container shows the checkout, and which shows something else than its image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from agent.model.release import BindMount
from agent.planning.tree import Kind


def binds_of(
    service: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]], secrets: Mapping[str, Mapping[str, Any]]
) -> tuple[BindMount, ...]:
    """The files and folders of the repository that a checked service sees."""
    found = [
        BindMount(str(mount["source"]), _clean(mount["target"]), mount["kind"] == Kind.FILE)
        for mount in service.get("volumes") or ()
        if mount.get("kind")
    ]
    for grants, bodies, folder in (("configs", configs, "/"), ("secrets", secrets, "/run/secrets")):
        for grant in service.get(grants) or ():
            name = str(grant.get("source"))
            file = bodies.get(name, {}).get("file")
            if file:
                found.append(BindMount(str(file), _clean(grant.get("target") or name, folder), is_file=True))
    return tuple(found)


def others_of(service: Mapping[str, Any]) -> tuple[str, ...]:
    """Where volumes, memory and folders of the host lie over the image of a checked service."""
    volumes = [_clean(mount["target"]) for mount in service.get("volumes") or () if not mount.get("kind")]
    memory = service.get("tmpfs") or ()
    memory = [memory] if isinstance(memory, str) else memory
    return tuple(dict.fromkeys([*volumes, *(_clean(str(entry).partition(":")[0]) for entry in memory)]))


def inside(path: str, folder: str) -> str | None:
    """`path` relative to `folder`, "" for the folder itself; None when it is elsewhere. "." and "/" hold everything."""
    if folder in (".", "/"):
        return path.removeprefix("/") if path != folder else ""
    if path == folder:
        return ""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else None


def over(target: str, places: Iterable[str]) -> str | None:
    """The innermost of the mount points `places` that `target` lies in: that one is what a container shows there."""
    return max((place for place in places if inside(target, place) is not None), key=len, default=None)


def _clean(target: object, root: str = "/") -> str:
    """An absolute path of a container, without doubled dollars, dots and a final slash."""
    return posixpath.normpath(posixpath.join(root, str(target).replace("$$", "$"))).replace("//", "/")
