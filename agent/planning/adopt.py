"""The release of a newer revision that changed nothing of what the compose model was read from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent.model.names import Revision
from agent.model.release import Release, ServiceSpec


def adopted(release: Release, revision: Revision) -> Release | None:
    """`release` as reading `revision` would give it; None where only reading it can tell.

    The configuration hash of a service that shares another's network holds the revision, so that it is
    replaced together with the other.
    """
    models = release.model["services"]
    if any(str(models[spec.name].get("network_mode", "")).startswith("service:") for spec in release.services):
        return None
    services = tuple(_spec(spec, revision) for spec in release.services)
    model: dict[str, Any] = {
        **release.model,
        "services": {spec.name: _service(models[spec.name], spec, revision) for spec in services},
    }
    return replace(release, revision=revision, services=services, model=model)


def _spec(spec: ServiceSpec, revision: Revision) -> ServiceSpec:
    if spec.build is None:
        return spec
    name, _, _ = spec.image.rpartition(":")
    return replace(spec, image=f"{name}:{revision[:12]}")


def _service(model: dict[str, Any], spec: ServiceSpec, revision: Revision) -> dict[str, Any]:
    environment = {**model.get("environment", {}), "BUTAI_REVISION": str(revision)}
    return {**model, "image": spec.image, "environment": environment}
