"""Everything that can be set, and what follows from it: host names, URLs, fingerprints."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from agent.config import checks
from agent.config.project import Project
from agent.config.schema import NEEDS_RESTART, EachKey, Example
from agent.config.secret import SHORTEST, Secret
from agent.config.sections import Care, Dns, Docker, Firewall, Forges, GitHub, Limits, Server, Slack, Traefik
from agent.model.names import Hostname, Slug
from agent.model.slug import service_label

_SECRET_NAME = re.compile(r"PASS(WORD|WD|PHRASE)|SECRET|TOKEN|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE)
_STANDARD_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)  # no slots: `hidden` is kept
class Settings:
    domain: Annotated[
        str,
        "Environments are reached at <slug>.<domain>. Its wildcard record must point to this host.",
        checks.domain,
        Example("staging.example.com"),
    ]
    instance: Annotated[
        str,
        "Prefix of everything this agent makes in Docker. Several agents on one engine need one each.",
        checks.instance,
        NEEDS_RESTART,
    ] = "butai"
    state_dir: Annotated[Path, "Database, mirrors, checkouts, logs. On a disk with room for them.", NEEDS_RESTART] = (
        Path("/var/lib/butai")
    )
    server: Annotated[Server, "The agent's own HTTP server."] = field(default_factory=Server)
    docker: Annotated[Docker, "Docker Engine."] = field(default_factory=Docker)
    firewall: Annotated[Firewall, "What containers reach of this host."] = field(default_factory=Firewall)
    traefik: Annotated[Traefik, "Traefik, which sends each hostname to its environment."] = field(
        default_factory=Traefik
    )
    dns: Annotated[
        Dns | None,
        "The records of <domain> and *.<domain> in Amazon Route53. Without this section they are yours to make.",
    ] = None
    slack: Annotated[Slack | None, "The slash command /butai. Without this section there is none."] = None
    forges: Annotated[Forges, ""] = field(default_factory=Forges)
    limits: Annotated[Limits, "What is enough for one host."] = field(default_factory=Limits)
    care: Annotated[Care, "How the agent looks after itself and its disk."] = field(default_factory=Care)
    projects: Annotated[
        Mapping[str, Project],
        "Repositories that may go on stage; at least one. `shop` is the name that people use for it.",
        EachKey(checks.project_name),
        Example("shop"),
    ] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def github(self) -> GitHub | None:
        return self.forges.github

    @property
    def scheme(self) -> str:
        """ "https" with a certificate, else "http"."""
        traefik = self.traefik
        return "https" if traefik.certificate_file or traefik.acme or traefik.https else "http"

    @property
    def acme_zone(self) -> str:
        """The hosted zone in which Traefik proves that the domain is ours; "" when it need not."""
        acme = self.traefik.acme
        return "" if acme is None else acme.zone or (self.dns.zone if self.dns else "")

    @property
    def has_roles(self) -> bool:
        """Whether a project has an AWS role of its own."""
        return any(project.role for project in self.projects.values())

    def hostname(self, slug: Slug, service: str = "") -> Hostname:
        """Where an environment is reached, or one of its further services."""
        label = service_label(slug, service) if service else slug
        return Hostname(f"{label}.{self.domain}")

    def url(self, hostname: Hostname) -> str:
        """The address that people click on, with the port only where a browser needs it."""
        port = self.traefik.https_port if self.scheme == "https" else self.traefik.http_port
        suffix = "" if port == _STANDARD_PORTS[self.scheme] else f":{port}"
        return f"{self.scheme}://{hostname}{suffix}"

    def fingerprint(self, project: str) -> str:
        """Changes with every setting that may change what a revision of this project becomes here.

        KeyError for an unknown project. Timeouts count: raising one gives a failed revision a new try.
        """
        found = self.projects[project]
        relevant = {
            "domain": self.domain,
            "instance": self.instance,
            "url": self.url(Hostname("x")),
            "pool": [self.docker.address_pool, self.docker.block_prefix],
            "limits": [
                *(self.limits.memory, self.limits.cpus, self.limits.pids, self.limits.shm, self.limits.replicas),
                *(self.limits.start_timeout_s, self.limits.build_timeout_s),
            ],
            "compose": [found.compose_files, found.profiles, found.entry_service, found.entry_port],
            "environment": dict(found.environment),
            "allow": asdict(found.allow),
        }
        if found.region:  # only then: else every release would have to be read again by an agent that knows of it
            relevant["region"] = found.region
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()

    def secrets(self) -> tuple[Secret, ...]:
        """Every secret there is; a changed file of one is noticed."""
        return tuple(_secrets(self))

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """What no log, message or event may hold: the secrets, and variables whose names say that they are some."""
        variables = [pair for project in self.projects.values() for pair in project.environment.items()]
        named = [value for name, value in variables if _SECRET_NAME.search(name) and len(value) >= SHORTEST]
        return (*(secret.reveal() for secret in self.secrets()), *named)


def _secrets(section: Any) -> Iterator[Secret]:
    for entry in fields(section):
        value = getattr(section, entry.name)
        if isinstance(value, Secret):
            yield value
        elif is_dataclass(value):
            yield from _secrets(value)
        elif isinstance(value, Mapping):
            for each in value.values():
                yield from _secrets(each) if is_dataclass(each) else ()
