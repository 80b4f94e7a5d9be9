"""Has Compose create what is missing of a stack: networks, volumes and new containers beside the old ones.

The file that Compose gets is the checked model and nothing else, plus the labels by which the next
look recognises what was made. Nothing that runs is touched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.config import Settings
from agent.errors import DeployError
from agent.model.deployment import Deployment
from agent.model.environment import Environment
from agent.model.labels import CONFIG, DEPLOYMENT, REVISION, SALT, WORKTREE
from agent.model.observed import Observed
from agent.model.release import Release
from agent.planning.identity import current
from agent.planning.images import delta_tag
from agent.runtime.cancel import CancelToken
from agent.runtime.modelfile import write_model
from agent.runtime.ports import Compose, Git


class Creator:
    """One `compose create` a call, for all services that lack a container."""

    def __init__(self, *, settings: Callable[[], Settings], git: Git, compose: Compose) -> None:
        self._settings = settings
        self._git = git
        self._compose = compose

    def create(
        self,
        environment: Environment,
        release: Release,
        deployment: Deployment | None,
        observed: Observed,
        *,
        needed: Sequence[str],
        cancel: CancelToken,
    ) -> None:
        """DeployError when a bind mount would leave the checkout, or Compose refuses the model."""
        self._prepare_mounts(environment, release)
        path = self._settings().state_dir / "releases" / environment.slug / "create.json"
        write_model(path, create_model(environment, release, deployment, observed))
        self._compose.create(release.stack, path, scale=scale(release, observed, needed), cancel=cancel)

    def _prepare_mounts(self, environment: Environment, release: Release) -> None:
        """Make missing sources, as Compose would, but as us; refuse one that a container turned into a way out."""
        root = self._git.checkout_dir(environment.project, environment.slug)
        real_root = root.resolve()
        for spec in release.services:
            for source in spec.bind_sources:
                real = (root / source).resolve()
                if not real.is_relative_to(real_root):
                    raise DeployError(
                        f"Service `{spec.name}` mounts `{source}`, which now leads out of the checkout.",
                        hint="Something replaced it by a symbolic link; remove it and deploy again.",
                        code="mount-leaves-checkout",
                        service=spec.name,
                    )
                if not real.exists():
                    real.mkdir(parents=True)


def create_model(
    environment: Environment, release: Release, deployment: Deployment | None, observed: Observed
) -> Mapping[str, Any]:
    """The release's model with the labels, and the images, that only the moment of creation knows."""
    model = copy.deepcopy(dict(release.model))
    for spec in release.services:
        if spec.image not in observed.images and delta_tag(spec.image) in observed.images:
            model["services"][spec.name]["image"] = delta_tag(spec.image)
        labels = model["services"][spec.name].setdefault("labels", {})
        labels[CONFIG] = spec.config_hash
        labels[REVISION] = str(release.revision)
        labels[SALT] = str(environment.salt)
        labels[WORKTREE] = observed.checkout_identity
        labels[DEPLOYMENT] = str(deployment.id if deployment is not None else 0)
    return model


def scale(release: Release, observed: Observed, needed: Sequence[str]) -> dict[str, int]:
    """How many containers each service has afterwards: those there are, plus the missing ones of `needed`.

    Compose removes what is above the number that it is told, so every service is named.
    """
    counts = {}
    for spec in release.services:
        have = sum(container.service == spec.name for container in observed.containers)
        missing = max(0, spec.replicas - len(current(spec, observed)))
        counts[spec.name] = have + (missing if spec.name in needed else 0)
    return counts
