"""The sections of config.toml that are about this host: its server, engine, Traefik, DNS, Slack, forges and limits.

The texts are the comments that people read in config.example.toml.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from agent.config import checks
from agent.config.checks import between, or_empty
from agent.config.schema import GUESSED_AT, NEEDS_RESTART, NEVER_EMPTY, Example
from agent.config.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    socket: Annotated[
        Path,
        "Unix socket of the API, for the `butai` command. Whoever may open it may do everything.",
        NEEDS_RESTART,
    ] = Path("/run/butai/agent.sock")
    listen: Annotated[
        str,
        "Address for webhooks, Slack and pages, to which Traefik forwards. Empty: the gateway of",
        "Traefik's network, which only containers and this host reach.",
        or_empty(checks.address),
        NEEDS_RESTART,
    ] = ""
    port: Annotated[int, "Port on that address.", between(1, 65535), NEEDS_RESTART] = 8480
    token: Annotated[
        Secret | None,
        "File with a token of 32 characters or more. Programs that send it as `Authorization: Bearer TOKEN`",
        "may use the API over TCP too. Without it the API is on the socket only.",
        Example("credential:api-token"),
        GUESSED_AT,
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    host: Annotated[str, "The engine.", checks.engine, NEEDS_RESTART] = "unix:///var/run/docker.sock"
    address_pool: Annotated[
        str,
        "IPv4 network that the agent cuts into blocks, one for each environment. It must overlap nothing",
        "that this host or its containers talk to.",
        checks.address_pool,
        NEEDS_RESTART,
    ] = "10.200.0.0/16"
    block_prefix: Annotated[
        int,
        "Size of a block, as the prefix of its network. A /25 has room for two networks of 29 containers",
        "and four of 13.",
        between(18, 27),
        NEEDS_RESTART,
    ] = 25
    ownership_image: Annotated[
        str,
        "Small image with `chown` and `rm`, for files that containers wrote as root into a checkout.",
        checks.image,
        NEEDS_RESTART,
    ] = "busybox:1.37"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    manage: Annotated[
        bool,
        "true: the agent puts rules into this host's firewall, and puts them back when somebody flushes it:",
        "containers and build steps reach neither the metadata service of EC2 (169.254.0.0/16,",
        "fd00:ec2::/32) nor, but for Traefik, the agent's port. false: it takes them out again.",
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    email: Annotated[
        str,
        "Address of the account. Whoever writes it here agrees to the terms of the authority.",
        checks.email,
        Example("ops@example.com"),
    ]
    ca: Annotated[
        str,
        'Who issues the certificate: "production" or, for trying, "staging" of Let\'s Encrypt; or the URL of',
        "another authority's ACME directory. Each has an account and certificates of its own.",
        checks.authority,
    ] = "production"
    ca_file: Annotated[
        Path | None,
        "Certificates in PEM by which the server at that URL is recognised, where browsers would not know it.",
        Example("/etc/butai/company-ca.pem"),
    ] = None
    zone: Annotated[
        str,
        "Id of the hosted zone for the TXT record _acme-challenge.<domain>. Empty: that of [dns].",
        or_empty(checks.zone),
        Example("Z0123456789ABCDEFGHIJ"),
    ] = ""
    role: Annotated[
        str,
        "AWS role that the agent assumes to lend Traefik credentials for that record and nothing else. It may be the",
        "instance's own, where that trusts itself. Empty: Traefik is lent the agent's own credentials.",
        or_empty(checks.role),
        Example("arn:aws:iam::123456789012:role/butai-certificates"),
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traefik:
    managed: Annotated[
        bool,
        "true: the agent runs and owns a Traefik container. false: you run Traefik, the agent writes its",
        "routes into `directory`.",
    ] = True
    image: Annotated[str, "Image of that container.", checks.image] = "traefik:v3.7.15"
    address: Annotated[str, "Address of this host on which it is reached.", checks.address] = "0.0.0.0"  # noqa: S104
    http_port: Annotated[int, "Port for http:// on that address.", between(1, 65535)] = 80
    https_port: Annotated[int, "Port for https:// on that address, used with a certificate.", between(1, 65535)] = 443
    https: Annotated[
        bool,
        "true: your Traefik has a certificate for *.<domain>, so every URL is https:// (only with managed = false).",
    ] = False
    certificate_file: Annotated[
        Path | None,
        "Certificate chain for *.<domain> in PEM. With `key_file` every URL becomes https://.",
        Example("/etc/butai/wildcard.crt"),
    ] = None
    key_file: Annotated[Path | None, "Its private key in PEM.", Example("/etc/butai/wildcard.key")] = None
    directory: Annotated[
        Path | None,
        "Folder that your Traefik's file provider watches (only with managed = false).",
        Example("/etc/traefik/dynamic"),
    ] = None
    agent_url: Annotated[
        str,
        "How your Traefik reaches the agent (only with managed = false).",
        or_empty(checks.web_url),
        Example("http://127.0.0.1:8480"),
    ] = ""
    acme: Annotated[
        Acme | None,
        "A certificate for <domain> and *.<domain> that Traefik gets and renews by itself, by a record in Amazon",
        "Route53. Every URL becomes https://. In place of certificate_file and key_file.",
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    name: Annotated[
        str,
        "Its DNS name.",
        checks.dns_name,
        Example("dualstack.staging-123456.eu-west-1.elb.amazonaws.com"),
    ]
    zone: Annotated[
        str, "Id of the hosted zone that AWS gave it, not of yours.", checks.zone, Example("Z32O12XQLNTSW2")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    zone: Annotated[str, "Id of the hosted zone in which <domain> is.", checks.zone, Example("Z0123456789ABCDEFGHIJ")]
    addresses: Annotated[
        tuple[str, ...],
        "Where the records lead: one IPv4 address, one IPv6 address or one of each. Left out: to the public",
        "IPv4 address of this EC2 instance, an Elastic IP or not.",
        checks.address,
        Example(("203.0.113.10",)),
    ] = ()
    ipv6: Annotated[
        bool,
        "Also an AAAA record, where the instance has an IPv6 address or in front of the load balancer. Without",
        "a load balancer Traefik is then reached on [::] too, which takes Docker's userland proxy.",
    ] = False
    ttl_s: Annotated[
        int, "Seconds for which resolvers may remember. With an Elastic IP 300 is fine.", between(10, 86_400)
    ] = 60
    check_interval_s: Annotated[float, "Seconds between two looks at address and zone.", between(10, 86_400)] = 300.0
    sync_timeout_s: Annotated[
        float, "Seconds in which all servers of Route53 should know a change.", between(1, 3_600)
    ] = 120.0
    load_balancer: Annotated[
        LoadBalancer | None, "A load balancer in front of this host: the records become aliases of it."
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    signing_secret: Annotated[
        Secret, "File with the signing secret of your Slack app.", Example("credential:slack-signing-secret")
    ]
    team: Annotated[
        str, "Id of the workspace; requests from others are refused.", checks.slack_id, Example("T0123ABCD")
    ]
    bot_token: Annotated[
        Secret | None,
        "File with its bot token (xoxb-…), so that messages can still be edited after half an hour.",
        Example("credential:slack-bot-token"),
    ] = None
    users: Annotated[
        tuple[str, ...],
        "Ids of the people who may use it. Left out: everybody in the workspace.",
        checks.slack_id,
        NEVER_EMPTY,
        Example(("U012AB3CD", "U045EF6GH")),
    ] = ()
    channels: Annotated[
        tuple[str, ...],
        "Ids of the channels where it may be used. Left out: all of them.",
        checks.slack_id,
        NEVER_EMPTY,
        Example(("C012AB3CD",)),
    ] = ()
    api_url: Annotated[str, "Slack's Web API.", checks.web_url] = "https://slack.com/api/"
    response_hosts: Annotated[
        tuple[str, ...], "Hosts that answers to a command may be sent to.", checks.network_location
    ] = ("hooks.slack.com",)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub:
    webhook_secret: Annotated[
        Secret,
        "File with the secret of the webhook https://butai.<domain>/hooks/github.",
        Example("credential:github-webhook-secret"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forges:
    github: Annotated[
        GitHub | None, "Push webhooks of GitHub. Without them pushes are found by asking the remotes."
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    environments: Annotated[int, "Environments on this host.", between(1, 10_000)] = 100
    workers: Annotated[int, "Environments that are worked on at the same time.", between(1, 256)] = 16
    builds: Annotated[int, "Images that are built at the same time.", between(1, 64), NEEDS_RESTART] = 2
    start_timeout_s: Annotated[float, "Seconds in which a service must become healthy.", between(1, 86_400)] = 120.0
    drain_timeout_s: Annotated[
        float,
        "Seconds for which a replaced container is kept for what is still open with it; WebSockets are cut then.",
        between(0, 3_600),
    ] = 10.0
    build_timeout_s: Annotated[float, "Seconds in which an image must be built.", between(1, 86_400)] = 1800.0
    fetch_timeout_s: Annotated[float, "Seconds in which a remote must answer.", between(1, 3_600)] = 60.0
    poll_interval_s: Annotated[float, "Seconds between two looks at each remote's branches.", between(0.1, 86_400)] = (
        60.0
    )
    repair_interval_s: Annotated[float, "Seconds between two looks at everything.", between(1, 86_400)] = 300.0
    memory: Annotated[str, "Memory of one container, at most.", checks.size] = "1g"
    cpus: Annotated[float, "Processors of one container, at most.", between(0.01, 1_024)] = 2.0
    pids: Annotated[int, "Processes and threads of one container, at most.", between(16, 4_194_304)] = 512
    shm: Annotated[str, "Shared memory (/dev/shm) of one container, at most.", checks.size] = "256m"
    replicas: Annotated[int, "Containers of one service, at most.", between(1, 100)] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    backup_interval_s: Annotated[
        float, "Seconds between two copies of the database in <state_dir>/backups.", between(60, 31_536_000)
    ] = 86_400.0
    backups: Annotated[int, "Copies that are kept, the newest ones. 0: none are made.", between(0, 1_000)] = 7
    clean_interval_s: Annotated[
        float, "Seconds between two looks for what nobody needs any more.", between(60, 86_400)
    ] = 3600.0
    image_age_s: Annotated[
        float, "Seconds for which an image of ours that nothing uses is kept.", between(600, 31_536_000)
    ] = 86_400.0
    build_cache: Annotated[
        str,
        "Size of Docker's build cache beyond which the longest unused of it goes. It has no labels, so where others",
        "build on this engine too, write an empty text: then it is left alone.",
        or_empty(checks.size),
    ] = "20g"
    history_age_s: Annotated[
        int,
        "Seconds for which deployments and events are kept. Whatever their age, the newest 20 deployments of each",
        "environment and the newest 1,000 events stay, and at most 10,000 deployments and 100,000 events do.",
        between(86_400, 3_153_600_000),
    ] = 7_776_000
    step_logs: Annotated[
        str, "Size of all logs of builds together beyond which the oldest of them go.", checks.size
    ] = "1g"
    min_free: Annotated[
        str,
        "Free space below which a disk counts as nearly full: then nothing new goes on stage, builds wait, and more",
        "is cleaned.",
        checks.size,
    ] = "2g"
    min_free_percent: Annotated[float, "The same as a part of the disk.", between(0, 90)] = 10.0
    min_free_inodes_percent: Annotated[float, "The same for the files that it still has room for.", between(0, 90)] = (
        5.0
    )
