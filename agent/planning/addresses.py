"""Addresses: how the configured pool is cut into blocks, one for the edge and one for each environment.

Docker's default pools end near thirty networks, so every network of ours has an explicit subnet. Within a
block a network keeps its place for as long as the environment lives: a network that exists keeps its subnet, so a place
that moved would overlap it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

PLACES = 6  # networks of one environment: two large, four small


def edge_subnet(pool: str, block_prefix: int) -> IPv4Network:
    """The first block of `pool`: the network of Traefik and the agent. Environments own the blocks from 1 on."""
    return _block(pool, block_prefix, 0)


def block_count(pool: str, block_prefix: int) -> int:
    """How many environments `pool` has room for."""
    return int(2 ** (block_prefix - IPv4Network(pool).prefixlen)) - 1


def subnets(pool: str, block_prefix: int, *, block: int) -> tuple[IPv4Network, ...]:
    """The six subnets of the environment that owns `block` (0 is the first): two quarters, then four eighths.

    With the default /25 a quarter holds 29 containers and an eighth 13; during a swap a service has two.
    """
    quarters = list(_block(pool, block_prefix, block + 1).subnets(prefixlen_diff=2))
    eighths = [small for quarter in quarters[2:] for small in quarter.subnets(prefixlen_diff=1)]
    return (*quarters[:2], *eighths)


def assign(names: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """A place in the block for each network, the most populous first; those of `known` stay where they are.

    A network beyond the sixth has none and gets its addresses from Docker's own pools. Places of networks that are gone
    are kept as long as nobody needs them: the network itself may still be there.
    """
    places = {name: place for name, place in known.items() if place < PLACES}
    for name in names:
        if name in places:
            continue
        free = [place for place in range(PLACES) if place not in places.values()]
        if not free:
            gone = [other for other in places if other not in names]
            if not gone:
                continue
            free = [places.pop(gone[0])]
        places[name] = free[0]
    return places


def _block(pool: str, block_prefix: int, index: int) -> IPv4Network:
    network = IPv4Network(pool)
    size = 2 ** (32 - block_prefix)
    return IPv4Network((int(network.network_address) + index * size, block_prefix))


def block_of(subnet: str, pool: str, block_prefix: int) -> int | None:
    """The environment's block that `subnet` lies in; None when it lies in none of them."""
    network, whole = IPv4Network(subnet), IPv4Network(pool)
    if not network.subnet_of(whole):
        return None
    index = (int(network.network_address) - int(whole.network_address)) // 2 ** (32 - block_prefix)
    return index - 1 if index > 0 else None
