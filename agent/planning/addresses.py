"""Addresses: how the configured pool is cut into blocks, one for the edge and one for each environment."""

from __future__ import annotations

from ipaddress import IPv4Network


def edge_subnet(pool: str, block_prefix: int) -> IPv4Network:
    """The first block of `pool`: the network of Traefik and the agent. Environments own the blocks from 1 on."""
    return next(IPv4Network(pool).subnets(new_prefix=block_prefix))
