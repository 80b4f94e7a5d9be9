"""Looks at git, Docker and Traefik's folder once each, and returns one frozen snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.config import Settings
from agent.model.environment import Environment, Wanted
from agent.model.labels import INSTANCE, SLUG
from agent.model.observed import Container, Observed
from agent.model.release import Release
from agent.model.route import Backend, RouteTable
from agent.planning.reconcile import Context
from agent.planning.rollout import routed_port
from agent.runtime.attempts import Attempts
from agent.runtime.ports import Clock, Edge, Engine, Git, Probe
from agent.runtime.reader import Reader


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
    ) -> None:
        self._settings = settings
        self._git = git
        self._engine = engine
        self._edge = edge
        self._reader = reader
        self._attempts = attempts
        self._clock = clock
        self._probe = probe

    def context(self, environment: Environment) -> Context:
        """What the plan needs beside the snapshot."""
        settings = self._settings()
        project = settings.projects.get(environment.project)
        fingerprint = settings.fingerprint(environment.project) if project is not None else ""
        return Context(settings=settings, fingerprint=fingerprint, now=self._clock.now())

    def release(self, environment: Environment) -> Release | None:
        """The prepared release of the revision to converge on, if it was read already."""
        context = self.context(environment)
        if environment.project not in context.settings.projects:
            return None
        target = environment.target(context.fingerprint)
        return None if target is None else self._reader.load(environment, target)

    def observe(self, environment: Environment, *, probing: bool) -> Observed:
        """Everything the plan of this environment may depend on, now; `probing` asks ports and Traefik as well."""
        settings = self._settings()
        slug = environment.slug
        labels = {INSTANCE: settings.instance, SLUG: slug}
        release = None if environment.wanted is Wanted.ABSENT else self.release(environment)
        containers = self._engine.containers(labels)
        own_images = self._engine.images(labels)
        images = dict(own_images)
        for spec in release.services if release is not None else ():
            if spec.image not in images and (image_id := self._engine.image_id(spec.image)):
                images[spec.image] = image_id
        started, deaths, starting_s = self._attempts.of(slug)
        routed = self._edge.read(slug)
        listening = self._listening(release, containers) if probing else frozenset()
        return Observed(
            containers=containers,
            networks=tuple(self._engine.networks(labels)),
            volumes=self._engine.volumes(labels),
            images=images,
            own_images=tuple(own_images),
            release=release,
            checkout=self._git.checkout_revision(environment.project, slug),
            routed=routed,
            edge_networks=self._edge.joined(),
            listening=listening,
            confirmed=probing and self._confirmed(routed),
            has_files=self._reader.has_files(slug) or self._git.checkout_dir(environment.project, slug).exists(),
            started=started,
            deaths=deaths,
            starting_s=starting_s,
        )

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
