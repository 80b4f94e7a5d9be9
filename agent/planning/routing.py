"""Routing: which hostname leads where, and the same in Traefik's words and back.

Traefik merges every file of its folder into one configuration and one broken file blocks all new
routes, so nothing is rendered that does not read back as the same table.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.config import Settings
from agent.errors import StateError
from agent.model.environment import Environment
from agent.model.names import Hostname, Revision, Slug
from agent.model.observed import Container, ContainerState
from agent.model.release import Release, ServiceSpec
from agent.model.route import PROBE_PATH, REVISION_HEADER, ROUTE_HEADER, Backend, Route, RouteTable
from agent.planning import acme
from agent.planning.acme import CERTIFICATES
from agent.planning.edge import agent_hostname, agent_url

# Traefik's own handler that answers 418; always there, also in a Traefik that somebody else runs.
_ITSELF = "noop@internal"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)  # of a service or container, or an IPv4 address
_RULE = re.compile(r"Host\(`([^`]+)`\)", re.ASCII)
_TLS_OPTIONS = {"default": {"minVersion": "VersionTLS12"}}
_SERVER = re.compile(r"http://([A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)


def routes_for(
    environment: Environment, release: Release, serving: Mapping[str, Sequence[Container]], settings: Settings
) -> RouteTable:
    """The table that sends each public service's hostname to its `serving` containers, the entry service's first.

    A service without a serving container has no route: its hostname falls to the agent, which says so. Of
    two services whose names read the same in a hostname (`api.v1`, `api-v1`) the first has it.
    """
    entry = release.service(release.entry_service)
    others = [spec for spec in release.services if spec.public and spec.ports and spec.name != entry.name]
    routes = [_route(environment, entry, "", release.entry_port, serving, settings)]
    routes += [_route(environment, spec, spec.name, spec.ports[0], serving, settings) for spec in others]
    found: dict[Hostname, Route] = {}
    for route in routes:
        if route.containers:
            found.setdefault(route.hostname, route)
    return RouteTable(environment.slug, Backend.CONTAINERS, release.revision, tuple(found.values()))


def _route(
    environment: Environment,
    spec: ServiceSpec,
    label: str,
    port: int,
    serving: Mapping[str, Sequence[Container]],
    settings: Settings,
) -> Route:
    containers = sorted(serving.get(spec.name, ()), key=lambda container: (container.number, container.name))
    if settings.traefik.managed:
        reached = tuple(container.name for container in containers)
    else:
        # Somebody else's Traefik joins none of our networks, so their names mean nothing to it.
        reached = tuple(
            address for container in containers for _, address in sorted(container.addresses.items())[:1] if address
        )
    return Route(settings.hostname(environment.slug, label), spec.name, port, reached)


def waiting_table(environment: Environment, settings: Settings) -> RouteTable:
    """The table that sends the environment's hostname to the agent, whose page says why there is no site."""
    route = Route(settings.hostname(environment.slug), "", 0, ())
    return RouteTable(environment.slug, Backend.AGENT, None, (route,))


def leads_nowhere(table: RouteTable, containers: Iterable[Container]) -> bool:
    """Whether nobody would answer who follows the table: of the environment's `containers` none behind it runs.

    A table without routes is one that we cannot read: then any container that runs may be the one behind it.
    """
    there = [one for one in containers if one.state in (ContainerState.RUNNING, ContainerState.PAUSED)]
    if not table.routes:
        return not there
    reached = {name for route in table.routes for name in route.containers}
    return not any({one.name, *one.addresses.values()} & reached for one in there)


def render(table: RouteTable, settings: Settings) -> dict[str, Any]:
    """`table` as a dynamic configuration of Traefik; StateError for what would not be read back as `table`."""
    _check(table)
    document = _document(table, settings)
    if parse(table.slug, document, settings) != table:
        raise StateError(f"The routes of {table.slug} do not survive being written down: {table}.")
    return document


def fingerprint(table: RouteTable, settings: Settings) -> str:
    """What the probe of this table answers in X-Butai-Route; differs whenever the file's bytes would."""
    return str(_probe_headers(render(table, settings), _Names(table.slug, settings))[ROUTE_HEADER])


