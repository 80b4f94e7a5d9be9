"""The wall in a real firewall: what a container, a build step, Traefik and the host itself reach before and after.

All of it stands in network namespaces of the test's own: the firewall of this machine is neither read nor changed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent import config
from agent.adapters import iptables
from agent.config import Settings
from agent.planning import firewall as planning
from agent.runtime.firewall import FirewallKeeper
from tests.support.netns import Namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")

ROOT = Path(__file__).parents[2]
METADATA = ("169.254.169.254", 80)
METADATA_V6 = ("fd00:ec2::254", 80)
AGENT = ("10.200.0.1", 8480)
SETTINGS = 'domain = "staging.example.com"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
ROLE = 'role = "arn:aws:iam::123456789012:role/shop"\nregion = "eu-west-1"\n'
DOCKERS = (
    "{0} -N DOCKER-USER",
    "{0} -A FORWARD -j DOCKER-USER",
    "{0} -A DOCKER-USER -j RETURN",
    "{0} -A FORWARD -j ACCEPT",
)


@dataclass
class Cloud:
    """A host with Docker's chains, the metadata service beside it, and what is on its bridges."""

    host: Namespace
    metadata: Namespace
    traefik: Namespace
    container: Namespace
    build: Namespace
    settings: Settings

    def keeper(self) -> FirewallKeeper:
        return FirewallKeeper(settings=lambda: self.settings, firewall=iptables)

    def look(self) -> str | None:
        keeper = self.keeper()
        self.host.do(keeper.look)
        return keeper.problem

    def reached(self) -> dict[str, list[bool]]:
        """Who reaches the metadata service, its IPv6 address, and the agent."""
        places = {"container": self.container, "build": self.build, "traefik": self.traefik, "host": self.host}
        return {
            name: [place.reaches(*address) for address in (METADATA, METADATA_V6, AGENT)]
            for name, place in places.items()
        }


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with ExitStack() as stack:
        spaces = [Namespace() for _ in range(5)]
        for space in spaces:
            stack.callback(space.close)
        cloud = Cloud(*spaces, config.parse(SETTINGS, tmp_path))
        host = cloud.host
        host.call("ip link set lo up", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        host.call(*(line.format(program) for program in ("iptables", "ip6tables") for line in DOCKERS))
        attach(host, cloud.traefik, "br-edge", "10.200.0.1/25", "10.200.0.2/25", "fd11::")
        attach(host, cloud.container, "br-shop", "10.200.0.129/25", "10.200.0.130/25", "fd12::")
        attach(host, cloud.build, "docker0", "172.17.0.1/16", "172.17.0.2/16", "fd13::")
        attach(host, cloud.metadata, "ens5", "172.31.0.10/20", "172.31.0.1/20", "fd14::")
        for end in ("254", "253"):
            cloud.metadata.call(
                f"ip addr add 169.254.169.{end}/32 dev lo", f"ip addr add fd00:ec2::{end}/128 dev lo nodad"
            )
            host.call(f"ip route add 169.254.169.{end} via 172.31.0.1", f"ip route add fd00:ec2::{end} via fd14::2")
        for space, address in ((cloud.metadata, METADATA), (cloud.metadata, METADATA_V6), (host, AGENT)):
            server = space.listen(*address)
            stack.callback(server.close)
            stack.callback(server.shutdown, socket.SHUT_RDWR)
        yield cloud


def attach(host: Namespace, other: Namespace, bridge: str, ours: str, theirs: str, v6: str) -> None:
    """One side named as Docker names its bridge, the other as in a container."""
    host.call(f"ip link add {bridge} type veth peer name eth0 netns {other.path}")
    host.call(
        f"ip addr add {ours} dev {bridge}", f"ip addr add {v6}1/64 dev {bridge} nodad", f"ip link set {bridge} up"
    )
    other.call("ip link set lo up", f"ip addr add {theirs} dev eth0", f"ip addr add {v6}2/64 dev eth0 nodad")
    other.call("ip link set eth0 up", f"ip route add default via {ours.partition('/')[0]}")
    other.call(f"ip -6 route add default via {v6}1")


def test_only_the_host_reaches_the_metadata_service_and_only_traefik_and_the_host_the_agent(cloud: Cloud) -> None:
    assert cloud.reached() == {name: [True, True, True] for name in ("container", "build", "traefik", "host")}
    assert cloud.look() == ""
    assert cloud.reached() == {
        "container": [False, False, False],
        "build": [False, False, False],
        "traefik": [False, False, True],
        "host": [True, True, True],
    }
    rules = cloud.host.said("iptables -S")
    assert planning.bars_metadata(cloud.settings, rules)
    assert planning.bars_agent(cloud.settings, rules)


def test_amazons_resolver_answers_names_and_nothing_else(cloud: Cloud) -> None:
    """The engine asks it from inside of the container's network, so a wall without this gate ends all DNS there."""
    cloud.look()
    for address in ("169.254.169.253", "fd00:ec2::253"):
        with cloud.metadata.listen(address, 53) as names, cloud.metadata.listen(address, 80) as other:
            assert cloud.container.reaches(address, 53)
            assert cloud.build.reaches(address, 53)
            assert not cloud.container.reaches(address, 80)
            for server in (names, other):
                server.shutdown(socket.SHUT_RDWR)


def test_the_wall_is_put_up_again_after_a_flush_and_left_alone_while_it_stands(cloud: Cloud) -> None:
    cloud.look()
    stands = cloud.host.said("iptables -S")
    handles = cloud.host.said("iptables-nft -t filter -S -v")
    cloud.look()
    assert cloud.host.said("iptables-nft -t filter -S -v") == handles, "counters start anew with each change"
    cloud.host.call("iptables -F", "iptables -A FORWARD -j DOCKER-USER", "iptables -A DOCKER-USER -j RETURN")
    assert cloud.container.reaches(*METADATA)
    cloud.look()
    cloud.host.call("iptables -A FORWARD -j ACCEPT")
    assert cloud.host.said("iptables -S") == stands
    cloud.host.call("iptables -I INPUT -p tcp -j ACCEPT", "iptables -I DOCKER-USER -j ACCEPT")
    assert cloud.container.reaches(*METADATA)
    cloud.look()
    assert cloud.reached()["container"] == [False, False, False]
    cloud.host.call("iptables -I FORWARD -j ACCEPT")
    assert cloud.container.reaches(*METADATA)
    cloud.look()
    assert not cloud.container.reaches(*METADATA)
    cloud.host.call("iptables -D FORWARD -j ACCEPT")
    cloud.look()
    assert "-A DOCKER-USER -j wall-butai-forward" in cloud.host.said("iptables -S"), "where operators look for it"


def test_without_dockers_chain_the_wall_stands_in_forward(cloud: Cloud) -> None:
    cloud.host.call("iptables -F", "iptables -X", "ip6tables -F", "ip6tables -X")
    assert cloud.look() == ""
    assert cloud.reached()["container"] == [False, False, False]


def test_a_wall_that_was_there_before_docker_stands_from_dockers_first_moment(cloud: Cloud) -> None:
    """After a boot Docker starts what asks for that (`restart: always`) before the agent runs."""
    cloud.host.call("iptables -F", "iptables -X", "ip6tables -F", "ip6tables -X")
    assert as_service(cloud, "-all,+net_admin", AHEAD).returncode == 0
    for program in ("iptables", "ip6tables"):  # as Docker begins
        cloud.host.call(f"{program} -I FORWARD -j ACCEPT", f"{program} -D FORWARD -j DOCKER-USER")
        cloud.host.call(f"{program} -I FORWARD -j DOCKER-USER", f"{program} -A DOCKER-USER -j RETURN")
    assert cloud.reached()["container"] == [False, False, False]
    before = cloud.host.said("iptables-nft -t filter -S -v")
    assert cloud.look() == ""
    assert cloud.host.said("iptables-nft -t filter -S -v") == before


def test_a_wall_that_nobody_wants_any_more_leaves_nothing_behind(cloud: Cloud) -> None:
    before = [cloud.host.said(f"{program} -S") for program in ("iptables", "ip6tables")]
    cloud.look()
    cloud.settings = replace(cloud.settings, firewall=config.Firewall(manage=False))
    cloud.look()
    assert [cloud.host.said(f"{program} -S") for program in ("iptables", "ip6tables")] == before


@pytest.mark.parametrize("listen", ["0.0.0.0", "172.31.0.10", "::"])
def test_an_agent_that_listens_for_others_still_refuses_containers(cloud: Cloud, listen: str) -> None:
    cloud.settings = replace(cloud.settings, server=replace(cloud.settings.server, listen=listen, port=8481))
    server = cloud.host.listen(listen, 8481)
    try:
        assert cloud.look() == ""
        target = "fd12::1" if listen == "::" else "172.31.0.10"
        assert not cloud.container.reaches(target, 8481)
        assert not cloud.build.reaches(target, 8481)
        assert cloud.metadata.reaches("fd14::1" if listen == "::" else "172.31.0.10", 8481), "a neighbour in the VPC"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_two_agents_on_one_host_leave_each_others_walls_alone(cloud: Cloud) -> None:
    cloud.look()
    other = replace(cloud, settings=replace(cloud.settings, instance="other"))
    other.look()
    stands = cloud.host.said("iptables -S")
    cloud.look()
    other.look()
    assert cloud.host.said("iptables -S") == stands


def test_the_units_one_capability_is_enough_and_no_program_but_iptables_gets_it(cloud: Cloud) -> None:
    """The keeper as the unit runs it: another user, no new privileges, CAP_NET_ADMIN and nothing else."""
    assert "says: iptables" in as_service(cloud, "-all").stdout
    assert cloud.container.reaches(*METADATA)
    done = as_service(cloud, "-all,+net_admin")
    assert done.stdout.splitlines()[-2:] == ["problem: ''", "CapEff:\t0000000000000000"], done.stdout + done.stderr
    assert not cloud.container.reaches(*METADATA_V6)
    assert "-A PREROUTING -j wall-butai-metadata" in cloud.host.said("iptables -t nat -S")


def test_a_container_is_led_to_its_credentials_and_comes_there_as_itself(cloud: Cloud) -> None:
    """The agent knows containers by their address. For Traefik, build steps and the agent's port nothing changes."""
    cloud.settings = config.parse(SETTINGS + ROLE, Path("/nowhere"))
    assert cloud.look() == ""
    assert cloud.reached() == {
        "container": [True, False, False],
        "build": [False, False, False],
        "traefik": [False, False, True],
        "host": [True, True, True],
    }
    with cloud.host.do(lambda: socket.create_server(("10.200.0.1", 8482))) as server:
        cloud.settings = replace(cloud.settings, server=replace(cloud.settings.server, port=8482))
        assert cloud.look() == ""
        with cloud.container.do(lambda: socket.create_connection(METADATA, timeout=3)):
            assert server.accept()[1][0] == "10.200.0.130"
    cloud.settings = replace(cloud.settings, server=replace(cloud.settings.server, port=8480))
    cloud.look()
    rules = cloud.host.said("iptables -t nat -S")
    cloud.host.call("iptables -t nat -F")
    assert not cloud.container.reaches(*METADATA)
    cloud.look()
    assert cloud.host.said("iptables -t nat -S") == rules
    cloud.settings = config.parse(SETTINGS, Path("/nowhere"))
    assert cloud.look() == ""
    assert not cloud.container.reaches(*METADATA)
    assert "wall" not in " ".join(cloud.host.said("iptables -t nat -S"))


def test_an_agent_that_listens_for_others_is_found_by_containers_with_a_role(cloud: Cloud) -> None:
    text = f'{SETTINGS}{ROLE}[server]\nlisten = "0.0.0.0"\nport = 8481\n'
    cloud.settings = config.parse(text, Path("/nowhere"))
    server = cloud.host.listen("0.0.0.0", 8481)
    try:
        assert cloud.look() == ""
        assert cloud.container.reaches(*METADATA)
        assert not cloud.container.reaches("10.200.0.129", 8481)
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


LOOK = f"""
from pathlib import Path
from agent import config
from agent.adapters import iptables, process
from agent.runtime.firewall import FirewallKeeper
keeper = FirewallKeeper(settings=lambda: config.parse({SETTINGS + ROLE!r}, Path("/")), firewall=iptables)
keeper.look()
print("problem:", repr(keeper.problem))
print(process.run(["grep", "CapEff", "/proc/self/status"], env=process.short_environment(), timeout_s=5).text.strip())
"""


AHEAD = f"""
from pathlib import Path
from agent import config, daemon
daemon.wall(config.parse({SETTINGS!r}, Path("/")))
"""


def as_service(cloud: Cloud, capabilities: str, code: str = LOOK) -> subprocess.CompletedProcess[str]:
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs")
    sets = [word for name in ("inh-caps", "ambient-caps", "bounding-set") for word in (f"--{name}", capabilities)]
    argv = [*user, *sets, sys.executable, "-c", code]
    return cloud.host.do(lambda: subprocess.run(argv, capture_output=True, text=True, cwd=ROOT))
