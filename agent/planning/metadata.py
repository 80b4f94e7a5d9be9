"""The agent's own metadata service: which rules lead containers of environments to it, and who is behind an address.

Amazon's libraries, in every language, ask 169.254.169.254 for credentials when they find none in variables and files.
On the bridges of environments the firewall turns that into the agent's own port, without a change of the sender. So
nothing has to be in a container, and where a connection comes from tells whose it is: an answer to an address that was
made up goes to the bridge on which it really is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from agent.config import Settings
from agent.model.environment import Environment
from agent.planning.addresses import block_of, edge_subnet
from agent.planning.edge import agent_address

ADDRESS = "169.254.169.254"

_BRIDGES = "br-+"  # Docker's, but for the default one: build steps have no role
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def changes(settings: Settings, observed: Sequence[str]) -> tuple[str, ...]:
    """What `iptables-restore --noflush` must be told; () when the rules are as they should be.

    `observed` is what `iptables -t nat -S` said. Our chain is there for as long as some project has a role.
    """
    chain = f"wall-{settings.instance}-metadata"
    jumps = [rule for rule in observed if rule.startswith("-A ") and rule.endswith(f" -j {chain}")]
    gone = [f"-D{jump.removeprefix('-A')}" for jump in jumps]
    if not (settings.has_roles and settings.firewall.manage):
        there = f"-N {chain}" in observed
        return ("*nat", *gone, f"-F {chain}", f"-X {chain}", "COMMIT") if there else ()
    rules = [f"-A {chain} {rest}" for rest in _led(settings)]
    as_wanted = [line for line in observed if line.startswith(f"-A {chain} ")] == rules
    if as_wanted and jumps == [f"-A PREROUTING -j {chain}"]:
        return ()
    return ("*nat", f":{chain} - [0:0]", *gone, *rules, f"-I PREROUTING 1 -j {chain}", "COMMIT")


def led_here(settings: Settings) -> str:
    """What a rule matches that lets in whom `changes` led to the agent's port, and nobody who goes there by himself."""
    pool, (_, port) = settings.docker.address_pool, agent_address(settings)
    return f"-s {pool} -i {_BRIDGES} -p tcp -m tcp --dport {port} -m conntrack --ctstate DNAT --ctorigdst {ADDRESS}"


def environment_at(address: str, environments: Iterable[Environment], settings: Settings) -> Environment | None:
    """The environment whose block of addresses this one is in; None when it is in nobody's."""
    docker = settings.docker
    block = block_of(f"{ipaddress.IPv4Address(address)}/32", docker.address_pool, docker.block_prefix)
    return next((one for one in environments if one.block == block), None)


def _led(settings: Settings) -> Iterator[str]:
    docker, (address, port) = settings.docker, agent_address(settings)
    yield f"-s {edge_subnet(docker.address_pool, docker.block_prefix)} -j RETURN"  # Traefik is in no environment
    to = f"REDIRECT --to-ports {port}" if address in EVERYWHERE else f"DNAT --to-destination {address}:{port}"
    yield f"-s {docker.address_pool} -d {ADDRESS}/32 -i {_BRIDGES} -p tcp -m tcp --dport 80 -j {to}"
