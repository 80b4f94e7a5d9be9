"""Slugs are labels, readable where they can be, and enough of them that no two branches must share one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.names import Slug
from agent.model.slug import LONGEST, RESERVED, service_label, slug_for

SLUG = Slug("feature-x")


def first(branch: str, **more: str) -> str:
    return next(slug_for(branch, **more))


@pytest.mark.parametrize(
    ("branch", "slug"),
    [
        ("main", "main"),
        ("feature/x", "feature-x"),
        ("Feature/X", "feature-x"),
        ("feature_x", "feature-x"),
        ("fix--double--hyphens", "fix-double-hyphens"),
        ("release/1.2.3", "release-1-2-3"),
        ("café/déjà-vu", "cafe-deja-vu"),
        ("1234", "1234"),
        ("true", "true"),
        ("null", "null"),
        ("1e3", "1e3"),
        ("xn--nxasmq6b", "xn-nxasmq6b"),
        ("main;touch${IFS}x", "main-touch-ifs-x"),
        ("$(touch${IFS}x)", "touch-ifs-x"),
        ("{{7*7}}", "7-7"),
        ("%s%n", "s-n"),
        ("{0.__class__}", "0-class"),
        ("{project}", "project"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("<!channel>", "channel"),
        ("a\u202eb", "a-b"),
        ("HEAD", "head"),
    ],
)
def test_a_slug_reads_like_its_branch(branch: str, slug: str) -> None:
    assert first(branch) == slug


@pytest.mark.parametrize("branch", ["日本", "🚀", "___", "...", "\u200d"])
def test_a_branch_without_a_plain_letter_gets_a_slug_from_its_hash(branch: str) -> None:
    assert re.fullmatch(r"branch-[0-9a-f]{6}", first(branch))


@pytest.mark.parametrize("branch", ["www", "api", "agent", "traefik", "_acme-challenge", "butai", "WWW", "localhost"])
def test_reserved_names_are_never_a_slug(branch: str) -> None:
    assert not RESERVED & set(slug_for(branch))
    assert re.fullmatch(r"[a-z-]+-[0-9a-f]{6}", first(branch))


def test_branches_that_read_the_same_can_all_have_a_slug() -> None:
    taken: set[Slug] = set()
    for branch in ("feature/x", "feature-x", "feature_x", "Feature/X"):
        taken.add(next(slug for slug in slug_for(branch) if slug not in taken))
    assert len(taken) == 4
    assert "feature-x" in taken


def test_long_names_that_begin_alike_differ() -> None:
    one, two = first("a" * 79 + "1"), first("a" * 79 + "2")
    assert one != two
    assert len(one) == len(two) == LONGEST


def test_one_branch_name_in_two_projects_has_different_second_choices() -> None:
    assert not set(list(slug_for("main", project="a"))[1:]) & set(list(slug_for("main", project="b"))[1:])


def test_the_template_joins_project_and_branch() -> None:
    template = "{project}-{branch}"
    assert first("feature/x", project="shop", template=template) == "shop-feature-x"
    assert re.fullmatch(r"shop-branch-[0-9a-f]{6}", first("日本", project="shop", template=template))


@pytest.mark.parametrize(
    ("service", "label"),
    [
        ("api", "feature-x--api"),
        ("my_service", "feature-x--my-service"),
        ("Web.2", "feature-x--web-2"),
    ],
)
def test_a_service_has_a_label_beside_its_environment(service: str, label: str) -> None:
    assert service_label(SLUG, service, siblings=["api", "my_service", "Web.2"]) == label


def test_services_that_read_the_same_have_different_labels() -> None:
    names = ["a_b", "a-b", "a.b"]
    labels = {service_label(SLUG, name, siblings=names) for name in names}
    assert len(labels) == 3


@given(
    branch=st.text(), project=st.text(max_size=20), template=st.sampled_from(["{branch}", "{project}-{branch}", "x"])
)
def test_every_candidate_is_a_label_that_no_service_can_have(branch: str, project: str, template: str) -> None:
    candidates = list(slug_for(branch, project=project, template=template))
    assert candidates == list(slug_for(branch, project=project, template=template))
    assert len(candidates) == len(set(candidates)) >= 4
    for slug in candidates:
        assert Slug(slug) == slug
        assert len(slug) <= LONGEST
        assert "--" not in slug
        assert slug not in RESERVED


@given(service=st.text(), branch=st.text())
def test_every_service_label_is_one_and_is_no_slug(service: str, branch: str) -> None:
    for slug in slug_for(branch):
        label = service_label(slug, service)
        assert Slug(label) == label
        assert label.startswith(f"{slug}--")
