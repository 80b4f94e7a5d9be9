"""Awkward branch names: every name that git allows is put on stage under a name of its own, every other is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.eventually import eventually
from tests.support.theatre import Theatre

# The page is the branch as the container was told it: whatever expands or unescapes on the way shows here.
COMPOSE = r"""services:
  web:
    image: busybox:1.37
    ports: ["8080"]
    command: ["sh", "-c", "mkdir /www; echo \"$$BUTAI_BRANCH\" > /www/index.html; exec httpd -f -p 8080 -h /www"]
"""

SAFE = (
    *("main;touch${IFS}x", "$(touch${IFS}x)", "`id>x`", "a&b", "a|b", "a'b", 'a"b', "a{b}", "a!b", "a#b"),
    *("${HOME}", "{{7-7}}", "%s%n", "{0.__class__}", "<script>alert(1)</script>", "<!channel>"),
    *("HEAD", "FETCH_HEAD", "refs/heads/main", "origin/main-ish"),
    *("right\u202eleft", "m\u0430in", "zero\u200dwidth", "日本", "🚀", "___", "feature/é"),
    *("feature/x", "feature-x", "feature_x", "Feature/X"),
    *("l" * 70 + "-one", "l" * 70 + "-two", "n/" + "o" * 240),
    *("www", "api", "agent", "traefik", "_acme-challenge", "butai"),
    *("1234", "true", "null", "1e3", "v1.0"),
)
REFUSED = (
    *("--upload-pack=touch x", "-x", "--", "-c core.sshCommand=id"),
    *("*", "feature/*", "..", "a..b", "../../etc/passwd", "main.lock", "a@{1}", "a~1", "a:b"),
    *("main\n", "main\x1b[2J", "", " ", "a b", "a\tb"),
)


@pytest.mark.parametrize("name", REFUSED, ids=repr)
def test_what_cannot_be_a_branch_is_refused_before_anything_happens(theatre: Theatre, name: str) -> None:
    before = theatre.on_stage()

    answer = theatre.agent.send("/environments", {"branch": name, "project": "tiny"}, check=False)

    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]
    assert theatre.on_stage() == before


@pytest.mark.parametrize("name", ["--upload-pack=touch x", "main\n"], ids=repr)
def test_what_cannot_be_a_branch_is_refused_on_the_terminal_too(theatre: Theatre, name: str) -> None:
    done = theatre.agent.cli("deploy", "--project", "tiny", "--", name, check=False)

    assert done.returncode == 2
    assert done.stderr.strip()


@pytest.fixture(scope="module", name="stages")
def stages_fixture(theatre: Theatre) -> Iterator[Theatre]:
    """All of them on stage at once: more than Docker's default pools have room for."""
    repository = theatre.git.create("names", {"compose.yaml": COMPOSE})
    main = repository.revision("main")
    assert main is not None
    repository.branch_many(SAFE, main)
    theatre.agent.configure(projects={"names": {"remote": theatre.git.url("names")}})
    eventually(lambda: "names" in {one["name"] for one in theatre.agent.ask("/projects")["projects"]}, 15)
    for branch in SAFE:
        theatre.agent.send("/environments", {"branch": branch, "project": "names"})
    eventually(lambda: _unfinished(theatre) == {}, 240, pause_s=0.5)
    yield theatre
    for branch in SAFE:
        theatre.agent.send(f"/environments/{theatre.slug('names', branch)}", method="DELETE")


def _unfinished(theatre: Theatre) -> dict[str, str]:
    listed = theatre.agent.ask("/environments", project="names")["environments"]
    phases = {one["environment"]["branch"]: one["deployment"] for one in listed}
    failed = {branch: last["failure"] for branch, last in phases.items() if last["phase"] == "failed"}
    if failed:
        pytest.fail(f"these cannot be put on stage: {failed}")
    return {branch: last["phase"] for branch, last in phases.items() if last["phase"] != "ready"}


def test_each_name_has_an_address_of_its_own_and_reaches_its_container_as_it_is(stages: Theatre) -> None:
    slugs = {branch: stages.slug("names", branch) for branch in SAFE}

    assert len(set(slugs.values())) == len(SAFE)
    for branch, slug in slugs.items():
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", slug), branch
        assert stages.agent.visit(slug).text == f"{branch}\n"


def test_nothing_in_a_name_was_run(stages: Theatre) -> None:
    """`x` is what the hostile ones would make."""
    state = stages.agent.state_dir
    places = [
        stages.agent.base_dir,
        stages.agent.base_dir / "home",
        state,
        *state.glob("checkouts/*"),
        *state.iterdir(),
    ]

    assert [place for place in places if (place / "x").exists()] == []


def test_reserved_names_stay_ours(stages: Theatre) -> None:
    for name in ("www", "api", "agent", "traefik", "butai"):
        assert stages.slug("names", name) != name


def test_what_looks_like_something_else_is_shown_so_that_one_sees_it(stages: Theatre) -> None:
    listed = stages.agent.cli("list", "--project", "names").stdout

    assert "right\\u202eleft" in listed
    assert "\u202e" not in listed
    assert "\u200d" not in listed


def test_the_branch_wins_over_a_tag_of_the_same_name(stages: Theatre) -> None:
    repository = stages.repository("names")
    tagged = repository.commit("v1.0", {"compose.yaml": COMPOSE.replace("BUTAI_BRANCH", "BUTAI_URL")}, base="main")
    repository.point("refs/tags/v1.0", tagged)
    repository.commit("v1.0", {"compose.yaml": COMPOSE, "later": "than the tag"})

    slug = stages.deploy("names", "v1.0")

    assert stages.agent.visit(slug).text == "v1.0\n"
    newest = repository.revision("v1.0")
    eventually(lambda: stages.agent.visit(slug).headers["X-Butai-Revision"] == newest, 5)


def test_a_name_that_only_ends_like_a_branch_is_no_branch(stages: Theatre) -> None:
    """`ls-remote` matches suffixes."""
    done = stages.agent.cli("deploy", "origin/main", "--project", "names", check=False)

    assert done.returncode != 0
    assert "No branch `origin/main`" in done.stderr
