"""What config.toml says of one project, and what its compose files may do beside what every compose file may.

The texts are the comments that people read in config.example.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from agent.config import checks
from agent.config.checks import between, fits, or_empty
from agent.config.schema import FROM_TABLE, NEVER_EMPTY, EachKey, Example
from agent.config.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """What compose files of a project may do beside what every compose file may. All empty by default."""

    bind_mounts: Annotated[
        tuple[str, ...],
        'Paths of this host that may be mounted, read-only; "/path:rw" for writing too.',
        fits(r"/[^:\s]*(:r[ow])?", "an absolute path, perhaps with :rw"),
        Example(("/srv/fixtures",)),
    ] = ()
    volumes: Annotated[
        tuple[str, ...], "Volumes of this host that environments may share.", checks.name, Example(("shared-cache",))
    ] = ()
    networks: Annotated[
        tuple[str, ...], "Networks of this host that environments may join.", checks.name, Example(("monitoring",))
    ] = ()
    capabilities: Annotated[
        tuple[str, ...], "Further capabilities for `cap_add`.", checks.capability, Example(("SYS_PTRACE",))
    ] = ()
    devices: Annotated[tuple[str, ...], "Devices of this host.", checks.printable, Example(("/dev/kvm",))] = ()
    groups: Annotated[tuple[str, ...], "Further groups for `group_add`.", checks.name, Example(("video",))] = ()
    security_opt: Annotated[
        tuple[str, ...], "Security options.", checks.printable, Example(("apparmor=unconfined",))
    ] = ()
    sysctls: Annotated[
        tuple[str, ...], "Kernel parameters.", checks.name, Example(("net.ipv4.tcp_keepalive_time",))
    ] = ()
    extra_hosts: Annotated[
        tuple[str, ...],
        'Addresses that `extra_hosts` may name; "host-gateway" is this host.',
        checks.name,
        Example(("host-gateway",)),
    ] = ()
    dns: Annotated[tuple[str, ...], "DNS servers.", checks.address, Example(("10.0.0.2",))] = ()
    registries: Annotated[
        tuple[str, ...],
        "Registries that images may come from. Left out: any.",
        fits(r"[a-z0-9][a-zA-Z0-9._/:-]*", "a registry such as registry.example.com"),
        NEVER_EMPTY,
        Example(("docker.io", "registry.example.com")),
    ] = ()
    contexts: Annotated[
        tuple[str, ...],
        "Additional build contexts outside the repository.",
        checks.printable,
        Example(("docker-image://alpine:3.20",)),
    ] = ()
    variables: Annotated[
        tuple[str, ...],
        "Variables of `environment` that `secrets` and `configs` of a compose file may read.",
        checks.variable,
        Example(("APP_MODE",)),
    ] = ()
    build_secrets: Annotated[
        tuple[str, ...], "Ids of secrets that builds may mount.", checks.name, Example(("npm",))
    ] = ()
    build_ssh: Annotated[
        tuple[str, ...], "Ids of SSH agents that builds may use.", checks.name, Example(("default",))
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    name: Annotated[str, "", FROM_TABLE]
    remote: Annotated[
        str,
        "Where the repository is: https://, ssh://, git@host:path, file:// or an absolute path.",
        checks.remote,
        Example("git@github.com:example/shop.git"),
    ]
    deploy_key_file: Annotated[Path | None, "Private key for SSH remotes.", Example("/etc/butai/keys/shop")] = None
    token: Annotated[
        Secret | None,
        "File with a token that may read the repository, for HTTPS remotes.",
        Example("credential:shop-token"),
    ] = None
    username: Annotated[
        str,
        "User that the token belongs to. GitHub takes any; GitLab's deploy tokens have a name of their own.",
        fits(r"[^:\s]+", "a user name"),
    ] = "x-access-token"
    default_branch: Annotated[
        str,
        "Branch that others start from. Empty: the remote's own.",
        or_empty(checks.branch),
        Example("main"),
    ] = ""
    auto_deploy: Annotated[
        tuple[str, ...],
        "Branches that go on stage with their first push: `*` is anything but a slash, `**` anything, a",
        "leading `!` takes back.",
        checks.pattern,
        Example(("feature/*", "!feature/wip-*")),
    ] = ()
    hostname: Annotated[
        str, "What an environment's name is made of: {branch}, perhaps {project}.", checks.hostname_template
    ] = "{branch}"
    compose_files: Annotated[
        tuple[str, ...],
        "Compose files, the later ones over the earlier. Left out: those that Compose finds by itself.",
        checks.inner_path,
        Example(("compose.yaml", "compose.staging.yaml")),
    ] = ()
    profiles: Annotated[tuple[str, ...], "Profiles to enable.", checks.service, Example(("worker",))] = ()
    entry_service: Annotated[
        str,
        "Service that the bare URL leads to. Empty: `x-butai.entry` of the compose file, else its only",
        "service with a port.",
        or_empty(checks.service),
        Example("web"),
    ] = ""
    entry_port: Annotated[int, "Port in its container. 0: its first one.", between(0, 65535)] = 0
    environment: Annotated[
        Mapping[str, str],
        "Variables for `${NAME}` and bare names in the compose file. Values of 8 characters and more whose",
        "names say so (APP_SECRET, DB_PASSWORD) are kept out of logs and messages.",
        checks.printable,
        EachKey(checks.variable),
        Example({"APP_MODE": "staging"}),
    ] = field(default_factory=lambda: MappingProxyType({}))
    role: Annotated[
        str,
        "AWS role that the agent assumes for its environments: every process of their containers finds short-lived",
        "credentials of it, as on an EC2 instance. Whoever may push can use it. Needs `region`.",
        or_empty(checks.role),
        Example("arn:aws:iam::123456789012:role/shop-staging"),
    ] = ""
    region: Annotated[
        str,
        "AWS region of the role's environments: AWS_REGION and AWS_DEFAULT_REGION in their containers.",
        or_empty(checks.region),
        Example("eu-west-1"),
    ] = ""
    allow: Annotated[
        Allow,
        "What its compose files may do beside what is always allowed. Anyone who may push can use it:",
        "give as little as possible.",
    ] = field(default_factory=Allow)
