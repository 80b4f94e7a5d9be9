"""Nouns with sensible defaults, so that a test about plans says only what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from agent.model.deployment import Deployment, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.model.observed import Container, ContainerState, Health, Network, Observed
from agent.model.release import Condition, Dependency, Release, ServiceSpec

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
R1 = Revision("1" * 40)
R2 = Revision("2" * 40)
SLUG = Slug("feature-x")


def environment(**changes: object) -> Environment:
    base = Environment(
        slug=SLUG,
        project="shop",
        branch="feature/x",
        wanted=Wanted.RUNNING,
        block=1,
        created_at=NOW,
        created_by="unix:anna",
        request=1,
        fetched=1,
        revision=R1,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def deployment(**changes: object) -> Deployment:
    base = Deployment(
        id=7,
        slug=SLUG,
        project="shop",
        branch="feature/x",
        cause="asked by anna",
        caller="unix:anna",
        phase=Phase.STARTING,
        started_at=NOW,
        revision=R1,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def service(name: str, *needs: str, **changes: object) -> ServiceSpec:
    """`needs` are "db" (started), "db:healthy" or "migrate:done", each with `+` for `restart: true`."""
    conditions = {"": Condition.STARTED, "healthy": Condition.HEALTHY, "done": Condition.COMPLETED}
    depends_on = tuple(
        Dependency(other, conditions[condition], restart=need.endswith("+"))
        for need in needs
        for other, _, condition in (need.rstrip("+").partition(":"),)
    )
    base = ServiceSpec(name=name, image=f"{name}:1", build=None, config_hash=f"hash-{name}", depends_on=depends_on)
    return replace(base, **changes)  # type: ignore[arg-type]


def release(*services: ServiceSpec, revision: Revision = R1, entry: str = "web", port: int = 8000) -> Release:
    network = "butai-feature-x_default"
    return Release(
        slug=SLUG,
        stack="butai-feature-x",
        revision=revision,
        services=services,
        model={
            "services": {spec.name: {"networks": {"default": None}} for spec in services},
            "networks": {"default": {"name": network}},
        },
        networks=(network,),
        entry_service=entry,
        entry_port=port,
    )


def container(spec: ServiceSpec, state: str = "running", **changes: object) -> Container:
    """A container that is current for `spec`, with the image "sha-<service>", unless `changes` say otherwise."""
    health = Health(str(changes.pop("health", "none")))
    config = changes.pop("config", spec.config_hash)
    number = int(changes.pop("number", 1))  # type: ignore[call-overload]
    base = Container(
        id=f"{spec.name}-{number}",
        name=f"butai-feature-x-{spec.name}-{number}",
        service=spec.name,
        number=number,
        state=ContainerState(state),
        health=health,
        exit_code=None,
        image_id=f"sha-{spec.name}",
        created_at=1000 + number,
        labels={"butai.config": str(config), "butai.slug": SLUG},
        addresses={"butai-feature-x_default": "10.200.0.131"},
        networks={"butai-feature-x_default": "id-butai-feature-x_default"},
        status=state.capitalize(),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def networks(of: Release, *others: str) -> dict[str, Network]:
    return {name: Network(f"id-{name}", ()) for name in (*of.networks, *others)}


def observed(of: Release | None, *containers: Container, **changes: object) -> Observed:
    """A world with every image, network and the checkout in place for `of`."""
    base = Observed(
        containers=containers,
        networks=networks(of) if of else {},
        images={spec.image: f"sha-{spec.name}" for spec in of.services} if of else {},
        release=of,
        checkout=of.revision if of else None,
        edge_networks=frozenset(of.networks) if of else frozenset(),
    )
    return replace(base, **changes)  # type: ignore[arg-type]
