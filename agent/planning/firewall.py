"""The wall: rules of the host's firewall that keep containers and build steps from the metadata service and the agent.

They stand in two chains of our own. What comes through the host (to the metadata service) passes the one, what is for
the host itself (the agent's port) the other. Refused is said at once: an SDK that looks for a role gives up within
milliseconds, where it would wait for seconds for packets that were dropped.

A rule of ours is compared with what `iptables -S` prints, so each is written exactly as that prints it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from enum import IntEnum

from agent.config import Settings
from agent.planning import metadata
from agent.planning.edge import agent_address, edge_address

_PREFIX = "wall-"  # whose jumps may stand before ours: several agents would else take turns at being the first
_DOCKERS = "DOCKER-USER"
# Link-local is never forwarded (RFC 3927, 2.6.2), so on EC2 all of it is Amazon's own; fd00:ec2::/32 is the like of it.
_AMAZONS = {4: "169.254.0.0/16", 6: "fd00:ec2::/32"}
_METADATA = {4: f"{metadata.ADDRESS}/32", 6: "fd00:ec2::254/128"}
# Amazon's resolver, where the host uses that one: build steps ask it themselves, and the engine asks it from inside of
# the container that asked the engine (seen with 26.1). It gives away names only.
_RESOLVER = {4: "169.254.169.253/32", 6: "fd00:ec2::253/128"}
_UNREACHABLE = {4: "icmp-port-unreachable", 6: "icmp6-port-unreachable"}
_RESET = "-j REJECT --reject-with tcp-reset"
_BRIDGES = ("docker0", "br-+")  # as Docker names them; build steps are on the first


class Family(IntEnum):
    """What a firewall is made of twice."""

    V4 = 4
    V6 = 6


def changes(settings: Settings, family: Family, observed: Sequence[str]) -> tuple[str, ...]:
    """What `iptables-restore --noflush` must be told to make the rules as the settings say; () when they are.

    `observed` is what `iptables -S` said. All lines take effect at once or not at all: there is no moment without a
    wall. Without `firewall.manage` our chains go.
    """
    if not settings.firewall.manage:
        return _removal(settings, observed)
    wanted = _wanted(settings, family)
    if _stands(settings, wanted, observed):
        return ()
    lines = ["*filter", *(f":{chain} - [0:0]" for chain in wanted)]
    lines += [f"-D{rule.removeprefix('-A')}" for rule in _jumps(settings, observed)]
    for chain, rules in wanted.items():
        lines += [*rules, f"-I {_hook(settings, chain, observed)} 1 -j {chain}"]
    return (*lines, "COMMIT")


def ahead(settings: Settings, family: Family, observed: Sequence[str]) -> tuple[str, ...]:
    """As `changes`, for a host on which Docker has not started yet: in a chain of Docker's that it finds and keeps.

    In FORWARD itself the rules that Docker puts in there at its start would come first.
    """
    if not settings.firewall.manage or f"-N {_DOCKERS}" in observed:
        return changes(settings, family, observed)
    start, *lines, commit = changes(settings, family, (f"-A FORWARD -j {_DOCKERS}", *observed))
    return (start, f":{_DOCKERS} - [0:0]", *lines, f"-I FORWARD 1 -j {_DOCKERS}", commit)


def bars_metadata(settings: Settings, observed: Sequence[str], *, family: Family = Family.V4) -> bool:
    """Whether what containers send to the metadata service is refused: by the wall, or by a rule of somebody else's."""
    chain = _forward(settings)
    own = {chain: _wanted(settings, family)[chain]}
    return _stands(settings, own, observed) or any(_is_bar(rule, family) for rule in observed)


def bars_agent(settings: Settings, observed: Sequence[str]) -> bool:
    """Whether the wall keeps containers other than Traefik from the agent's port."""
    chain = _input(settings)
    return _stands(settings, {chain: _wanted(settings, Family.V4)[chain]}, observed)


def _wanted(settings: Settings, family: Family) -> dict[str, list[str]]:
    """The rules of each of our chains, in their order."""
    through, into = _forward(settings), _input(settings)
    return {
        through: [f"-A {through} {rest}" for rest in _off_amazons(family)],
        into: [f"-A {into} {rest}" for rest in _into(settings, family)],
    }


