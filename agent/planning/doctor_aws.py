"""Checks of an EC2 instance: who gets at its role, and whether AWS is about to take it away."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from agent.config import Settings
from agent.model.facts import Facts
from agent.model.finding import Finding, failure, not_applicable, ok, unknown, warning
from agent.planning.firewall import Family, bars_metadata

_BARS = {
    Family.V4: "iptables -I DOCKER-USER -d 169.254.0.0/16 -j DROP",
    Family.V6: "ip6tables -I DOCKER-USER -d fd00:ec2::254/128 -j DROP",
}
_KEEPER = "journalctl -u butai -g firewall"

_Judge = Callable[[Facts, Settings], Finding]


def _on_ec2(judge: _Judge) -> _Judge:
    """A check that has something to look at on an EC2 instance only."""

    @wraps(judge)
    def judged(facts: Facts, settings: Settings) -> Finding:
        return judge(facts, settings) if facts.is_ec2 else not_applicable("This is no EC2 instance.")

    return judged


@_on_ec2
def imds_tokens(facts: Facts, settings: Settings) -> Finding:
    """The metadata service answers nobody without a token (version 1).

    Source: aws, 5.1 IMDS: HttpTokens=required.
    """
    if facts.instance.answers_without_token is None:
        return _silent()
    if facts.instance.answers_without_token:
        return failure(
            "The metadata service answers without a token: every container can use the instance's role.",
            f"{_modify(facts)} --http-tokens required --http-put-response-hop-limit 1 --http-endpoint enabled",
        )
    return ok("The metadata service wants a token.")


@_on_ec2
def imds_hops(facts: Facts, settings: Settings) -> Finding:
    """Tokens of the metadata service do not travel to a container on a bridge, one hop further.

    Source: aws, 5.1 IMDS: hop limit 1.
    """
    if facts.instance.crosses_to_containers is None:
        return _silent()
    if facts.instance.crosses_to_containers:
        return failure(
            "Tokens of the metadata service reach containers: the hop limit is more than 1.",
            f"{_modify(facts)} --http-put-response-hop-limit 1",
        )
    return ok("Tokens of the metadata service do not reach containers.")


@_on_ec2
def imds_firewall(facts: Facts, settings: Settings) -> Finding:
    """A rule refuses what containers send to the metadata service, whatever its options become.

    Source: aws, 5.1 IMDS: firewall rules for container traffic.
    """
    rules = facts.host.firewall
    if facts.wall_problem:
        return warning(f"The agent cannot keep containers from the metadata service: {facts.wall_problem}", _KEEPER)
    if rules is None:
        return unknown("The firewall's rules are told by `iptables -S`, to root only.", "sudo butai doctor")
    told = {Family.V4: rules, Family.V6: facts.host.firewall_v6}
    for family, found in told.items():
        if found is not None and not bars_metadata(settings, found, family=family):
            over = " over IPv6" if family is Family.V6 else ""
            own = f"`firewall.manage = true` in the settings, or {_BARS[family]}"
            return warning(
                f"No rule of the firewall keeps containers from the metadata service{over}.",
                _KEEPER if settings.firewall.manage else own,
            )
    return ok("What containers send to the metadata service is refused.")


@_on_ec2
def instance_role(facts: Facts, settings: Settings) -> Finding:
    """The instance has a role where the section [dns], [traefik.acme] or a project's `role` needs one.

    Source: aws, 5.4 minimal IAM.
    """
    if facts.instance.role:
        return ok(f"The instance has the role {facts.instance.role}; docs/how-to/dns.md has all that it needs.")
    if not facts.instance.id:
        return _silent()
    purposes = {
        "[dns] changes records": settings.dns is not None,
        "[traefik.acme] changes records": bool(settings.acme_zone),
        "projects are to have roles of their own, which it must take on": settings.has_roles,
    }
    purpose = next((purpose for purpose, is_wanted in purposes.items() if is_wanted), "")
    if purpose:
        return warning(
            f"The instance has no role, but {purpose}.",
            f"aws ec2 associate-iam-instance-profile --instance-id {facts.instance.id}"
            " --iam-instance-profile Name=butai",
        )
    return ok("The instance has no role, and needs none.")


def project_roles(facts: Facts, settings: Settings) -> Finding:
    """The roles that the settings give to projects can be assumed, so their containers have credentials.

    Source: aws, 5.4 minimal IAM.
    """
    if not settings.has_roles:
        return not_applicable("No project has a role of its own.")
    if facts.role_problems is None:
        return unknown(
            "Whether the roles of projects can be assumed is told by the agent.", "butai doctor, not as root"
        )
    if facts.role_problems:
        return warning(
            f"Containers lack credentials of their role: {' '.join(facts.role_problems)}",
            "journalctl -u butai -g role; see docs/how-to/aws-roles.md",
        )
    return ok("Environments have the roles of their projects.")


@_on_ec2
def spot(facts: Facts, settings: Settings) -> Finding:
    """Whether AWS has said that it takes this Spot instance back.

    Source: aws, 5.2 Spot.
    """
    if not facts.instance.id:
        return _silent()
    if not facts.instance.is_spot:
        return not_applicable("This is no Spot instance.")
    if facts.instance.interruption:
        return failure(f"AWS takes this instance back: {facts.instance.interruption}.", "start a replacement now")
    return ok("A Spot instance, which AWS has not asked back.")


def _silent() -> Finding:
    return unknown("The metadata service does not answer.")


def _modify(facts: Facts) -> str:
    return f"aws ec2 modify-instance-metadata-options --instance-id {facts.instance.id}"
