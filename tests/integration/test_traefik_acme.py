"""One wildcard certificate by the DNS challenge: a real ACME server, the real Traefik, and an Amazon that is moto's.

What is proven: Traefik gets its credentials from the agent, writes the record through Route53's API, the authority
looks for it by DNS and finds what the zone holds, and a page is served with what it issued.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import config
from agent.adapters.aws import HostKeys, Sts
from agent.adapters.clock import SystemClock
from agent.adapters.docker import DockerEngine
from agent.model.aws import AwsKeys
from agent.model.edge import ContainerSpec
from agent.planning import edge
from agent.runtime.lending import Lender
from agent.web.app import create_app
from agent.web.server import WebServer
from tests.support import awsd
from tests.support.acmed import Pebble, pebble
from tests.support.edgehouse import DOMAIN, EdgeHouse, settings_text
from tests.support.eventually import eventually
from tests.support.fakes_api import build_house
from tests.support.named import named

pytestmark = pytest.mark.docker

CHALLENGE = f"_acme-challenge.{DOMAIN}"


class Zone(Mapping[tuple[str, str], tuple[str, ...]]):
    """What moto's Route53 holds just now, for a name server to answer from."""

    def __init__(self, url: str) -> None:
        self._client = awsd.client(url)
        made = self._client.create_hosted_zone(Name=DOMAIN, CallerReference=str(uuid.uuid4()))
        self.id = made["HostedZone"]["Id"].rpartition("/")[2]
        self.challenges: set[str] = set()  # every value that was looked up

    def _all(self) -> dict[tuple[str, str], tuple[str, ...]]:
        records = self._client.list_resource_record_sets(HostedZoneId=self.id)["ResourceRecordSets"]
        return {
            (one["Name"].rstrip("."), one["Type"]): tuple(value["Value"] for value in one.get("ResourceRecords", ()))
            for one in records
        }

    def __getitem__(self, key: tuple[str, str]) -> tuple[str, ...]:
        found = self._all()[key]
        if key == (CHALLENGE, "TXT"):
            self.challenges.update(found)
        return found

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Towards:
    """`planning/edge.py`, but that Traefik finds Amazon at `url`, and asks it more often whether it is done."""

    def __init__(self, url: str) -> None:
        self._environment = {"AWS_ENDPOINT_URL": url, "AWS_POLLING_INTERVAL": "1"}

    def __getattr__(self, name: str) -> Any:
        return getattr(edge, name)

    def edge_container(self, settings: config.Settings, **files: Any) -> ContainerSpec:
        spec = edge.edge_container(settings, **files)
        return replace(spec, environment={**spec.environment, **self._environment})


class Counted(HostKeys):
    """Counts how often somebody came for them."""

    lent = 0

    def current(self, zone: str) -> AwsKeys:
        self.lent += 1
        return super().current(zone)


class Slow(SystemClock):
    """Nine minutes behind: what is lent for ten minutes is as good as over, as it is at every renewal."""

    def now(self) -> datetime:
        return super().now() - timedelta(minutes=9)


@dataclass
class Issued:
    house: EdgeHouse
    keys: Counted
    authority: Pebble
    zone: Zone

    @property
    def store(self) -> Path:
        [path] = (self.house.settings.state_dir / "edge" / "acme").glob("*/acme.json")
        return path

    def served(self, host: str) -> tuple[bytes, Mapping[str, Any]]:
        """The page and the certificate, which the authority must have signed and which must be for this name."""
        context = ssl.create_default_context(cadata=self.authority.root())
        address = ("127.0.0.1", self.house.settings.traefik.https_port)
        with (
            socket.create_connection(address, timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=host) as secured,
        ):
            secured.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(secured)
            answer.begin()
            return answer.read(), secured.getpeercert() or {}

    def is_up(self) -> bool:
        try:
            return bool(self.served(f"butai.{DOMAIN}")[1])
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issued]:
    """Everything up, and the certificate there. Each part listens on the gateway, where Traefik reaches this host."""
    directory = tmp_path_factory.mktemp("acme")
    text = settings_text()
    plain = config.parse(text, directory)
    network = edge.edge_network(plain)
    bare = EdgeHouse(plain, DockerEngine(plain.docker.host, plain.instance))
    try:
        bare.engine.ensure_network(network)
        with (
            pytest.MonkeyPatch.context() as monkeypatch,
            awsd.moto(network.gateway) as url,
            named() as server,
            pebble(directory, address=network.gateway, dns_port=server.port) as authority,
        ):
            awsd.use(monkeypatch, url)
            server.answers = zone = Zone(url)
            settings = config.parse(f"{text}{section(authority, zone)}", directory)
            house = EdgeHouse(settings, bare.engine, layout=Towards(url))
            keys = Counted()
            with lending(house, keys, directory):
                house.traefik.ensure()
                found = Issued(house, keys, authority, zone)
                eventually(found.is_up, 60)
                yield found
    finally:
        bare.clear()


