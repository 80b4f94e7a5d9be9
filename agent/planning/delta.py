"""Delta images: where a push asks for a restart, and people reach the service, a new container takes over instead.

Its image is the one of the revision before with the changed files as one more layer, made in a tenth of a second. It
has a tag of its own beside the revision's: the image that is built in full is made later, when nobody waits, and a
container that runs the delta image stays as it is.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence

from agent.model.change import Action, Change, Decision, FileSync, Verdict
from agent.model.names import Revision
from agent.model.observed import Container, Observed
from agent.model.release import BuildSpec, Release, ServiceSpec
from agent.planning import owners
from agent.planning.images import delta_tag
from agent.planning.mounts import inside, over
from agent.planning.recipe import Instruction, landing
from agent.planning.rollout import routed_port


def is_as_built(
    dockerfile: Sequence[Instruction] | None,
    build: BuildSpec,
    change: Change,
    file: FileSync,
    *,
    places: Iterable[str],
    mode: Callable[[str], str],
) -> bool:
    """Whether the copied file, laid over an older image of the service, stands there as a build leaves it.

    The image alone says nothing about owners, so every file that a flag or a later step may touch is in doubt.
    `places` is where a container shows something else than its image, `mode` as in `recipe.landing`.
    """
    in_context = inside(change.path, build.context)
    if not file.blob or not in_context or dockerfile is None or owners.is_given(dockerfile):
        return False
    if over(file.target, places) is not None:
        return False
    landed = landing(dockerfile, in_context, target=build.target, mode=mode) or frozenset()
    inside_it = posixpath.join(file.target, posixpath.basename(change.path))  # if that is a folder
    return landed - {inside_it} == {file.target}


def is_wanted(spec: ServiceSpec, release: Release, verdict: Verdict) -> bool:
    """Whether a restart would drop what people ask for, and a new container beside the old one is as good."""
    is_restart = verdict.action is Action.RESTART and verdict.verbatim and not verdict.execs
    return is_restart and not spec.in_place and routed_port(spec, release) is not None


def base(before: ServiceSpec, observed: Observed) -> str:
    """The tag of an image with all files of the revision that serves; "" when there is none."""
    return next((tag for tag in (before.image, delta_tag(before.image)) if tag in observed.images), "")


def to_look_up(
    release: Release,
    previous: Release | None,
    decision: Decision | None,
    *,
    containers: Iterable[Container],
    synced: Mapping[str, Revision],
    known: Mapping[str, str],
) -> tuple[str, ...]:
    """Tags that matter beside those in `known`: each is a question to the engine, and most pushes need none of them."""
    asking = {one.service for one in decision.verdicts if one.verbatim} if decision is not None else set()
    ids = set(known.values())
    unknown = {one.service for one in containers if one.id not in synced and one.image_id not in ids}
    before = {spec.name: spec for spec in previous.services} if previous is not None else {}
    tags: list[str] = []
    for spec in release.services:
        if spec.build is None or spec.name not in asking | unknown:
            continue
        tags.append(delta_tag(spec.image))
        if (old := before.get(spec.name)) is not None:
            tags += [*([old.image] if spec.name in asking else ()), delta_tag(old.image)]
    return tuple(tag for tag in dict.fromkeys(tags) if tag not in known)