def parse(slug: Slug, document: Mapping[str, Any], settings: Settings) -> RouteTable:
    """The table that `document` was rendered from. Raises ValueError when it is none of ours."""
    names = _Names(slug, settings)
    try:
        http = document["http"]
        revision = _probe_headers(document, names).get(REVISION_HEADER)
        routes = tuple(
            _parse_route(names.service_of(name), router, http.get("services", {}))
            for name, router in http["routers"].items()
            if name != names.probe
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not a route file of {slug}: {error!r}") from error
    backend = Backend.CONTAINERS if any(route.containers for route in routes) else Backend.AGENT
    return RouteTable(slug, backend, Revision(revision) if revision else None, routes)


def base_routes(settings: Settings, certificate: tuple[str, str] | None, *, attempt: str = "") -> dict[str, Any]:
    """What holds for all environments: the agent's own hostname, the catch-all, transport and certificate.

    `certificate` names two files, certificate and key, in the folder of certificates. Another `attempt` makes Traefik
    try again to get one by itself, which it does only when something changes here.
    """
    instance = settings.instance
    own = f"Host(`{agent_hostname(settings)}`)"
    if settings.traefik.managed:
        rest = "PathPrefix(`/`)"
    else:  # a Traefik that serves others too: only our own domain is ours to catch
        rest = "HostRegexp(`^.+\\." + settings.domain.replace(".", "\\.") + "$`)"
    entry = _entry(settings)
    document: dict[str, Any] = {
        "http": {
            "routers": {
                f"{instance}:agent": {"rule": own, "service": f"{instance}:agent", **entry},
                f"{instance}:rest": {"rule": rest, "priority": 1, "service": f"{instance}:agent", **entry},
            },
            "services": {f"{instance}:agent": {"loadBalancer": {"servers": [{"url": agent_url(settings)}]}}},
            "serversTransports": {
                # Idle connections are let go before applications close them (uvicorn and Node after 5 s),
                # so that no request is written into a connection that is just being closed.
                f"{instance}:transport": {
                    "maxIdleConnsPerHost": 100,
                    "forwardingTimeouts": {"dialTimeout": "5s", "idleConnTimeout": "2s"},
                }
            },
        }
    }
    if settings.traefik.acme is not None:
        _add_acme(document, settings, attempt)
    if certificate is not None:
        pair = {"certFile": f"{CERTIFICATES}/{certificate[0]}", "keyFile": f"{CERTIFICATES}/{certificate[1]}"}
        document["tls"] = {
            "certificates": [pair],
            "stores": {"default": {"defaultCertificate": pair}},
            "options": _TLS_OPTIONS,
        }
    return document


def _add_acme(document: dict[str, Any], settings: Settings, attempt: str) -> None:
    """Let the agent's own routers use the entry point's certificate, and Traefik fetch credentials for it.

    A router with `tls` of its own takes nothing from its entry point. Those of environments have it: their names are
    covered by the same certificate, and Traefik has two routers to check at each change, not hundreds.
    """
    routers = document["http"]["routers"]
    for router in routers.values():
        del router["tls"]
    routers[f"{settings.instance}:lending"] = {
        "rule": f"Path(`{acme.LENDING_PATH}`)",
        "service": f"{settings.instance}:agent",
        "entryPoints": [acme.LENDING_ENTRY],
    }
    document["tls"] = {"options": _TLS_OPTIONS}
    if attempt:  # a middleware that no router uses
        document["http"]["middlewares"] = {f"{settings.instance}:attempt": _headers({"X-Butai-Attempt": attempt})}


class _Names:
    """Names of Traefik's objects: unique over all files, environments and agents that share a Traefik.

    A slug holds no dot and a service name no colon, so `butai.a--b.c` and `butai.a.b--c` stay apart.
    """

    def __init__(self, slug: Slug, settings: Settings) -> None:
        self._prefix = f"{settings.instance}.{slug}"
        self.probe = f"{self._prefix}:probe"
        self.headers = f"{self._prefix}:revision"
        self.agent = f"{settings.instance}:agent"
        self.transport = f"{settings.instance}:transport"

    def of(self, service: str) -> str:
        return f"{self._prefix}.{service}"

    def service_of(self, name: str) -> str:
        if not name.startswith(f"{self._prefix}."):
            raise ValueError(f"not a router of ours: {name[:80]!r}")
        return name.removeprefix(f"{self._prefix}.")


def _document(table: RouteTable, settings: Settings) -> dict[str, Any]:
    names = _Names(table.slug, settings)
    entry = _entry(settings)
    revision = {REVISION_HEADER: table.revision} if table.revision else {}
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for route in table.routes:
        name = names.of(route.service)
        target = name if route.containers else names.agent
        routers[name] = {"rule": f"Host(`{route.hostname}`)", "service": target, **entry}
        if revision:
            routers[name]["middlewares"] = [names.headers]
        if route.containers:
            servers = [{"url": f"http://{container}:{route.port}"} for container in route.containers]
            services[name] = {"loadBalancer": {"servers": servers, "serversTransport": names.transport}}
    hosts = " || ".join(f"Host(`{route.hostname}`)" for route in table.routes)
    # Longer than each Host rule it contains, so Traefik's default priority puts it before them.
    probe = {
        "rule": f"({hosts}) && Path(`{PROBE_PATH}`)",
        "service": _ITSELF,
        "middlewares": [names.probe],
        **entry,
    }
    document: dict[str, Any] = {"http": {"routers": {**routers, names.probe: probe}}}
    if services:
        document["http"]["services"] = services
    middlewares = {names.headers: _headers(revision)} if revision else {}
    canonical = json.dumps([document, middlewares], separators=(",", ":")).encode()
    told = {**revision, ROUTE_HEADER: hashlib.sha256(canonical).hexdigest()[:16]}
    document["http"]["middlewares"] = {**middlewares, names.probe: _headers(told)}
    return document


def _headers(headers: Mapping[str, str]) -> dict[str, Any]:
    return {"headers": {"customResponseHeaders": dict(headers)}}


def _entry(settings: Settings) -> dict[str, Any]:
    """Where a router listens. Somebody else's entry points have names that only they know: all of them, then."""
    secure = settings.scheme == "https"
    entry: dict[str, Any] = {"tls": {}} if secure else {}
    if settings.traefik.managed:
        entry["entryPoints"] = ["websecure" if secure else "web"]
    return entry


def _probe_headers(document: Mapping[str, Any], names: _Names) -> Mapping[str, str]:
    headers: Mapping[str, str] = document["http"]["middlewares"][names.probe]["headers"]["customResponseHeaders"]
    return headers


def _parse_route(service: str, router: Mapping[str, Any], services: Mapping[str, Any]) -> Route:
    rule = _RULE.fullmatch(router["rule"])
    if rule is None:
        raise ValueError(f"not a rule of ours: {router['rule'][:80]!r}")
    balancer = services.get(router["service"], {}).get("loadBalancer", {})
    servers = [_SERVER.fullmatch(server["url"]) for server in balancer.get("servers", ())]
    found = [server for server in servers if server is not None]
    ports = {int(server[2]) for server in found}
    if len(found) != len(servers) or len(ports) > 1:
        raise ValueError(f"not servers of ours: {balancer!r}")
    return Route(Hostname(rule[1]), service, ports.pop() if ports else 0, tuple(server[1] for server in found))


def _check(table: RouteTable) -> None:
    hostnames = [route.hostname for route in table.routes]
    problem = ""
    if not hostnames or len(set(hostnames)) != len(hostnames):
        problem = "no hostname, or one twice"
    for route in table.routes:
        if route.service and not _NAME.fullmatch(route.service):
            problem = f"service name {route.service[:80]!r}"
        if not all(_NAME.fullmatch(container) for container in route.containers):
            problem = f"containers {route.containers!r}"
        if route.containers and not 0 < route.port < 65_536:
            problem = f"port {route.port}"
        if bool(route.containers) != (table.backend is Backend.CONTAINERS):
            problem = f"{len(route.containers)} containers behind {table.backend}"
    if problem:
        raise StateError(f"The routes of {table.slug} cannot be written: {problem}.")
