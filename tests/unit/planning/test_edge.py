"""Where Traefik and the agent meet: addresses that are known before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import config
from agent.config import Settings
from agent.model.edge import AcmeFiles
from agent.planning import edge

BASE = 'domain = "staging.example.com"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'


def settings(extra: str = "") -> Settings:
    return config.parse(BASE + extra, Path("/nowhere"))


def spec_of(one: Settings) -> edge.ContainerSpec:
    files = AcmeFiles(Path("/a"), "token") if one.traefik.acme else None
    return edge.edge_container(
        one, routes_dir=Path("/r"), certificates_dir=Path("/c"), acme_files=files, user="990:990"
    )


def test_the_edge_has_the_first_block_of_the_pool_the_agent_first_and_traefik_second() -> None:
    one = settings('[docker]\naddress_pool = "10.77.0.0/16"\n')
    network = edge.edge_network(one)
    assert (network.subnet, network.gateway) == ("10.77.0.0/25", "10.77.0.1")
    assert edge.edge_address(one) == "10.77.0.2"
    assert edge.agent_address(one) == ("10.77.0.1", 8480)
    assert edge.probe_address(one) == ("10.77.0.2", 8000)


def test_the_edge_network_sorts_before_every_environments_network() -> None:
    assert edge.edge_network(settings()).name < "butai-0_default"


def test_the_agent_listens_where_the_settings_say_and_traefik_finds_it_there() -> None:
    assert edge.agent_url(settings('[server]\nlisten = "192.0.2.7"\nport = 9000\n')) == "http://192.0.2.7:9000"
    assert edge.agent_url(settings('[server]\nlisten = "0.0.0.0"\n')) == "http://10.200.0.1:8480"


def test_traefik_of_somebody_else_is_asked_on_its_own_port() -> None:
    one = settings(
        '[traefik]\nmanaged = false\ndirectory = "/d"\nagent_url = "http://172.17.0.1:8480/"\nhttp_port = 8081\n'
    )
    assert edge.probe_address(one) == ("127.0.0.1", 8081)
    assert edge.agent_url(one) == "http://172.17.0.1:8480"
    assert edge.agent_address(one) == ("127.0.0.1", 8480)


def test_traefik_gets_no_more_than_its_two_folders_and_runs_as_their_owner() -> None:
    spec = spec_of(settings())
    assert [(str(mount.source), mount.read_only) for mount in spec.mounts] == [("/r", True), ("/c", True)]
    assert (spec.user, spec.read_only) == ("990:990", True)


def test_traefik_reads_one_folder_and_trusts_tells_and_asks_nobody() -> None:
    flags = edge.static_config(settings())
    assert "--providers.providersthrottleduration=100ms" in flags
    assert "--global.checknewversion=false" in flags
    assert "--global.sendanonymoususage=false" in flags
    assert not [flag for flag in flags if flag.startswith(("--api", "--ping", "--providers.docker"))]
    assert not [flag for flag in flags if "forwardedheaders" in flag]


def test_traefik_writes_to_the_folder_of_its_own_certificates_and_nowhere_else() -> None:
    spec = spec_of(settings('[traefik.acme]\nemail = "ops@example.com"\nzone = "Z1"\n'))
    assert [str(mount.source) for mount in spec.mounts if not mount.read_only] == ["/a"]
    assert spec.read_only
    assert spec_of(settings()).environment == {}


def test_a_changed_setting_makes_another_container_and_an_unchanged_one_does_not() -> None:
    labels = [spec_of(settings(extra)).labels["butai.config"] for extra in ("", "", "[traefik]\nhttp_port = 81\n")]
    assert labels[0] == labels[1] != labels[2]


@pytest.mark.parametrize(
    ("extra", "addresses"),
    [
        ("", ["0.0.0.0"]),
        ('[dns]\nzone = "Z1"\n', ["0.0.0.0"]),
        ('[dns]\nzone = "Z1"\nipv6 = true\n', ["0.0.0.0", "::"]),
        ('[dns]\nzone = "Z1"\naddresses = ["2001:db8::1"]\n', ["0.0.0.0", "::"]),
        ('[dns]\nzone = "Z1"\nipv6 = true\n[traefik]\naddress = "192.0.2.7"\n', ["192.0.2.7"]),
        (
            '[dns]\nzone = "Z1"\nipv6 = true\nload_balancer = { name = "lb.example.net", zone = "Z2" }\n',
            ["0.0.0.0"],
        ),
    ],
    ids=["no-dns", "ipv4", "both", "written-down", "one-address", "load-balancer"],
)
def test_where_records_lead_here_over_ipv6_traefik_is_reached_there(extra: str, addresses: list[str]) -> None:
    """Docker publishes 0.0.0.0 for IPv4 alone: an AAAA record would lead to a closed door."""
    assert [port.address for port in spec_of(settings(extra)).ports] == addresses
