"""Looks at git, Docker and Traefik's folder once each, and returns one frozen snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.config import Settings
from agent.model.change import Decision
from agent.model.environment import Environment, Wanted
from agent.model.labels import INSTANCE, SLUG
from agent.model.names import Revision, Slug
from agent.model.observed import Container, Observed
from agent.model.release import Release
from agent.model.route import Backend, RouteTable
from agent.planning import delta, drain
from agent.planning.adopt import adopted
from agent.planning.reconcile import QUIET_S, Context
from agent.planning.rollout import routed_port
from agent.runtime.attempts import Attempts
from agent.runtime.build import Builder
from agent.runtime.decider import Decider
from agent.runtime.drains import Drains
from agent.runtime.livesync import Livesync
from agent.runtime.ports import Clock, Edge, Engine, Git, Probe
from agent.runtime.reader import Reader
from agent.store import Store


@dataclass(frozen=True, slots=True)
class _Way:
    release: Release | None
    previous: Release | None = None
    decision: Decision | None = None
    is_saved: bool = True


class Observer:
    """One snapshot a call; raises OutsideError when any listing is incomplete, so nothing is decided on half a view."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        git: Git,
        engine: Engine,
        edge: Edge,
        reader: Reader,
        attempts: Attempts,
        clock: Clock,
        probe: Probe,
        store: Store,
        decider: Decider,
        builder: Builder,
        livesync: Livesync,
        drains: Drains,
    ) -> None:
        self._settings = settings
        self._git = git
        self._engine = engine
        self._edge = edge
        self._reader = reader
        self._attempts = attempts
        self._clock = clock
        self._probe = probe
        self._store = store
        self._decider = decider
        self._builder = builder
        self._livesync = livesync
        self._drains = drains

    def context(self, environment: Environment) -> Context:
        """What the plan needs beside the snapshot."""
        settings = self._settings()
        project = settings.projects.get(environment.project)
        fingerprint = settings.fingerprint(environment.project) if project is not None else ""
        return Context(settings=settings, fingerprint=fingerprint, now=self._clock.now())

    def release(self, environment: Environment) -> Release | None:
        """The prepared release of the revision to converge on, if it was read already."""
        target = self._target(environment)
        return None if target is None else self._reader.load(environment, target)

    def _target(self, environment: Environment) -> Revision | None:
        context = self.context(environment)
        if environment.project not in context.settings.projects:
            return None
        return environment.target(context.fingerprint)

    def _way(self, environment: Environment) -> _Way:
        """The release to converge on, and how it differs from the one that serves."""
        target, release = self._target(environment), self.release(environment)
        serves = environment.deployed_revision
        if target is None or serves is None or serves == target or environment.salt != environment.deployed_salt:
            return _Way(release)
        previous = self._reader.load(environment, serves)
        if previous is None:
            return _Way(release)
        if release is None:
            decision = self._decider.decide(environment, previous, target, None)
            if decision.reread or any(verdict.recreate for verdict in decision.verdicts):
                return _Way(None)
            derived = adopted(previous, target)
            return _Way(derived, previous, decision if derived is not None else None, is_saved=derived is None)
        return _Way(release, previous, self._decider.decide(environment, previous, target, release))

    def glance(self, environment: Environment) -> Observed:
        """What decides whether something must be built or brought up to date: half of a snapshot, for `complete`."""
        settings = self._settings()
        slug = environment.slug
        way = _Way(None) if environment.wanted is Wanted.ABSENT else self._way(environment)
        release = way.release
        containers = self._engine.containers({INSTANCE: settings.instance, SLUG: slug})
        synced = self._store.synced.of(slug)
        started, deaths, starting_s = self._attempts.of(slug)
        return Observed(
            containers=containers,
            images=self._images(way, containers, synced),
            own_images=None,
            release=release,
            checkout=self._git.checkout_revision(environment.project, slug),
            checkout_identity=self._git.checkout_identity(environment.project, slug),
            edited=environment.edited,
            holds_edit=self._git.holds_edit(environment.project, slug),
            previous=way.previous,
            decision=way.decision,
            release_saved=way.is_saved,
            synced=synced,
            unfit=self._livesync.unfit(slug, release.revision) if release is not None else frozenset(),
            started=started,
            deaths=deaths,
            starting_s=starting_s,
            hopeless=self._builder.hopeless(),
        )

    def _images(
        self, way: _Way, containers: tuple[Container, ...], synced: Mapping[str, Revision]
    ) -> Mapping[str, str]:
        """Tag -> image id, of those on which the plan depends; each question costs the way of a push a millisecond."""
        release, before = way.release, way.previous
        if release is None:
            return {}
        wanted = {spec.name: spec.image for spec in release.services}
        images = self._image_ids(wanted.values())
        if before is not None:
            images |= self._image_ids(
                spec.image
                for spec in before.services
                if spec.image not in wanted.values()
                and not _is_settled(
                    before.revision, spec.name, containers, synced, image_id=images.get(wanted.get(spec.name, ""))
                )
            )
        further = delta.to_look_up(release, before, way.decision, containers=containers, synced=synced, known=images)
        return {**images, **self._image_ids(further)}

    def _image_ids(self, tags: Iterable[str]) -> dict[str, str]:
        """Of those that exist."""
        return {tag: image_id for tag in dict.fromkeys(tags) if (image_id := self._engine.image_id(tag))}

    def complete(self, environment: Environment, half: Observed, *, probing: bool, tidying: bool) -> Observed:
        """Everything the plan of this environment may depend on, now; `probing` asks ports and Traefik as well.

        `tidying` also looks for what may be left over. The engine reads every image that it has for that, which
        takes it a tenth of a second where there are a few hundred: nobody who waits for a page waits for that.
        """
        slug = environment.slug
        labels = {INSTANCE: self._settings().instance, SLUG: slug}
        own_images = self._engine.images(labels) if tidying else None
        routed = self._edge.read(slug)
        observed = replace(
            half,
            networks=self._engine.networks(labels),
            volumes=self._engine.volumes(labels) if tidying else (),
            images={**(own_images or {}), **half.images},
            own_images=tuple(own_images) if own_images is not None else None,
            routed=routed,
            edge_networks=self._edge.joined(),
            listening=self._listening(half.release, half.containers) if probing else frozenset(),
            confirmed=probing and self._confirmed(routed),
            has_files=self._reader.has_files(slug) or self._git.checkout_dir(environment.project, slug).exists(),
            is_quiet=self._is_quiet(slug, half.containers),
        )
        release = half.release
        if release is None or routed is None or (probing and not observed.confirmed):
            return observed  # requests still go where they went
        leaving = drain.leaving(release, observed)
        return replace(observed, draining=self._drains.look(slug, leaving, containers=half.containers))

    def observe(self, environment: Environment, *, probing: bool, tidying: bool) -> Observed:
        """A whole snapshot at once."""
        return self.complete(environment, self.glance(environment), probing=probing, tidying=tidying)

    def _is_quiet(self, slug: Slug, containers: Iterable[Container]) -> bool:
        """Whether it is time for work that nobody waits for."""
        now = self._clock.now()
        last_at = self._store.synced.last_at(slug)
        if last_at is not None and (now - last_at).total_seconds() < QUIET_S:
            return False
        return all(now.timestamp() - container.created_at >= QUIET_S for container in containers)

    def _listening(self, release: Release | None, containers: Sequence[Container]) -> frozenset[str]:
        """Containers whose routed port accepts a connection, asked from the host side of their network."""
        if release is None:
            return frozenset()
        ports = {spec.name: routed_port(spec, release) for spec in release.services}
        asked = [
            (container.id, next(iter(container.addresses.values())), port)
            for container in containers
            if container.running and container.addresses and (port := ports.get(container.service))
        ]
        return frozenset(identifier for identifier, address, port in asked if self._probe(address, port))

    def _confirmed(self, routed: RouteTable | None) -> bool:
        if routed is None or routed.backend is not Backend.CONTAINERS or not routed.routes:
            return False
        return self._edge.confirms(routed)


def _is_settled(
    revision: Revision,
    service: str,
    containers: Sequence[Container],
    synced: Mapping[str, Revision],
    *,
    image_id: str | None,
) -> bool:
    """Whether nothing depends on the image that a service had: it runs on copied files, or from its new one."""
    own = [container for container in containers if container.service == service]
    is_copied = all(container.running and synced.get(container.id) == revision for container in own)
    is_there = all(container.image_id == image_id and container.id not in synced for container in own)
    return bool(own) and (is_copied or is_there)
