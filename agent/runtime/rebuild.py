"""Brings back a lost database from what Docker and Traefik's folder still say.

Only what is missing is written, and nothing in the world is touched: the next start of the agent looks
at everything and goes on from there. History and Slack threads are lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from agent.config import Settings
from agent.model.environment import Environment, Wanted
from agent.model.labels import BRANCH, INSTANCE, PROJECT, REVISION, SALT, SLUG
from agent.model.names import Revision, Slug
from agent.model.observed import Container
from agent.planning.addresses import block_count, block_of
from agent.runtime.ports import Clock, Edge, Engine
from agent.store import Store


def rebuild(*, settings: Settings, store: Store, engine: Engine, edge: Edge, clock: Clock) -> tuple[Environment, ...]:
    """Write a row for every environment that has containers and no row; those written, by slug.

    OutsideError when Docker does not answer: half a listing rebuilds nothing.
    """
    by_slug: dict[str, list[Container]] = defaultdict(list)
    for container in engine.containers({INSTANCE: settings.instance, SLUG: ""}):
        by_slug[container.label_slug].append(container)
    written = []
    taken = {environment.block for environment in store.environments.all()}
    for name, containers in sorted(by_slug.items()):
        slug = Slug(name)
        if store.environments.get(slug) is not None:
            continue
        block = _block(slug, settings, engine, taken)
        taken.add(block)
        environment = _environment(slug, containers, block=block, edge=edge, now=clock.now())
        written.append(store.environments.restore(environment))
    if written:
        names = ", ".join(environment.slug for environment in written)
        store.events.add("rebuilt", caller="agent", text=f"read back from Docker: {names}", now=clock.now())
    return tuple(written)


def _environment(slug: Slug, containers: Sequence[Container], *, block: int, edge: Edge, now: datetime) -> Environment:
    newest = max(containers, key=lambda container: (container.running, container.created_at))
    table = edge.read(slug)
    revision = table.revision if table is not None and table.revision is not None else None
    if revision is None and newest.labels.get(REVISION):
        revision = Revision(newest.labels[REVISION])
    awake = any(container.running for container in containers)
    salt = int(newest.labels.get(SALT, "0"))
    return Environment(
        slug=slug,
        project=newest.labels[PROJECT],
        branch=newest.labels[BRANCH],
        wanted=Wanted.RUNNING if awake else Wanted.ASLEEP,
        block=block,
        created_at=min([datetime.fromtimestamp(container.created_at, UTC) for container in containers], default=now),
        created_by="rebuild-database",
        salt=salt,
        request=1,  # and `fetched` is 0: the branch is read again at the first look
        revision=revision,
        deployed_revision=revision,
        deployed_salt=salt,
    )


def _block(slug: Slug, settings: Settings, engine: Engine, taken: set[int]) -> int:
    """The block that its networks lie in, so that they keep their addresses; else the lowest free one."""
    pool, prefix = settings.docker.address_pool, settings.docker.block_prefix
    for network in engine.networks({INSTANCE: settings.instance, SLUG: slug}).values():
        for subnet in network.subnets:
            block = block_of(subnet, pool, prefix)
            if block is not None and block not in taken:
                return block
    return next(block for block in range(block_count(pool, prefix)) if block not in taken)
