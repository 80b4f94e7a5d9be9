"""Which images are made, and in which order, must follow from the recipes and from what is there."""

from pathlib import Path

import pytest

from tools import images
from tools.apt import Source
from tools.images import Present, in_order, missing, parents, recipes_of
from tools.rootfs import image_sources


def test_a_dockerfile_stands_on_its_images_but_not_on_its_own_stages() -> None:
    text = "FROM python:3.11-slim AS fetch\nRUN x\nFROM fetch as more\nFROM scratch\nFROM debian:12\nFROM debian:12\n"
    assert parents(text) == ("python:3.11-slim", "debian:12")


def test_what_an_image_stands_on_comes_before_it_and_the_order_of_need_holds_otherwise() -> None:
    stands_on = {"busybox": ("debian",), "traefik": ("python",), "python": ("debian",), "redis": ()}
    assert in_order(["busybox", "traefik", "redis", "debian"], stands_on) == (
        "debian",
        "busybox",
        "python",
        "traefik",
        "redis",
    )


def test_only_what_is_absent_or_was_built_from_another_recipe_is_missing() -> None:
    present = [Present("pulled", None), Present("same", "r1"), Present("old", "r0")]
    recipes = {"pulled": "r1", "same": "r1", "old": "r1", "absent": "r1"}
    assert missing(recipes, present, recipes) == ("old", "absent")


def test_a_changed_recipe_changes_the_images_that_stand_on_it_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "RECIPES_DIR", tmp_path)
    for name in ("below", "above", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(name)
    folders = {name: name for name in ("below", "above", "beside")}
    stands_on = {"below": (), "above": ("below",), "beside": ()}
    before = recipes_of(folders, stands_on)
    (tmp_path / "below" / "Dockerfile").write_text("changed")
    after = recipes_of(folders, stands_on)
    assert {name for name in folders if before[name] != after[name]} == {"below", "above"}


def test_every_recipe_of_the_repository_stands_on_images_that_are_known() -> None:
    for folder in filter(None, images.IMAGES.values()):
        text = (images.RECIPES_DIR / folder / "Dockerfile").read_text(encoding="utf-8")
        assert set(parents(text)) <= set(images.IMAGES), folder


def test_an_answer_of_the_registry_is_told_from_a_failure_of_the_network() -> None:
    assert images.ANSWERED.search("manifest for x:1 not found: manifest unknown")
    assert not images.ANSWERED.search("dial tcp: lookup registry.test: no such host")
    assert not images.ANSWERED.search("net/http: request canceled while waiting for connection")


def test_the_base_image_uses_the_machines_mirrors_for_the_suites_that_they_have() -> None:
    sources = (Source("http://mirror.test/debian", ("bookworm", "trixie"), ("main",)),)
    assert image_sources(sources) == "deb http://mirror.test/debian bookworm main\n"
    assert image_sources(()) == ""
