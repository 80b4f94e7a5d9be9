"""How Traefik gets one certificate for the domain and its wildcard by itself, and may write the TXT record for it.

The resolver stands at the entry point and not at routers, so there is one certificate however many environments come
and go, and no list of issued certificates on the internet names a branch.

Traefik's ACME client asks Amazon for credentials as in a container of Amazon's: over HTTP, when it needs some and again
before they end. It would take files and variables, too, but reads those once for its whole life, and short-lived
credentials end long before the first renewal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from agent.config import Settings
from agent.model.aws import RoleWish
from agent.model.edge import AcmeFiles

RESOLVER = "acme"
STORAGE = "/etc/butai/acme"  # as Traefik sees it, like the next
CERTIFICATES = "/etc/butai/certificates"
LENDING_ENTRY = "lending"
LENDING_PATH = "/aws/credentials"

_DIRECTORIES = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
_LENDING_ADDRESS = "127.0.0.1:8001"  # Traefik's own loopback: reached by itself and by nobody else
_REGION = "us-east-1"  # Route53 has none, but a signature names one


def lent_role(settings: Settings) -> RoleWish | None:
    """What Traefik is lent where the settings name a role: that, cut down to the challenge; None without one.

    The policy is what docs/how-to/certificates.md has. 15 minutes are the least that STS gives.
    """
    acme = settings.traefik.acme
    if acme is None or not acme.role:
        return None
    zone = f"arn:{acme.role.split(':')[1]}:route53:::hostedzone/{settings.acme_zone}"
    names = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
    only = {
        names: [f"_acme-challenge.{settings.domain}"],
        "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
        "route53:ChangeResourceRecordSetsActions": ["UPSERT", "DELETE"],
    }
    statements = [
        {
            "Effect": "Allow",
            "Action": "route53:ChangeResourceRecordSets",
            "Resource": zone,
            "Condition": {"ForAllValues:StringEquals": only, "Null": {names: "false"}},
        },
        {"Effect": "Allow", "Action": "route53:ListResourceRecordSets", "Resource": zone},
        {"Effect": "Allow", "Action": "route53:GetChange", "Resource": f"{zone.partition('hostedzone')[0]}change/*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    return RoleWish(acme.role, _REGION, f"{settings.instance}.traefik", policy=policy, duration_s=900)


def storage_name(settings: Settings) -> str:
    """The folder for account and certificates of this authority; "" without ACME.

    Each has its own: Traefik would go on with a certificate of the staging authority for as long as it is valid, and
    somebody who comes back to an authority finds what it issued.
    """
    acme = settings.traefik.acme
    if acme is None:
        return ""
    return acme.ca if acme.ca in _DIRECTORIES else hashlib.sha256(acme.ca.encode()).hexdigest()[:16]


def flags(settings: Settings, files: AcmeFiles | None) -> tuple[str, ...]:
    """Static configuration; none without ACME."""
    acme = settings.traefik.acme
    if acme is None or files is None:
        return ()
    resolver = f"--certificatesresolvers.{RESOLVER}.acme"
    entry = "--entrypoints.websecure.http.tls"
    found = (
        f"{resolver}.email={acme.email}",
        f"{resolver}.caserver={_DIRECTORIES.get(acme.ca, acme.ca)}",
        f"{resolver}.storage={STORAGE}/acme.json",
        f"{resolver}.keytype=EC256",  # every browser of the last ten years takes it, and handshakes cost far less
        f"{resolver}.dnschallenge.provider=route53",
        # Route53 itself says when all of its servers have the record. To ask them by DNS as well fails where the
        # host's resolver has another view of the domain, and where port 53 is closed.
        f"{resolver}.dnschallenge.propagation.disablechecks=true",
        f"{entry}.certresolver={RESOLVER}",
        f"{entry}.domains[0].main={settings.domain}",
        f"{entry}.domains[0].sans=*.{settings.domain}",
        f"--entrypoints.{LENDING_ENTRY}.address={_LENDING_ADDRESS}",
    )
    authority = (f"{resolver}.cacertificates={CERTIFICATES}/{files.authority}",) if files.authority else ()
    return (*found, *authority)


def environment(settings: Settings, files: AcmeFiles | None) -> Mapping[str, str]:
    """Where the zone and the credentials are; nothing without ACME."""
    if settings.traefik.acme is None or files is None:
        return {}
    return {
        "AWS_REGION": _REGION,
        "AWS_HOSTED_ZONE_ID": settings.acme_zone,  # else it would ask for the list of all zones
        "AWS_WAIT_FOR_RECORD_SETS_CHANGED": "true",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{_LENDING_ADDRESS}{LENDING_PATH}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{CERTIFICATES}/{files.token}",
        "AWS_EC2_METADATA_DISABLED": "true",
        # It would follow a wildcard CNAME that leads here, and write its record at another name.
        "LEGO_DISABLE_CNAME_SUPPORT": "true",
    }
