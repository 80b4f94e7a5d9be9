"""Which container is the one we want: what was configured and what image it runs, never the revision."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from agent.model.labels import CONFIG
from agent.model.observed import Container, ContainerState, Observed
from agent.model.release import ServiceSpec

_GONE = (ContainerState.REMOVING, ContainerState.DEAD)


def identity(spec: ServiceSpec, image_id: str) -> str:
    """The value of the label `butai.config` on a container of `spec` that runs `image_id`.

    A push that leaves both as they are leaves the container alone (DESIGN 5.8).
    """
    return hashlib.sha256(f"{spec.config_hash}\n{image_id}".encode()).hexdigest()[:24]


def wanted_identity(spec: ServiceSpec, observed: Observed) -> str:
    """The identity that containers of `spec` should carry now; "" while its image is missing."""
    image_id = observed.images.get(spec.image, "")
    return identity(spec, image_id) if image_id else ""


def current(spec: ServiceSpec, wanted: str, containers: Iterable[Container]) -> tuple[Container, ...]:
    """The service's containers that are as wanted, oldest first."""
    return tuple(
        sorted(
            (
                container
                for container in containers
                if container.service == spec.name
                and container.labels.get(CONFIG) == wanted
                and container.state not in _GONE
            ),
            key=lambda container: (container.created_at, container.number),
        )
    )


def outdated(spec: ServiceSpec, wanted: str, containers: Iterable[Container]) -> tuple[Container, ...]:
    """The service's containers that something else replaces."""
    return tuple(
        container
        for container in containers
        if container.service == spec.name and container.labels.get(CONFIG) != wanted
    )
