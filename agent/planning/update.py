"""From a revision that serves to the next: which services are brought up to date in place, and which get an image.

The decision says what changed; this says how each service gets there with the containers and images that
there are. In doubt a service gets a new image and new containers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from agent.model.change import Action, Verdict
from agent.model.observed import Container, Observed
from agent.model.release import Release, ServiceSpec
from agent.planning import delta
from agent.planning.identity import current, images_of, is_configured
from agent.planning.images import delta_tag

MOST_FILES = 1_000  # of one sync: these take 0.7 s to copy, and above that a build is about as cheap


class Way(Enum):
    """How one service reaches the new revision."""

    IN_PLACE = auto()  # its containers get the files, and are then marked as up to date
    DELTA = auto()  # its image is the one before with the changed files on top
    RETAG = auto()  # its image is the new revision's too
    IMAGE = auto()  # whatever image the new revision names: built or pulled when it is missing


@dataclass(frozen=True, slots=True)
class Move:
    """One service on its way. `containers` are those to bring up to date; `tags` are those to reuse, and as what."""

    spec: ServiceSpec
    way: Way
    verdict: Verdict | None = None
    containers: tuple[Container, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


def moves(release: Release, observed: Observed) -> tuple[Move, ...]:
    """One for each service that is not up to date. Without a decision, every service needs its image."""
    lagging = [spec for spec in release.services if len(current(spec, observed)) < spec.replicas]
    return tuple(_move(spec, release, observed) for spec in lagging)


def _move(spec: ServiceSpec, release: Release, observed: Observed) -> Move:
    previous, decision = observed.previous, observed.decision
    if previous is None or decision is None:
        return Move(spec, Way.IMAGE)
    before = next((other for other in previous.services if other.name == spec.name), None)
    verdict = next((one for one in decision.verdicts if one.service == spec.name), None)
    if before is not None and spec.image in observed.images and (tags := _same_again(before, spec, observed)):
        return Move(spec, Way.RETAG, verdict, tags=tags)
    if before is None or verdict is None or before.build != spec.build or verdict.action is Action.REBUILD:
        return Move(spec, Way.IMAGE, verdict)
    if spec.build is None and (before.image != spec.image or not verdict.restart or verdict.files):
        return Move(spec, Way.IMAGE, verdict)
    running = _up_to_date(before, previous, observed)
    takes_files = (
        before.config_hash == spec.config_hash
        and not verdict.recreate
        and spec.name not in observed.unfit
        and len(verdict.files) <= MOST_FILES
    )
    if takes_files and delta.is_wanted(spec, release, verdict):
        if base := delta.base(before, observed):
            return Move(spec, Way.DELTA, verdict, tags=((base, delta_tag(spec.image)),))
        if before.image not in observed.hopeless:
            return Move(spec, Way.IMAGE, verdict)
    in_place = takes_files and len(running) >= spec.replicas
    touched = verdict.action in (Action.SYNC, Action.RESTART) or verdict.behind
    was_touched = any(container.id in observed.synced for container in running)
    if in_place and (touched or was_touched):
        return Move(spec, Way.IN_PLACE, verdict, running)
    tags = _tags(before, spec, observed)
    if touched or was_touched or not tags:
        return Move(spec, Way.IMAGE, verdict)
    return Move(spec, Way.RETAG, verdict, tags=tags)


def _tags(before: ServiceSpec, spec: ServiceSpec, observed: Observed) -> tuple[tuple[str, str], ...]:
    """The tags of the revision that serves, each with its successor."""
    known = {before.image: spec.image, delta_tag(before.image): delta_tag(spec.image)}
    return tuple((old, new) for old, new in known.items() if old in observed.images)


def _same_again(before: ServiceSpec, spec: ServiceSpec, observed: Observed) -> tuple[tuple[str, str], ...]:
    """Where a build gave the image that was there already: then the delta image that stands for it is good as well."""
    is_same = observed.images[spec.image] == observed.images.get(before.image)
    return _tags(before, spec, observed) if is_same and delta_tag(before.image) in observed.images else ()


def _up_to_date(before: ServiceSpec, previous: Release, observed: Observed) -> tuple[Container, ...]:
    """The running containers that hold exactly the files of the revision that serves."""
    images = images_of(before, observed)
    return tuple(
        container
        for container in observed.containers
        if container.running
        and is_configured(before, container)
        and (
            container.image_id in images
            if container.id not in observed.synced or before.build is None
            else observed.synced[container.id] == previous.revision
        )
    )
