"""How the image of a service is called and made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from agent.model.names import Revision
from agent.model.release import BuildSpec

# The Engine API has no word for these, or needs the client's session: only the Compose CLI builds them.
_NEEDS_COMPOSE = ("secrets", "ssh", "additional_contexts", "network", "shm_size")


def image_tag(instance: str, slug: str, service: str, revision: Revision) -> str:
    """The tag of a built image: a service may have letters and runs of signs that an image's name may not."""
    name = re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-")
    if name != service:
        name = f"{name or 'service'}-{hashlib.sha256(service.encode()).hexdigest()[:6]}"
    return f"{instance}/{slug}/{name}:{revision[:12]}"


def delta_tag(image: str) -> str:
    """The tag beside a built image's, of an older one with the changed files on top."""
    return f"{image}-delta"


def build_spec(service: Mapping[str, Any], *, labels: Mapping[str, str]) -> BuildSpec | None:
    """How to build a checked service; None when it runs an image as it is."""
    build = service.get("build")
    if not build:
        return None
    platforms = build.get("platforms") or []
    dockerfile = str(build.get("dockerfile") or "Dockerfile")
    return BuildSpec(
        context=str(build["context"]),
        dockerfile=dockerfile,
        target=_plain(build.get("target", "")),
        args={name: _plain(value) for name, value in (build.get("args") or {}).items() if value is not None},
        labels={**{name: _plain(value) for name, value in _own_labels(build).items()}, **labels},
        platform=str(platforms[0] if platforms else service.get("platform") or ""),
        no_cache=bool(build.get("no_cache")),
        pull=bool(build.get("pull")),
        inline=_plain(build.get("dockerfile_inline", "")),
        needs_session=(
            any(build.get(field) for field in _NEEDS_COMPOSE) or len(platforms) > 1 or dockerfile.startswith("../")
        ),
        raw=build,
    )


def _own_labels(build: Mapping[str, Any]) -> Mapping[str, Any]:
    return build.get("labels") or {}


def _plain(value: object) -> str:
    """What Compose writes with doubled dollars, as the engine is to get it."""
    return str(value).replace("$$", "$")
