"""What must hold between settings that are each fine by themselves."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from agent.config.checks import UnfitError
from agent.config.project import Project
from agent.config.secret import read_private
from agent.config.settings import Settings
from agent.errors import Problem

_SOCKET_PATH_BYTES = 107  # sun_path of unix(7) holds 108 with the final zero


Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """Checked only when nothing is wrong with any of `paths`: else it would complain about a default."""

    paths: tuple[str, ...]
    check: Callable[[Subject], Iterator[Problem]]

    def broken(self, subject: Subject, place: str, wrong_paths: Sequence[str]) -> Iterator[Problem]:
        """The problems of `subject`, which stands at `place` in the file ("" or "projects.shop.")."""
        if not any(_touches(wrong, place + path) for wrong in wrong_paths for path in self.paths):
            for problem in self.check(subject):
                yield replace(problem, path=place + problem.path)


def broken_rules(settings: Settings, wrong_paths: Sequence[str]) -> list[Problem]:
    """Every rule that does not hold."""
    problems = [problem for rule in _RULES for problem in rule.broken(settings, "", wrong_paths)]
    for name, project in settings.projects.items():
        for rule in _PROJECT_RULES:
            problems += rule.broken(project, f"projects.{name}.", wrong_paths)
    return problems


def _touches(wrong: str, path: str) -> bool:
    return wrong == path or wrong.startswith((f"{path}.", f"{path}[")) or path.startswith(f"{wrong}.")


def _some_project(settings: Settings) -> Iterator[Problem]:
    if not settings.projects:
        yield Problem("projects", "there is none", "add a section [projects.NAME] with its `remote`")


def _room(settings: Settings) -> Iterator[Problem]:
    prefix = ipaddress.IPv4Network(settings.docker.address_pool).prefixlen
    blocks = 2 ** max(0, settings.docker.block_prefix - prefix) - 1  # the first is Traefik's
    if blocks < settings.limits.environments:
        yield Problem(
            "docker.address_pool",
            f"has room for {blocks} environments, but limits.environments is {settings.limits.environments}",
            "take a larger pool, a larger block_prefix or a lower limit",
        )


def _socket(settings: Settings) -> Iterator[Problem]:
    if len(os.fsencode(settings.server.socket)) > _SOCKET_PATH_BYTES:
        yield Problem("server.socket", f"is longer than the {_SOCKET_PATH_BYTES} bytes that a socket's path may have")


def _ports(settings: Settings) -> Iterator[Problem]:
    ports = {"traefik.http_port": settings.traefik.http_port, "traefik.https_port": settings.traefik.https_port}
    if settings.traefik.http_port == settings.traefik.https_port:
        yield Problem("traefik.https_port", "is the same as traefik.http_port")
    if settings.server.listen in ("0.0.0.0", "::", settings.traefik.address):  # noqa: S104 - compared, not bound
        for path, port in ports.items():
            if port == settings.server.port:
                yield Problem("server.port", f"is the same as {path}")


def _ownership(settings: Settings) -> Iterator[Problem]:
    """Which settings make sense depends on who runs Traefik."""
    needed = {"traefik.directory": settings.traefik.directory, "traefik.agent_url": settings.traefik.agent_url}
    for path, value in needed.items():
        if settings.traefik.managed and value:
            yield Problem(path, "is used only with managed = false", "remove one of the two")
        if not settings.traefik.managed and not value:
            yield Problem(path, "is missing: with managed = false it is needed")
    if settings.traefik.managed and settings.traefik.https:
        yield Problem("traefik.https", "is used only with managed = false", "a certificate or [traefik.acme] says it")


def _certificate(settings: Settings) -> Iterator[Problem]:
    certificate, key = settings.traefik.certificate_file, settings.traefik.key_file
    if (certificate is None) != (key is None):
        missing = "certificate_file" if certificate is None else "key_file"
        yield Problem(f"traefik.{missing}", "is missing: certificate and key come together")
    yield from _file("traefik.certificate_file", certificate, others=0)
    yield from _file("traefik.key_file", key, others=stat.S_IROTH | stat.S_IWOTH)


def _acme(settings: Settings) -> Iterator[Problem]:
    """Somebody else's Traefik gets its certificates as its owner says, not as we do."""
    acme = settings.traefik.acme
    if acme is None:
        return
    if not settings.traefik.managed:
        hint = "give your Traefik a resolver as docs/how-to/certificates.md shows, and write https = true here"
        yield Problem("traefik.acme", "is used only with managed = true", hint)
        return
    if settings.traefik.certificate_file is not None:
        yield Problem("traefik.acme", "is not used with traefik.certificate_file", "remove one of the two")
    if not settings.acme_zone:
        hint = "the id of the hosted zone in which <domain> is"
        yield Problem("traefik.acme.zone", "is missing: without a section [dns] it is needed", hint)
    if acme.ca_file is not None and acme.ca in ("production", "staging"):
        yield Problem("traefik.acme.ca_file", "is used only with the URL of another authority", "remove it")
    else:
        yield from _file("traefik.acme.ca_file", acme.ca_file, others=0)


