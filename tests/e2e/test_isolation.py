"""Ten branches of one project side by side: the same service names, the same ports, and nothing shared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.eventually import eventually
from tests.support.theatre import Theatre

BRANCHES = tuple(f"act/{number}" for number in range(10))


@pytest.fixture(scope="module", name="slugs")
def slugs_fixture(theatre: Theatre) -> Iterator[dict[str, str]]:
    """All ten asked for at once; their slugs, once every one of them answers."""
    for branch in BRANCHES:
        theatre.push("classic", branch, {"shop/page.py": f'HEADLINE = "The stage of {branch}"\n'})
        theatre.agent.send("/environments", {"branch": branch, "project": "classic"})
    for branch in BRANCHES:
        eventually(lambda name=branch: theatre.phase("classic", name) == "ready", 120, pause_s=0.2)
    slugs = {branch: theatre.slug("classic", branch) for branch in BRANCHES}
    yield slugs
    for branch in BRANCHES:
        theatre.destroy("classic", branch)
    for slug in slugs.values():
        theatre.gone(slug, 60)


def test_each_has_an_address_of_its_own_and_serves_its_own_branch(theatre: Theatre, slugs: dict[str, str]) -> None:
    assert len(set(slugs.values())) == len(BRANCHES)
    for branch, slug in slugs.items():
        assert f"The stage of {branch}" in theatre.agent.visit(slug).text


def test_a_note_left_in_one_database_is_in_no_other(theatre: Theatre, slugs: dict[str, str]) -> None:
    """All of them reach their database as `mysql`."""
    theatre.agent.visit(slugs["act/3"], "/note?text=only+for+three")

    notes = {branch: theatre.state(slug)["notes"] for branch, slug in slugs.items()}

    assert notes == {branch: ["only for three"] if branch == "act/3" else [] for branch in BRANCHES}


def test_one_cannot_reach_the_database_of_another(theatre: Theatre, slugs: dict[str, str]) -> None:
    """Neither by its address nor by its container's name."""
    [database] = theatre.agent.containers(slugs["act/1"], "mysql")
    address = next(iter(database["NetworkSettings"]["Networks"].values()))["IPAddress"]
    knock = "import socket, sys; socket.create_connection((sys.argv[1], 3306), 2)"

    def reaches(branch: str, host: str) -> bool:
        command = ("exec", branch, "web", "--project", "classic", "--", "python", "-c", knock, host)
        return theatre.agent.cli(*command, check=False).returncode == 0

    assert reaches("act/1", address), "its own web service does"
    assert not reaches("act/2", address)
    assert not reaches("act/2", database["Names"][0].lstrip("/"))


def test_the_application_knows_where_it_is(theatre: Theatre, slugs: dict[str, str]) -> None:
    slug = slugs["act/5"]

    state = theatre.state(slug)

    assert state["BUTAI_URL"] == theatre.agent.url(slug)
    assert state["BUTAI_BRANCH"] == "act/5"
    assert state["BUTAI_REVISION"] == theatre.repository("classic").revision("act/5")


def test_nothing_is_published_on_the_host(theatre: Theatre, slugs: dict[str, str]) -> None:
    for slug in slugs.values():
        for container in theatre.agent.containers(slug):
            assert not [port for port in container["Ports"] if "PublicPort" in port], container["Names"]
