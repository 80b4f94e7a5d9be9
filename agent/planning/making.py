"""What is missing before the first container of a revision may start: its release, images, worktree and containers.

Images come before anything that people can see: a broken build changes nothing.
"""

from __future__ import annotations

from agent.model.names import Revision
from agent.model.observed import ContainerState, Network, Observed
from agent.model.release import Release
from agent.planning.identity import current, outdated
from agent.planning.images import delta_tag
from agent.planning.plan import Step, Verb
from agent.planning.update import Move, Way, moves

_STOPPED = (ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD)


def make(target: Revision, observed: Observed, *, follows: bool) -> tuple[Step, ...]:
    """The next steps, side by side; none when all is there. `follows` is as for `prepare`."""
    steps = prepare(target, observed, follows=follows)
    if steps or observed.release is None:
        return steps
    return _create(observed.release, observed)


def prepare(target: Revision, observed: Observed, *, follows: bool) -> tuple[Step, ...]:
    """What comes before new containers, and needs no look at networks, ports or routes.

    Running containers get their files before the worktree does: people wait for the former. What they mount of the
    worktree comes first, for a restart must find it. With `follows`, a worktree that none mounts is left for the time
    when the target is live; unless it holds an edit: the deployment that overwrites it tells where that is kept.
    """
    release = observed.release
    if release is None or release.revision != target:
        return (Step(Verb.READ, target.short, "its compose file was not read yet"),)
    ways = moves(release, observed)
    saving = () if observed.release_saved else (Step(Verb.ADOPT, target.short, "nothing it was read from changed"),)
    is_mounted = any(spec.binds for spec in release.services)
    checkout = () if follows and not is_mounted and not observed.holds_edit else worktree(release, observed)
    images = _images(release, observed, ways)
    if any(step.verb is not Verb.TAG for step in images):
        return images + saving + (checkout if observed.checkout is None else ())
    moving = _in_place(ways)
    if moving and not (checkout and is_mounted):
        return moving
    return images + saving + checkout


def worktree(release: Release, observed: Observed) -> tuple[Step, ...]:
    """Bring it to the revision; nothing when it is there, or holds an edit that somebody still works on."""
    if observed.checkout is not None and observed.checkout in (release.revision, observed.edited):
        return ()
    cause = f"the worktree holds {observed.checkout.short if observed.checkout else 'nothing'}"
    return (Step(Verb.CHECKOUT, release.revision.short, cause),)


def _images(release: Release, observed: Observed, ways: tuple[Move, ...]) -> tuple[Step, ...]:
    steps: dict[str, Step] = {}
    for move in ways:
        spec = move.spec
        if move.way is Way.IN_PLACE:
            continue
        if move.way is Way.RETAG:
            cause = "nothing that it is built from changed"
            for old, new in move.tags:
                if new not in observed.images:
                    steps[new] = Step(Verb.TAG, spec.name, cause, (old, new))
        elif {spec.image, delta_tag(spec.image)} & observed.images.keys():
            continue
        elif move.way is Way.DELTA:
            steps[spec.image] = Step(Verb.DELTA, spec.name, _why_build(release, move), move.tags[0])
        elif spec.build is not None:
            steps[spec.image] = Step(Verb.BUILD, spec.name, _why_build(release, move), (spec.name,))
        else:
            steps[spec.image] = Step(Verb.PULL, spec.image, "not on this host", (spec.name,))
    return tuple(steps.values())


def _why_build(release: Release, move: Move) -> str:
    if move.verdict is None or not move.verdict.causes:
        return f"no image of {release.revision.short} yet"
    return "; ".join(str(cause) for cause in move.verdict.causes[:3])


def _in_place(ways: tuple[Move, ...]) -> tuple[Step, ...]:
    steps = []
    for move in ways:
        if move.way is not Way.IN_PLACE or move.verdict is None:
            continue
        causes = "; ".join(str(cause) for cause in move.verdict.causes[:3]) or "nothing of it changed"
        targets = tuple(container.id for container in move.containers)
        steps.append(Step(Verb.SYNC, move.spec.name, causes, targets))
    return tuple(steps)


def _create(release: Release, observed: Observed) -> tuple[Step, ...]:
    needed, causes = [], []
    for spec in release.services:
        if len(current(spec, observed)) < spec.replicas:
            needed.append(spec.name)
            causes.append(f"{spec.name} {'changed' if outdated(spec, observed) else 'has no container'}")
    stranded = _stranded(release, observed)
    if stranded:
        return stranded
    absent = sorted(set(release.networks) - set(observed.networks))
    if not needed and not absent:
        return ()
    causes += [f"network {name} is missing" for name in absent]
    return (Step(Verb.CREATE, ", ".join(needed) or "networks", "; ".join(causes), tuple(needed)),)


def _stranded(release: Release, observed: Observed) -> tuple[Step, ...]:
    """Containers that can never start again: the engine knows their network by an id that a new one does not have.

    `docker network prune` takes the networks of whatever sleeps.
    """
    steps = []
    for spec in release.services:
        mine = set(release.networks_of(spec.name)) & set(release.networks)
        for container in observed.containers:
            ended = spec.one_shot and container.exit_code == 0
            if container.service != spec.name or container.state not in _STOPPED or ended:
                continue
            if any(_is_gone(container.networks.get(name, ""), observed.networks.get(name)) for name in mine):
                steps.append(Step(Verb.REMOVE, container.name, "its network is gone", (container.id,)))
    return tuple(steps)


def _is_gone(known_as: str, network: Network | None) -> bool:
    return network is None or known_as not in ("", network.id)
