"""The edge: which network, container and addresses Traefik and the agent meet at.

Traefik runs in bridge mode on a network of its own whose addresses are fixed by the settings, so the agent
knows where to listen and where to ask before anything runs. It never sees the Docker socket.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from agent.config import Settings
from agent.model.edge import AcmeFiles, ContainerSpec, Mount, NetworkSpec, PublishedPort
from agent.model.labels import CONFIG, INSTANCE, ROLE
from agent.model.names import Hostname
from agent.planning import acme
from agent.planning.acme import CERTIFICATES
from agent.planning.addresses import edge_subnet

ROUTES = "/etc/butai/routes"  # as Traefik sees them
HTTP_PORT = 8000  # inside the container, where no port below 1024 needs a privilege
HTTPS_PORT = 8443

_EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound
_FIRST = 1_000  # before every network that is joined later
_MEMORY_BYTES = 1024**3  # 92 MB were measured at rest, 131 MB with 2,000 routes


def agent_hostname(settings: Settings) -> Hostname:
    """The agent's own name: hooks, Slack and API. `butai` is a reserved slug."""
    return Hostname(f"butai.{settings.domain}")


def container_name(settings: Settings) -> str:
    """Two hyphens, so that no environment's container can have this name."""
    return f"{settings.instance}--traefik"


def agent_address(settings: Settings) -> tuple[str, int]:
    """Where the agent's HTTP server listens: an address that only this host and its containers reach."""
    if settings.server.listen:
        return settings.server.listen, settings.server.port
    return (edge_network(settings).gateway if settings.traefik.managed else "127.0.0.1"), settings.server.port


def agent_url(settings: Settings) -> str:
    """How Traefik reaches the agent."""
    if settings.traefik.agent_url:
        return settings.traefik.agent_url.rstrip("/")
    address, port = agent_address(settings)
    if settings.traefik.managed and address == _EVERYWHERE:
        address = edge_network(settings).gateway
    return f"http://{address}:{port}"


def edge_address(settings: Settings) -> str:
    """Traefik's own address on the edge network: the one peer there that may talk to the agent."""
    return str(edge_subnet(settings.docker.address_pool, settings.docker.block_prefix)[2])


def probe_address(settings: Settings) -> tuple[str, int]:
    """Where the agent asks Traefik what it serves: the entry point that people use, without the way round the host."""
    secure = settings.scheme == "https"
    if settings.traefik.managed:
        return edge_address(settings), HTTPS_PORT if secure else HTTP_PORT
    address = settings.traefik.address
    address = "127.0.0.1" if address == _EVERYWHERE else address
    return address, settings.traefik.https_port if secure else settings.traefik.http_port


def edge_network(settings: Settings) -> NetworkSpec:
    """The network of Traefik and the agent: the first block of the pool, the host first and Traefik second in it.

    Two hyphens, because engines before API 1.48 make the network whose name sorts first the gateway and
    move the published ports there: this sorts before the `<instance>-<slug>` of every environment.
    """
    subnet = edge_subnet(settings.docker.address_pool, settings.docker.block_prefix)
    return NetworkSpec(
        name=f"{settings.instance}--edge",
        subnet=str(subnet),
        gateway=str(subnet[1]),
        labels={INSTANCE: settings.instance, ROLE: "edge"},
    )


def acme_folder(settings: Settings) -> str:
    """Name of the folder in which Traefik keeps what the authority of the settings gave it; "" without ACME."""
    return acme.storage_name(settings)


def edge_container(
    settings: Settings, *, routes_dir: Path, certificates_dir: Path, acme_files: AcmeFiles | None, user: str
) -> ContainerSpec:
    """Traefik's container. `user` ("uid:gid") owns all folders: Traefik reads keys that nobody else may."""
    traefik = settings.traefik
    mounts = [Mount(routes_dir, ROUTES), Mount(certificates_dir, CERTIFICATES)]
    if acme_files is not None:
        mounts.append(Mount(acme_files.folder, acme.STORAGE, read_only=False))
    pairs = [(traefik.http_port, HTTP_PORT)]
    if settings.scheme == "https":
        pairs.append((traefik.https_port, HTTPS_PORT))
    ports = [PublishedPort(address, *pair) for pair in pairs for address in _published_at(settings)]
    spec = ContainerSpec(
        name=container_name(settings),
        image=traefik.image,
        command=static_config(settings, acme_files),
        network=edge_network(settings).name,
        address=edge_address(settings),
        labels={INSTANCE: settings.instance, ROLE: "edge"},
        network_priority=_FIRST,
        ports=tuple(ports),
        mounts=tuple(mounts),
        user=user,
        memory_bytes=_MEMORY_BYTES,
        environment=acme.environment(settings, acme_files),
    )
    digest = hashlib.sha256(repr(spec).encode()).hexdigest()[:16]
    return replace(spec, labels={**spec.labels, CONFIG: digest})


def _published_at(settings: Settings) -> tuple[str, ...]:
    """Addresses of this host at which Traefik is reached. Docker takes 0.0.0.0 for IPv4 alone.

    The network of Traefik has no IPv6: what comes over it is passed on by Docker's userland proxy.
    """
    address, dns = settings.traefik.address, settings.dns
    leads_here = (
        dns is not None and dns.load_balancer is None and (dns.ipv6 or any(":" in one for one in dns.addresses))
    )
    return (address, "::") if leads_here and address == _EVERYWHERE else (address,)


def static_config(settings: Settings, acme_files: AcmeFiles | None = None) -> tuple[str, ...]:
    """Traefik's static configuration as flags: it reads one folder and trusts, tells and asks nobody."""
    flags = [
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        f"--providers.file.directory={ROUTES}",
        "--providers.file.watch=true",
        # The default of 2 s is what a second change within 2 s would wait for.
        "--providers.providersthrottleduration=100ms",
        *_entry_point("web", HTTP_PORT),
    ]
    if settings.scheme == "https":
        flags += [
            *_entry_point("websecure", HTTPS_PORT),
            f"--entrypoints.web.http.redirections.entrypoint.to=:{settings.traefik.https_port}",
            "--entrypoints.web.http.redirections.entrypoint.scheme=https",
            # A browser never forgets a permanent one, also when the certificate is taken away again.
            "--entrypoints.web.http.redirections.entrypoint.permanent=false",
            *acme.flags(settings, acme_files),
        ]
    return tuple(flags)


def _entry_point(name: str, port: int) -> tuple[str, ...]:
    """X-Forwarded-* from outside is dropped: nothing is in `trustedips`."""
    return (
        f"--entrypoints.{name}.address=:{port}",
        # No rule of ours depends on the path, so applications get it as it was sent.
        f"--entrypoints.{name}.http.sanitizepath=false",
        f"--entrypoints.{name}.http.encodequerysemicolons=true",  # else `;` becomes `&`
        f"--entrypoints.{name}.http.maxheaderbytes=32768",
        # `X_Forwarded_For` is X-Forwarded-For to WSGI, CGI and PHP; nginx drops such names by default, too.
        f"--entrypoints.{name}.http.aliasheadersstrategy=delete",
        # The default of 60 s cuts off large uploads on slow lines.
        f"--entrypoints.{name}.transport.respondingtimeouts.readtimeout=900s",
    )
