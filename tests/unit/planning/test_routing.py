"""Which hostname leads where, in Traefik's words and back: what is written reads as it was meant."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent import config
from agent.config import Settings
from agent.errors import StateError
from agent.model.names import Hostname, Slug
from agent.model.observed import Container
from agent.model.route import Backend, Route, RouteTable
from agent.planning import routing
from tests.support.plans import R1, R2, SLUG, container, environment, release, service

BASE = 'domain = "staging.example.com"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
HOST = Hostname("feature-x.staging.example.com")


def settings(extra: str = "") -> Settings:
    return config.parse(BASE + extra, Path("/nowhere"))


@pytest.fixture
def https(tmp_path: Path) -> Settings:
    for name in ("wild.crt", "wild.key"):
        path = tmp_path / name
        path.write_text("pem")
        path.chmod(0o600)
    return config.parse(
        BASE + '[traefik]\ncertificate_file = "wild.crt"\nkey_file = "wild.key"\nhttps_port = 8443\n', tmp_path
    )


@pytest.fixture
def unmanaged() -> Settings:
    return settings(
        '[traefik]\nmanaged = false\ndirectory = "/etc/traefik/dynamic"\nagent_url = "http://127.0.0.1:8480"\n'
    )


def table(*routes: Route, **changes: object) -> RouteTable:
    base = RouteTable(SLUG, Backend.CONTAINERS, R1, routes or (Route(HOST, "web", 8000, ("butai-feature-x-web-1",)),))
    return replace(base, **changes)  # type: ignore[arg-type]


def test_the_entry_service_has_the_bare_hostname_and_other_public_services_one_each() -> None:
    web, api = service("web", ports=(8000, 9000), public=True), service("api", ports=(80,), public=True)
    db = service("db", ports=(3306,))
    serving = {spec.name: (container(spec),) for spec in (web, api, db)}
    assert routing.routes_for(environment(), release(web, api, db), serving, settings()).routes == (
        Route(HOST, "web", 8000, ("butai-feature-x-web-1",)),
        Route(Hostname("feature-x--api.staging.example.com"), "api", 80, ("butai-feature-x-api-1",)),
    )


def test_replicas_of_a_service_share_its_hostname_in_a_stable_order() -> None:
    web = service("web", replicas=2)
    serving = {"web": (container(web, number=10), container(web, number=9))}
    (route,) = routing.routes_for(environment(), release(web), serving, settings()).routes
    assert route.containers == ("butai-feature-x-web-9", "butai-feature-x-web-10")


def test_a_service_without_a_container_has_no_route_so_that_the_agent_answers_for_it() -> None:
    web, api = service("web"), service("api", ports=(80,), public=True)
    found = routing.routes_for(environment(), release(web, api), {"web": (container(web),)}, settings())
    assert [route.service for route in found.routes] == ["web"]


def test_of_two_services_whose_hostnames_read_the_same_the_first_has_it() -> None:
    web = service("web")
    twins = [service(name, ports=(80,), public=True) for name in ("api.v1", "api-v1")]
    serving = {spec.name: (container(spec),) for spec in (web, *twins)}
    found = routing.routes_for(environment(), release(web, *twins), serving, settings())
    assert [route.service for route in found.routes] == ["web", "api.v1"]


def test_somebody_elses_traefik_reaches_containers_by_address(unmanaged: Settings) -> None:
    web = service("web")
    found = routing.routes_for(environment(), release(web), {"web": (container(web),)}, unmanaged)
    assert found.routes[0].containers == ("10.200.0.131",)
    assert routing.parse(SLUG, routing.render(found, unmanaged), unmanaged) == found


def test_a_table_is_written_as_one_router_for_each_hostname_and_a_probe() -> None:
    document = routing.render(table(), settings())
    probe = document["http"]["middlewares"]["butai.feature-x:probe"]["headers"]["customResponseHeaders"]
    fingerprint = probe.pop("X-Butai-Route")
    assert len(fingerprint) == 16
    assert document == {
        "http": {
            "routers": {
                "butai.feature-x.web": {
                    "rule": "Host(`feature-x.staging.example.com`)",
                    "service": "butai.feature-x.web",
                    "entryPoints": ["web"],
                    "middlewares": ["butai.feature-x:revision"],
                },
                "butai.feature-x:probe": {
                    "rule": "(Host(`feature-x.staging.example.com`)) && Path(`/.well-known/butai`)",
                    "service": "noop@internal",
                    "middlewares": ["butai.feature-x:probe"],
                    "entryPoints": ["web"],
                },
            },
            "services": {
                "butai.feature-x.web": {
                    "loadBalancer": {
                        "servers": [{"url": "http://butai-feature-x-web-1:8000"}],
                        "serversTransport": "butai:transport",
                    }
                }
            },
            "middlewares": {
                "butai.feature-x:revision": {"headers": {"customResponseHeaders": {"X-Butai-Revision": R1}}},
                "butai.feature-x:probe": {"headers": {"customResponseHeaders": {"X-Butai-Revision": R1}}},
            },
        }
    }


def test_with_a_certificate_every_router_listens_for_tls_only(https: Settings) -> None:
    document = routing.render(table(), https)
    for router in document["http"]["routers"].values():
        assert (router["entryPoints"], router["tls"]) == (["websecure"], {})


def test_an_environment_without_a_site_is_sent_to_the_agent() -> None:
    waiting = routing.waiting_table(environment(), settings())
    document = routing.render(waiting, settings())
    assert document["http"]["routers"]["butai.feature-x."]["service"] == "butai:agent"
    assert "X-Butai-Revision" not in json.dumps(document)
    assert routing.parse(SLUG, document, settings()) == waiting


@pytest.mark.parametrize(
    "one",
    [
        table(),
        table(
            Route(HOST, "web", 8000, ("a-web-1", "a-web-2")),
            Route(Hostname("feature-x--a.staging.example.com"), "a.b_c--d", 65535, ("x.y_z",)),
        ),
        table(revision=None),
    ],
    ids=["one route", "two routes", "no revision"],
)
def test_what_is_written_reads_back_as_the_same_table(one: RouteTable, unmanaged: Settings) -> None:
    for each in (settings(), unmanaged):
        written = json.loads(json.dumps(routing.render(one, each)))
        assert routing.parse(SLUG, written, each) == one


def test_environments_never_share_a_name_of_traefiks() -> None:
    one = routing.render(table(Route(HOST, "b--c", 1, ("x",)), slug=Slug("a")), settings())
    other = routing.render(table(Route(HOST, "c", 1, ("x",)), slug=Slug("a--b")), settings())
    for kind in ("routers", "services", "middlewares"):
        assert not set(one["http"][kind]) & set(other["http"][kind])


def test_the_fingerprint_differs_with_all_that_changes_what_traefik_does(https: Settings) -> None:
    plain = settings()
    fingerprints = [
        routing.fingerprint(table(), plain),
        routing.fingerprint(table(revision=R2), plain),
        routing.fingerprint(table(Route(HOST, "web", 8001, ("butai-feature-x-web-1",))), plain),
        routing.fingerprint(table(Route(HOST, "web", 8000, ("butai-feature-x-web-2",))), plain),
        routing.fingerprint(table(), https),
    ]
    assert len(set(fingerprints)) == len(fingerprints)


@pytest.mark.parametrize(
    "route",
    [
        Route(HOST, "web`) || Host(`x", 80, ("a",)),
        Route(HOST, "web:80", 80, ("a",)),
        Route(HOST, "web@file", 80, ("a",)),
        Route(HOST, "web\n", 80, ("a",)),
        Route(HOST, "web", 80, ("a/b",)),
        Route(HOST, "web", 80, ("a@169.254.169.254",)),
        Route(HOST, "web", 80, ("",)),
        Route(HOST, "web", 80, ("-a",)),
        Route(HOST, "web", 0, ("a",)),
        Route(HOST, "web", 65_536, ("a",)),
        Route(HOST, "web", 80, ()),
        Route(str.__new__(Hostname, "a`) || HostRegexp(`.*"), "web", 80, ("a",)),
    ],
    ids=str,
)
def test_nothing_hostile_reaches_traefiks_folder(route: Route) -> None:
    with pytest.raises((StateError, ValueError)):
        routing.render(table(route), settings())


def test_a_hostname_twice_or_none_at_all_is_refused() -> None:
    route = Route(HOST, "web", 80, ("a",))
    for routes in ((), (route, replace(route, service="api"))):
        with pytest.raises(StateError):
            routing.render(RouteTable(SLUG, Backend.CONTAINERS, R1, routes), settings())


@pytest.mark.parametrize(
    "document",
    [{}, [], None, "x", {"http": None}, {"http": {"routers": {"x": {}}, "middlewares": {}}}, {"http": {"routers": 1}}],
    ids=repr,
)
def test_what_is_not_ours_is_told_apart(document: object) -> None:
    with pytest.raises(ValueError, match="not a"):
        routing.parse(SLUG, document, settings())  # type: ignore[arg-type]


def test_the_agent_has_its_own_hostname_and_everything_that_nobody_else_has() -> None:
    document = routing.base_routes(settings(), None)
    assert document["http"]["routers"] == {
        "butai:agent": {
            "rule": "Host(`butai.staging.example.com`)",
            "service": "butai:agent",
            "entryPoints": ["web"],
        },
        "butai:rest": {
            "rule": "PathPrefix(`/`)",
            "priority": 1,
            "service": "butai:agent",
            "entryPoints": ["web"],
        },
    }
    assert document["http"]["services"]["butai:agent"]["loadBalancer"]["servers"] == [{"url": "http://10.200.0.1:8480"}]


def test_of_somebody_elses_traefik_only_our_own_domain_is_caught(unmanaged: Settings) -> None:
    document = routing.base_routes(unmanaged, None)
    assert document["http"]["routers"]["butai:rest"] == {
        "rule": r"HostRegexp(`^.+\.staging\.example\.com$`)",
        "priority": 1,
        "service": "butai:agent",
    }


def test_the_certificate_is_the_default_one_for_every_name(https: Settings) -> None:
    tls = routing.base_routes(https, ("a.crt", "a.key"))["tls"]
    pair = {"certFile": "/etc/butai/certificates/a.crt", "keyFile": "/etc/butai/certificates/a.key"}
    assert tls["certificates"] == [pair]
    assert tls["stores"]["default"]["defaultCertificate"] == pair


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ((), True),
        ((container(service("web"), "exited"), container(service("db"))), True),
        ((container(service("web"), "created"),), True),
        ((container(service("web")),), False),
        ((container(service("web"), "paused"),), False),
    ],
)
def test_a_route_leads_nowhere_when_nothing_behind_it_runs(containers: tuple[Container, ...], expected: bool) -> None:
    assert routing.leads_nowhere(table(), containers) is expected


def test_a_route_by_address_leads_to_whoever_has_that_address_now() -> None:
    by_address = table(Route(HOST, "web", 8000, ("10.200.0.131",)))
    assert not routing.leads_nowhere(by_address, (container(service("web")),))
    assert routing.leads_nowhere(by_address, (container(service("web"), "exited", addresses={}),))


def test_routes_that_cannot_be_read_lead_somewhere_as_long_as_anything_runs() -> None:
    """Those of an older agent are written anew by and by, and nobody has to see a page until then."""
    unread = RouteTable(SLUG, Backend.AGENT, None, ())
    assert not routing.leads_nowhere(unread, (container(service("web")),))
    assert routing.leads_nowhere(unread, (container(service("web"), "exited"),))