def section(authority: Pebble, zone: Zone) -> str:
    return f"""
[traefik.acme]
email = "ops@example.com"
ca = "{authority.url}"
ca_file = "{authority.ca_file}"
zone = "{zone.id}"
"""


@contextmanager
def lending(house: EdgeHouse, keys: HostKeys, directory: Path) -> Iterator[None]:
    """The agent's application where Traefik looks for it."""
    inside = build_house(directory)
    lender = Lender(settings=lambda: house.settings, keys=keys, roles=Sts(), token=house.traefik.token, clock=Slow())
    web = WebServer(create_app(replace(inside.deps, settings=lambda: house.settings, lender=lender)))
    try:
        web.serve_tcp(*edge.agent_address(house.settings))
        yield
    finally:
        web.close()
        inside.close()


def test_a_page_is_served_with_one_certificate_for_the_domain_and_its_wildcard(issued: Issued) -> None:
    house = issued.house
    house.put(house.table("secure", house.backend("secure", "safe")))
    body, certificate = issued.served(house.hostname("secure"))
    assert body == b"safe\n"
    assert set(certificate["subjectAltName"]) == {("DNS", DOMAIN), ("DNS", f"*.{DOMAIN}")}
    assert issued.served(f"butai.{DOMAIN}")[1]["serialNumber"] == certificate["serialNumber"]
    assert issued.authority.orders() == 1


def test_the_authority_was_convinced_by_the_zone_which_is_tidy_again(issued: Issued) -> None:
    assert len(issued.zone.challenges) == 2  # of the domain and of its wildcard
    assert {kind for _, kind in issued.zone} == {"NS", "SOA"}


def test_credentials_that_end_are_fetched_anew(issued: Issued) -> None:
    assert issued.keys.lent > 1


def test_plain_http_is_sent_to_https(issued: Issued) -> None:
    host = issued.house.hostname("secure")
    status, headers, _ = issued.house.ask(host, "/a?b=c")
    assert status in (302, 307)
    assert headers["Location"] == f"https://{host}:{issued.house.settings.traefik.https_port}/a?b=c"


def test_only_the_owner_may_read_account_certificate_and_token(issued: Issued) -> None:
    keys = issued.house.settings.state_dir / "edge" / "certificates"
    assert {path.stat().st_mode & 0o777 for path in (issued.store, keys / "aws-token")} == {0o600}
    assert issued.store.parent.stat().st_mode & 0o777 == 0o700


def test_a_traefik_that_is_made_anew_goes_on_with_the_certificate_it_has(issued: Issued) -> None:
    house, before = issued.house, issued.served(f"butai.{DOMAIN}")[1]["serialNumber"]
    house.api.remove_container(house.traefik.container, force=True)
    issued.store.chmod(0o644)  # as a backup may bring it back: Traefik would refuse it
    house.traefik.ensure()
    assert (
        "Attempt" not in (house.settings.state_dir / "edge" / "routes" / f"{house.settings.instance}.yml").read_text()
    )
    eventually(issued.is_up, 20)
    assert issued.served(f"butai.{DOMAIN}")[1]["serialNumber"] == before
    assert issued.authority.orders() == 1
    assert issued.store.stat().st_mode & 0o777 == 0o600


def test_nobody_gets_the_agents_credentials_from_outside(issued: Issued) -> None:
    for host in (f"butai.{DOMAIN}", "127.0.0.1:8001"):
        address = ("127.0.0.1", issued.house.settings.traefik.https_port)
        context = ssl.create_default_context(cadata=issued.authority.root())
        connection = http.client.HTTPSConnection(*address, context=context, timeout=10)
        connection.sock = context.wrap_socket(socket.create_connection(address), server_hostname=f"butai.{DOMAIN}")
        connection.request("GET", "/aws/credentials", headers={"Host": host, "Authorization": "guessed"})
        answer = connection.getresponse()
        assert answer.status == 401
        assert b"SecretAccessKey" not in answer.read()
        connection.close()