def _off_amazons(family: Family, way: str = "") -> Iterator[str]:
    """A reset for TCP: the kernel sends each container but one ICMP message a second, so others would wait."""
    for protocol in ("udp", "tcp"):
        yield f"-d {_RESOLVER[family]} {way}-p {protocol} -m {protocol} --dport 53 -j RETURN"
    to = f"-d {_AMAZONS[family]} {way}"
    yield f"{to}-p tcp {_RESET}"
    yield f"{to}-j REJECT --reject-with {_UNREACHABLE[family]}"


def _into(settings: Settings, family: Family) -> Iterator[str]:
    """What is for the host itself.

    At an address of Docker's own, where it listens unless told otherwise, nobody but Traefik has any business. At
    another one an operator wants it reached from elsewhere, so only containers are refused, by the way they come.
    """
    yield "-i lo -j RETURN"
    for bridge in _BRIDGES:
        yield from _off_amazons(family, f"-i {bridge} ")
    address, port = agent_address(settings)
    if address not in metadata.EVERYWHERE and ipaddress.ip_address(address).version != family:
        return
    to = "" if address in metadata.EVERYWHERE else f"-d {address}/{32 if family is Family.V4 else 128} "
    rest = f"-p tcp -m tcp --dport {port}"
    if settings.traefik.managed and family is Family.V4:
        yield f"-s {edge_address(settings)}/32 {to}{rest} -j RETURN"
    if settings.has_roles and family is Family.V4:
        yield f"{metadata.led_here(settings)} -j RETURN"
    if not settings.server.listen:
        yield f"{to}{rest} {_RESET}"
        return
    if family is Family.V4:
        pool = ipaddress.IPv4Network(settings.docker.address_pool, strict=False)
        yield f"-s {pool} {to}{rest} {_RESET}"
    yield from (f"{to}-i {bridge} {rest} {_RESET}" for bridge in _BRIDGES)


def _stands(settings: Settings, wanted: dict[str, list[str]], observed: Sequence[str]) -> bool:
    """Our chains have just these rules, and whatever could let a packet through comes after the jump to them."""
    for chain, rules in wanted.items():
        if [rule for rule in observed if rule.startswith(f"-A {chain} ")] != rules:
            return False
        jump = f"-A {_hook(settings, chain, observed)} -j {chain}"
        if [rule for rule in observed if rule.endswith(f" -j {chain}")] != [jump]:
            return False
        if not _comes_first(jump, observed):
            return False
    return True


def _comes_first(jump: str, observed: Sequence[str]) -> bool:
    """Whether nothing but other walls comes before the jump in its chain."""
    here = [rule for rule in observed if rule.startswith(f"{jump.split(' -j ')[0]} ")]
    return jump in here and all(rule.split(" -j ")[-1].startswith(_PREFIX) for rule in here[: here.index(jump)])


def _hook(settings: Settings, chain: str, observed: Sequence[str]) -> str:
    """Where Docker leaves our jump alone; in FORWARD where its chain does not decide.

    With nftables or after a flush it is not there, and what somebody put before it may let a packet through.
    """
    if chain == _input(settings):
        return "INPUT"
    return _DOCKERS if _comes_first(f"-A FORWARD -j {_DOCKERS}", observed) else "FORWARD"


def _removal(settings: Settings, observed: Sequence[str]) -> tuple[str, ...]:
    chains = [chain for chain in (_forward(settings), _input(settings)) if f"-N {chain}" in observed]
    if not chains:
        return ()
    jumps = [f"-D{rule.removeprefix('-A')}" for rule in _jumps(settings, observed)]
    return ("*filter", *jumps, *(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains), "COMMIT")


def _jumps(settings: Settings, observed: Sequence[str]) -> list[str]:
    ours = {_forward(settings), _input(settings)}
    return [rule for rule in observed if rule.startswith("-A ") and rule.split(" -j ")[-1] in ours]


def _is_bar(rule: str, family: Family) -> bool:
    words = rule.split()
    covers = any(network in words for network in (_AMAZONS[family], _METADATA[family]))
    return words[:2] == ["-A", _DOCKERS] and covers and words[-2:] == ["-j", "DROP"]


def _forward(settings: Settings) -> str:
    return f"{_PREFIX}{settings.instance}-forward"


def _input(settings: Settings) -> str:
    return f"{_PREFIX}{settings.instance}-input"
