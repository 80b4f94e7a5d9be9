"""The engine that tests of the caretaker turn by hand and Docker agree on what goes and what stays."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import docker
import pytest

from agent.adapters.docker import DockerEngine
from agent.model.care import StoredImage
from agent.model.labels import INSTANCE, SLUG
from agent.runtime.care_ports import CareEngine
from tests.support.careworld import FakeCareEngine
from tests.support.fakes_api import container
from tests.support.run import RUN_LABEL, run_id

HOST = "unix:///var/run/docker.sock"


class Place(Protocol):
    engine: CareEngine
    instance: str

    def make(self, *tags: str) -> str:
        """An image with these tags; its id."""
        ...

    def use(self, image_id: str) -> None:
        """Make a container from it."""
        ...


@dataclass
class FakePlace:
    engine: FakeCareEngine = field(default_factory=FakeCareEngine)
    instance: str = "tests"

    def make(self, *tags: str) -> str:
        image_id = f"sha256:{secrets.token_hex(8)}"
        now = datetime.now(UTC)
        self.engine.put(StoredImage(image_id, tags, now, 100, {INSTANCE: self.instance, SLUG: "main"}))
        return image_id

    def use(self, image_id: str) -> None:
        self.engine.running.append(container("main", image_id=image_id))


@dataclass
class DockerPlace:
    """Everything of it carries this run's label, and an instance of its own."""

    client: docker.APIClient = field(default_factory=lambda: docker.APIClient(HOST))
    engine: DockerEngine = field(default_factory=lambda: DockerEngine(HOST, "tests"))
    instance: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")
    made: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)

    def make(self, *tags: str) -> str:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            info = tarfile.TarInfo("who")
            info.size = 16
            tar.addfile(info, io.BytesIO(secrets.token_hex(8).encode()))
        labels = {INSTANCE: self.instance, SLUG: "main", RUN_LABEL: run_id()}
        changes = ['CMD ["/who"]', *(f"LABEL {name}={value}" for name, value in labels.items())]
        answer = self.client.import_image_from_data(data.getvalue(), changes=changes)
        image_id = str(answer).split('"status":"')[1].split('"')[0]
        self.made.append(image_id)
        for tag in tags:
            self.client.tag(image_id, *tag.rsplit(":", 1))
        return image_id

    def use(self, image_id: str) -> None:
        made = self.client.create_container(image_id, labels={RUN_LABEL: run_id()})
        self.containers.append(made["Id"])

    def close(self) -> None:
        for each in self.containers:
            self.client.remove_container(each, force=True)
        left = {image["Id"] for image in self.client.images(filters={"label": f"{INSTANCE}={self.instance}"})}
        for image_id in left:
            self.client.remove_image(image_id, force=True)
        self.client.close()


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        yield FakePlace()
        return
    made = DockerPlace()
    yield made
    made.close()


def stored(place: Place) -> dict[str, StoredImage]:
    return {image.id: image for image in place.engine.stored_images({INSTANCE: place.instance})}


def test_images_are_listed_with_their_names_their_labels_and_their_age(place: Place) -> None:
    tag = f"{place.instance}/main/web:1"
    dangling, named = place.make(), place.make(tag)
    found = stored(place)
    assert set(found) == {dangling, named}
    assert (found[dangling].tags, found[named].tags) == ((), (tag,))
    assert found[named].labels[SLUG] == "main"
    assert found[named].size_bytes > 0
    assert abs(found[named].created_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_what_no_container_uses_goes_and_going_twice_is_fine(place: Place) -> None:
    image_id = place.make()
    assert place.engine.drop_image(image_id)
    assert place.engine.drop_image(image_id)
    assert stored(place) == {}


def test_what_a_container_was_made_from_stays(place: Place) -> None:
    image_id = place.make()
    place.use(image_id)
    assert not place.engine.drop_image(image_id)
    assert image_id in stored(place)
    assert image_id in {container.image_id for container in place.engine.containers({})}


def test_an_image_goes_with_its_last_name(place: Place) -> None:
    tags = [f"{place.instance}/main/web:{number}" for number in (1, 2)]
    image_id = place.make(*tags)
    place.engine.untag(tags[0])
    assert stored(place)[image_id].tags == (tags[1],)
    place.engine.untag(tags[1])
    assert stored(place) == {}


def test_a_cache_below_its_bound_is_left_alone(place: Place) -> None:
    """The bound is far above anything here: on a shared engine nobody loses anything."""
    before = place.engine.cache_bytes()
    assert place.engine.prune_cache(1 << 60) == 0
    assert before >= 0


def test_an_engine_tells_about_itself(place: Place) -> None:
    figures = place.engine.figures()
    assert figures.version
    assert figures.places["engine"].startswith("/")
    assert all(count >= 0 for count in figures.containers.values())
    assert figures.images >= 0