def _leads_somewhere(settings: Settings) -> Iterator[Problem]:
    """The records lead to one place: of each kind of address there is one, or they are aliases."""
    if settings.dns is None:
        return
    addresses = settings.dns.addresses
    versions = [ipaddress.ip_address(address).version for address in addresses]
    if len(set(versions)) < len(versions):
        yield Problem("dns.addresses", "has two addresses of one kind", "this host is reached at one of each")
    if addresses and settings.dns.load_balancer is not None:
        yield Problem("dns.addresses", "is not used with dns.load_balancer", "remove one of the two")


def _leads_to_us(settings: Settings) -> Iterator[Problem]:
    """The firewall leads containers of a project with a role to the agent, at an IPv4 address that it listens on."""
    with_role = next((name for name, project in settings.projects.items() if project.role), None)
    if with_role is None:
        return
    place = f"projects.{with_role}.role"
    if not settings.firewall.manage:
        yield Problem(place, "needs firewall.manage: the firewall leads containers to their credentials")
    listens = settings.server.listen or ("" if settings.traefik.managed else "127.0.0.1")
    found = ipaddress.ip_address(listens) if listens else None
    if found is not None and (found.is_loopback or (found.version != 4 and not found.is_unspecified)):
        hint = "write server.listen: an IPv4 address of this host that is not its loopback"
        yield Problem(place, f"needs an agent that containers can be led to, and it listens on {listens}", hint)


def _role(project: Project) -> Iterator[Problem]:
    if project.role and not project.region:
        yield Problem("region", "is missing: with a role it is needed", 'the region to work in, such as "eu-west-1"')
    if project.region and not project.role:
        yield Problem("region", "is used only with a role", "remove it, or write AWS_REGION into the compose file")


def _deploy_key(project: Project) -> Iterator[Problem]:
    # ssh itself refuses a key that anybody but its owner may read
    yield from _file("deploy_key_file", project.deploy_key_file, others=stat.S_IRWXG | stat.S_IRWXO)
    if project.deploy_key_file and project.remote.startswith(("http", "file:", "/")):
        yield Problem("deploy_key_file", "is used only with SSH remotes", "over HTTPS a `token_file` lets you in")


def _token(project: Project) -> Iterator[Problem]:
    if project.token is not None and not project.remote.startswith(("http://", "https://")):
        yield Problem("token_file", "is used only with HTTPS remotes", "over SSH a `deploy_key_file` lets you in")


def _entry(project: Project) -> Iterator[Problem]:
    if project.entry_port and not project.entry_service:
        yield Problem("entry_port", "needs entry_service", "say whose port it is")


def _readable_variables(project: Project) -> Iterator[Problem]:
    for variable in project.allow.variables:
        if variable not in project.environment:
            yield Problem("allow.variables", f"names {variable}, which is not set", "set it in `environment`")


def _file(place: str, path: Path | None, *, others: int) -> Iterator[Problem]:
    if path is None:
        return
    try:
        if not read_private(path, others=others).strip():
            yield Problem(place, f"the file {path} is empty")
    except UnfitError as error:
        yield Problem(place, error.message, error.hint)


_RULES = (
    Rule(("projects",), _some_project),
    Rule(("docker.address_pool", "docker.block_prefix", "limits.environments"), _room),
    Rule(("server.socket",), _socket),
    Rule(("server.port", "server.listen", "traefik.address", "traefik.http_port", "traefik.https_port"), _ports),
    Rule(("traefik.managed", "traefik.directory", "traefik.agent_url", "traefik.https"), _ownership),
    Rule(("traefik.certificate_file", "traefik.key_file"), _certificate),
    Rule(("traefik.acme", "traefik.managed", "traefik.certificate_file", "dns"), _acme),
    Rule(("dns",), _leads_somewhere),
    Rule(("projects", "firewall.manage", "server.listen", "traefik.managed"), _leads_to_us),
)
_PROJECT_RULES = (
    Rule(("remote", "deploy_key_file"), _deploy_key),
    Rule(("remote", "token_file"), _token),
    Rule(("entry_port", "entry_service"), _entry),
    Rule(("environment", "allow.variables"), _readable_variables),
    Rule(("role", "region"), _role),
)
