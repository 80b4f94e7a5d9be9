"""Every environment has addresses of its own, and a network that exists keeps its own."""

from __future__ import annotations

from itertools import combinations

from agent.planning.addresses import PLACES, assign, block_count, edge_subnet, subnets

POOL = "10.200.0.0/16"


def test_blocks_overlap_neither_each_other_nor_the_edge() -> None:
    networks = [edge_subnet(POOL, 25)]
    for block in (0, 1, 39, block_count(POOL, 25) - 1):
        networks += subnets(POOL, 25, block=block)
    assert not any(a.overlaps(b) for a, b in combinations(networks, 2))
    assert all(network.subnet_of(networks[0].supernet(new_prefix=16)) for network in networks)
    assert block_count(POOL, 25) == 511


def test_the_block_of_an_environment_has_two_large_and_four_small_places() -> None:
    assert [network.prefixlen for network in subnets(POOL, 25, block=3)] == [27, 27, 28, 28, 28, 28]
    assert [network.prefixlen for network in subnets(POOL, 27, block=3)] == [29, 29, 30, 30, 30, 30]


def test_a_network_keeps_its_place_whatever_comes_and_goes() -> None:
    first = assign(["back", "front"], {})
    assert first == {"back": 0, "front": 1}
    second = assign(["added", "front", "back"], first)
    assert second == {"back": 0, "front": 1, "added": 2}
    assert assign(["front"], second)["front"] == 1


def test_places_of_networks_that_are_gone_are_given_away_last() -> None:
    known = {f"old{n}": n for n in range(PLACES)}
    places = assign(["new", "old1"], known)
    assert places["old1"] == 1
    assert places["new"] == 0
    assert "old0" not in places


def test_a_seventh_network_has_no_place() -> None:
    names = [f"n{n}" for n in range(7)]
    assert sorted(assign(names, {})) == names[:6]
