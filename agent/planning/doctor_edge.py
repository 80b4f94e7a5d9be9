"""Checks of the way in: Traefik, its ports, the names and the certificate, and the rules that hold others out."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

from agent.config import Settings
from agent.model.facts import Facts
from agent.model.finding import Finding, failure, not_applicable, ok, unknown, warning
from agent.planning.edge import agent_address, agent_hostname, container_name
from agent.planning.firewall import bars_agent
from agent.planning.versions import version_of

_KEEPER = "journalctl -u butai -g firewall"
LEAST_TRAEFIK = (3, 7)  # the first whose entry points know `aliasHeadersStrategy`, which the agent sets


def firewall(facts: Facts, settings: Settings) -> Finding:
    """Docker's own rules are in the firewall: `firewall-cmd --reload` and its like throw them out.

    Source: host-limits, iptables/firewalld flush.
    """
    rules = facts.host.firewall
    if rules is None:
        return unknown("The firewall's rules are told by `iptables -S`, to root only.", "sudo butai doctor")
    if "-N DOCKER-USER" not in rules and facts.engine is not None and (version_of(facts.engine.version) or ()) >= (29,):
        return unknown("There is no chain DOCKER-USER: the engine may use nftables.", "nft list tables")
    if "-A FORWARD -j DOCKER-USER" not in rules:
        return failure(
            "Docker's rules are not in the firewall: containers are not reached, or not held apart.",
            "systemctl restart docker",
        )
    return ok("Docker's rules are in the firewall.")


def traefik(facts: Facts, settings: Settings) -> Finding:
    """Traefik runs, is recent enough, and reads no labels of containers.

    Source: host-limits, preflight: Traefik version/`exposedByDefault=false`.
    """
    if not settings.traefik.managed:
        return not_applicable("Somebody else runs Traefik (traefik.managed = false).")
    if facts.engine is None:
        return unknown("Docker Engine does not answer.", "systemctl start docker")
    name, edge = container_name(settings), facts.engine.edge
    if edge is None:
        return failure(f"There is no container {name}.", "systemctl status butai")
    if not edge.is_running:
        return failure(f"The container {name} does not run.", f"docker logs {name}")
    if any(word.startswith("--providers.docker") for word in edge.command):
        return failure(f"{name} reads labels of containers.", "systemctl restart butai")
    found = version_of(edge.image.partition("@")[0].rpartition(":")[2])
    if found is not None and found < LEAST_TRAEFIK:
        return failure(f"Traefik {edge.image} is older than 3.7.", "`traefik.image` in the settings")
    return ok(f"{edge.image} runs.")


def ports(facts: Facts, settings: Settings) -> Finding:
    """The ports of Traefik are open on this host, and nobody else has taken them.

    Source: host-limits, published port clash.
    """
    wanted = [settings.traefik.http_port]
    if settings.scheme == "https":
        wanted.append(settings.traefik.https_port)
    taken = [port for port in wanted if port in facts.host.listening]
    runs = facts.engine is not None and facts.engine.edge is not None and facts.engine.edge.is_running
    if taken and settings.traefik.managed and not runs:
        return failure(
            f"Port {taken[0]} is taken by another program, and Traefik does not run.",
            f"ss -ltnp 'sport = :{taken[0]}'",
        )
    closed = [port for port in wanted if port not in taken]
    if closed:
        return failure(f"Nobody listens on port {closed[0]}.", "systemctl status butai")
    return ok(f"Somebody listens on {' and '.join(f'port {port}' for port in wanted)}.")


def agent_port(facts: Facts, settings: Settings) -> Finding:
    """The agent's own port is open to containers and strangers only through Traefik.

    Source: aws, 5.1 IMDS: container -> host traffic.
    """
    address, port = agent_address(settings)
    rules, wall = facts.host.firewall, facts.wall_problem
    if ipaddress.ip_address(address).is_loopback:
        return ok(f"The agent listens at {address} only.")
    if address in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return warning(
            f"The agent's port {port} is open on every address of this host.",
            "`server.listen` out of the settings, then restart the agent",
        )
    if wall:
        return warning(f"The agent cannot keep containers from its port {port}: {wall}", _KEEPER)
    if rules is None:
        return unknown("The firewall's rules are told by `iptables -S`, to root only.", "sudo butai doctor")
    if bars_agent(settings, rules):
        return ok(f"The agent listens at {address} only, and containers but Traefik are refused.")
    repair = _KEEPER if settings.firewall.manage else "`firewall.manage = true` in the settings"
    return warning(f"No rule of the firewall keeps containers from the agent's port {port}.", repair)


def dns(facts: Facts, settings: Settings) -> Finding:
    """The wildcard record leads to this host.

    Source: host-limits, preflight: DNS wildcard resolves to this host.
    """
    if _is_this_machine(settings):
        return not_applicable(f"{settings.domain} is this machine's own name.")
    found, wildcard = facts.door.addresses, f"*.{settings.domain}"
    repair = "butai dns check" if settings.dns else f"a record {wildcard} A with the address of this host"
    if found is None:
        return unknown("The resolver of this host does not answer.", "resolvectl status")
    if not found:
        return failure(f"{wildcard} has no address.", repair)
    ours = set(settings.dns.addresses if settings.dns else ()) | {facts.instance.public_ipv4} - {""}
    says = f"{wildcard} leads to {' and '.join(found)}"
    if not ours or (settings.dns is not None and settings.dns.load_balancer is not None):
        return ok(f"{says}.")
    if ours & set(found):
        return ok(f"{says}, this host.")
    return failure(f"{says}, but this host is {' and '.join(sorted(ours))}.", repair)


def dns_records(facts: Facts, settings: Settings) -> Finding:
    """The records that the section [dns] looks after are as they should be.

    Source: aws, 5.3 Route53.
    """
    if settings.dns is None:
        return not_applicable("The agent looks after no records (no section [dns]).")
    if facts.door.records_problem is None:
        return unknown("The records are looked at by the agent.", "butai dns")
    if facts.door.records_problem:
        return failure(facts.door.records_problem, "butai dns")
    return ok("The records are as they should be.")


def certificate(facts: Facts, settings: Settings) -> Finding:
    """Visitors are shown a certificate that somebody issued, and it has not run out.

    Source: host-limits, preflight: certificate expiry.
    """
    if settings.scheme == "http":
        return not_applicable("There is no certificate: URLs are http://.")
    shown = facts.door.certificate
    if shown is None:
        return unknown("Traefik shows no certificate.", "systemctl status butai")
    if shown.is_makeshift:
        return failure(
            "Traefik shows a certificate that it made itself: it has no other for"
            f" {settings.domain}, and browsers warn.",
            f"docker logs {container_name(settings)}" if settings.traefik.managed else _renewal(settings),
        )
    left, day = shown.ends_at - facts.taken_at, f"{shown.ends_at:%Y-%m-%d}"
    repair = _renewal(settings)
    if left <= timedelta(days=3):
        return failure(f"The certificate {'ran' if left < timedelta(0) else 'runs'} out on {day}.", repair)
    if left <= timedelta(days=21):
        return warning(f"The certificate runs out on {day}.", repair)
    return ok(f"The certificate is good until {day}.")


def _renewal(settings: Settings) -> str:
    """Who should have renewed the certificate, and where to see why it was not."""
    if not settings.traefik.managed:
        return "the log of your Traefik (traefik.managed = false)"
    if settings.traefik.acme is not None:
        return f"docker logs {container_name(settings)}: it should have renewed it by now"
    return "renew it, and put the new pair where `traefik.certificate_file` and `traefik.key_file` say"


def front_door(facts: Facts, settings: Settings) -> Finding:
    """The agent's own name is answered through Traefik: what webhooks and Slack need of this host.

    Source: host-limits, preflight: GitHub webhook reachability; self-probe.
    """
    if _is_this_machine(settings):
        return not_applicable(f"{settings.domain} is this machine's own name.")
    url, status = settings.url(agent_hostname(settings)), facts.door.status
    if status is None:
        return unknown(f"{url} was not asked.")
    if status == 0:
        return warning(
            f"{url} does not answer this host; the rules of a cloud may be the reason.",
            f"curl -v {url}/ from elsewhere; systemctl status butai",
        )
    if status >= 500:
        return failure(f"{url} answers {status}: Traefik does not reach the agent.", "systemctl status butai")
    return ok(f"{url} answers.")


def slack(facts: Facts, settings: Settings) -> Finding:
    """Slack takes the bot token, and it is of the workspace that the settings name.

    Source: host-limits, preflight: Slack token/secret.
    """
    if settings.slack is None:
        return not_applicable("There is no Slack (no section [slack]).")
    if settings.slack.bot_token is None:
        return ok("Without a bot token messages are edited for half an hour.")
    found, repair = facts.door.slack_team, "the token of the app's page at api.slack.com into the file of the settings"
    if found is None:
        return unknown("The bot token is tried by the agent, and Slack must answer.", "butai doctor, not as root")
    if facts.door.slack_refusal:
        return failure(facts.door.slack_refusal, f"{repair}, then `systemctl restart butai`")
    if found != settings.slack.team:
        return failure(f"The bot token is of the workspace {found}, not of {settings.slack.team}.", repair)
    return ok("Slack takes the bot token.")


def _is_this_machine(settings: Settings) -> bool:
    """Such names are for trying things out; browsers know them, resolvers need not (RFC 6761)."""
    return settings.domain == "localhost" or settings.domain.endswith(".localhost")
