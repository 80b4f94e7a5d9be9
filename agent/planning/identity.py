"""Which container is the one we want: how it was configured, and whose files it holds.

The configuration hash never covers the revision: else a container whose files were brought up to date in place
would be replaced at the next look (DESIGN 5.8).
"""

from __future__ import annotations

from collections.abc import Callable

from agent.model.change import Verdict
from agent.model.labels import CONFIG, REVISION, WORKTREE
from agent.model.observed import Container, ContainerState, Observed
from agent.model.release import ServiceSpec
from agent.planning.images import delta_tag

_GONE = (ContainerState.REMOVING, ContainerState.DEAD)


def is_configured(spec: ServiceSpec, container: Container) -> bool:
    """Whether it is a container of this service as it is to be configured, whatever files it holds."""
    return (
        container.service == spec.name
        and container.labels.get(CONFIG) == spec.config_hash
        and container.state not in _GONE
    )


def images_of(spec: ServiceSpec, observed: Observed) -> frozenset[str]:
    """The ids of all images that hold the files of the service's revision."""
    found = (observed.images.get(tag) for tag in (spec.image, delta_tag(spec.image)))
    return frozenset(image_id for image_id in found if image_id is not None)


def current(spec: ServiceSpec, observed: Observed) -> tuple[Container, ...]:
    """The service's containers that are as wanted, oldest first.

    Files that were copied into a container belong to it alone, so what it was brought up to counts more than its image.
    """
    images = images_of(spec, observed)
    found = [
        container
        for container in observed.containers
        if is_configured(spec, container)
        and _is_attached(spec, container, observed)
        and _holds_what_is_wanted(spec, container, images, observed)
        and not _must_be_new(spec, container, observed)
    ]
    return tuple(sorted(found, key=lambda container: (container.created_at, container.number)))


def _is_attached(spec: ServiceSpec, container: Container, observed: Observed) -> bool:
    """Whether it is in its networks: nobody reaches one that was taken out, and `compose create` may end halfway."""
    ended = spec.one_shot and container.exit_code == 0
    return (
        ended or observed.release is None or container.networks.keys() >= set(observed.release.networks_of(spec.name))
    )


def outdated(spec: ServiceSpec, observed: Observed) -> tuple[Container, ...]:
    """The service's containers that something else replaces."""
    wanted = {container.id for container in current(spec, observed)}
    return tuple(
        container for container in observed.containers if container.service == spec.name and container.id not in wanted
    )


def _holds_what_is_wanted(spec: ServiceSpec, container: Container, images: frozenset[str], observed: Observed) -> bool:
    """Into what runs an image as it is, nothing is copied; it may have to be restarted for what it mounts."""
    wanted = observed.release.revision if observed.release is not None else None
    if spec.build is None:
        is_due = container.running and observed.synced.get(container.id) != wanted
        asked: Callable[[Verdict], bool] = lambda verdict: verdict.restart and not verdict.files  # noqa: E731
        return container.image_id in images and not (is_due and _is_asked(spec, container, observed, asked))
    if container.id in observed.synced:
        return observed.synced[container.id] == wanted
    return container.image_id in images


def _must_be_new(spec: ServiceSpec, container: Container, observed: Observed) -> bool:
    """What it mounts was replaced: the mount still shows the old one, though image and settings are the same."""
    made_for = container.labels.get(WORKTREE)
    if spec.binds and made_for and observed.checkout_identity not in ("", made_for):
        return True  # somebody had removed the worktree
    return _is_asked(spec, container, observed, lambda verdict: verdict.recreate)


def _is_asked(spec: ServiceSpec, container: Container, observed: Observed, what: Callable[[Verdict], bool]) -> bool:
    """Whether the way to the target asks it of a container that was not made for it."""
    if observed.decision is None or observed.release is None:
        return False
    asked = any(verdict.service == spec.name and what(verdict) for verdict in observed.decision.verdicts)
    return asked and container.labels.get(REVISION) != observed.release.revision
