"""What Compose is given to create: the checked model with the labels of the moment, and how many of each."""

from __future__ import annotations

from agent.model.labels import CONFIG, DEPLOYMENT, REVISION, SALT, WORKTREE
from agent.planning.images import delta_tag
from agent.runtime.create import create_model, scale
from tests.support.plans import R1, container, deployment, environment, observed, release, service

WEB = service("web", replicas=2)
DB = service("db")
SHOP = release(DB, WEB)


def test_the_labels_of_a_container_are_those_by_which_the_next_look_knows_it() -> None:
    world = observed(SHOP, checkout_identity="first")
    model = create_model(environment(salt=3), SHOP, deployment(id=12), world)
    assert model["services"]["web"]["labels"] == {
        CONFIG: WEB.config_hash,
        REVISION: R1,
        SALT: "3",
        DEPLOYMENT: "12",
        WORKTREE: "first",
    }


def test_a_delta_image_stands_in_until_the_full_one_is_there() -> None:
    images = observed(SHOP).images
    instead = {name: image for name, image in images.items() if name != WEB.image} | {delta_tag(WEB.image): "sha-delta"}
    made = create_model(environment(), SHOP, None, observed(SHOP, images=instead))
    assert made["services"]["web"]["image"] == delta_tag(WEB.image)
    both = create_model(environment(), SHOP, None, observed(SHOP, images={**images, **instead}))
    assert "image" not in both["services"]["web"]  # as the release has it


def test_the_release_itself_stays_as_it_is() -> None:
    create_model(environment(), SHOP, None, observed(SHOP))
    assert "labels" not in SHOP.model["services"]["web"]


def test_every_service_is_named_since_compose_removes_what_is_above_its_number() -> None:
    world = observed(SHOP, container(DB), container(WEB), container(WEB, number=2))
    assert scale(SHOP, world, ()) == {"db": 1, "web": 2}


def test_new_containers_come_beside_the_old_ones() -> None:
    world = observed(SHOP, container(DB), container(WEB, config="older"), container(WEB, config="older", number=2))
    assert scale(SHOP, world, ("web",)) == {"db": 1, "web": 4}


def test_what_is_there_already_counts() -> None:
    world = observed(SHOP, container(DB), container(WEB, config="older"), container(WEB, number=2))
    assert scale(SHOP, world, ("web",)) == {"db": 1, "web": 3}


def test_a_service_that_nobody_needs_now_gets_none() -> None:
    assert scale(SHOP, observed(SHOP), ("db",)) == {"db": 1, "web": 0}


def test_containers_of_a_service_that_the_compose_file_lost_are_not_named() -> None:
    world = observed(SHOP, container(DB), container(service("gone")))
    assert scale(SHOP, world, ()) == {"db": 1, "web": 0}
