"""Every check of `butai doctor`: what it says when all is well and when it is not, and the command that repairs it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import config
from agent.model.care import Disk
from agent.model.facts import (
    Certificate,
    DoorFacts,
    EdgeContainer,
    EngineFacts,
    EngineNetwork,
    EngineProcess,
    Facts,
    HostFacts,
    InstanceFacts,
)
from agent.model.finding import Finding, Verdict, ok
from agent.planning import doctor
from agent.planning.doctor_host import CONNTRACK, INSTANCES, PID_MAX, TRACKED, WATCHES

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
GIB = 1024**3
SETTINGS = 'domain = "staging.example.com"\n[projects.shop]\nremote = "https://git.example.com/shop.git"\n'
ROLE = 'role = "arn:aws:iam::123456789012:role/shop"\nregion = "eu-west-1"\n'
MODIFY = "aws ec2 modify-instance-metadata-options --instance-id i-1"
FILE = "/etc/docker/daemon.json"
RESTART = "then `systemctl restart docker` (containers go on only where live-restore was on before)"
PRUNE = "docker builder prune --force --filter until=72h"
FORWARD, INPUT = "-A wall-butai-forward -d", "-A wall-butai-input -d"
RESET = "-j REJECT --reject-with tcp-reset"
UNREACHABLE = "-j REJECT --reject-with icmp-port-unreachable"
LED = "-i br-+ -p tcp -m tcp --dport 8480 -m conntrack --ctstate DNAT --ctorigdst 169.254.169.254"
WALL = (
    f"{FORWARD} 169.254.169.253/32 -p udp -m udp --dport 53 -j RETURN",
    f"{FORWARD} 169.254.169.253/32 -p tcp -m tcp --dport 53 -j RETURN",
    f"{FORWARD} 169.254.0.0/16 -p tcp {RESET}",
    f"{FORWARD} 169.254.0.0/16 {UNREACHABLE}",
    "-A wall-butai-input -i lo -j RETURN",
    f"{INPUT} 169.254.169.253/32 -i docker0 -p udp -m udp --dport 53 -j RETURN",
    f"{INPUT} 169.254.169.253/32 -i docker0 -p tcp -m tcp --dport 53 -j RETURN",
    f"{INPUT} 169.254.0.0/16 -i docker0 -p tcp {RESET}",
    f"{INPUT} 169.254.0.0/16 -i docker0 {UNREACHABLE}",
    f"{INPUT} 169.254.169.253/32 -i br-+ -p udp -m udp --dport 53 -j RETURN",
    f"{INPUT} 169.254.169.253/32 -i br-+ -p tcp -m tcp --dport 53 -j RETURN",
    f"{INPUT} 169.254.0.0/16 -i br-+ -p tcp {RESET}",
    f"{INPUT} 169.254.0.0/16 -i br-+ {UNREACHABLE}",
    "-A wall-butai-input -s 10.200.0.2/32 -d 10.200.0.1/32 -p tcp -m tcp --dport 8480 -j RETURN",
    f"-A wall-butai-input -s 10.200.0.0/16 {LED} -j RETURN",
    f"{INPUT} 10.200.0.1/32 -p tcp -m tcp --dport 8480 {RESET}",
)
HEALTHY = Facts(
    taken_at=NOW,
    host=HostFacts(
        sysctls={INSTANCES: 8_192, WATCHES: 1_048_576, CONNTRACK: 262_144, TRACKED: 100, PID_MAX: 4_194_304},
        memory_bytes=16 * GIB,
        memory_free_bytes=8 * GIB,
        swap_bytes=4 * GIB,
        networks=("172.31.16.0/20",),
        listening=frozenset({80, 443}),
        docker_proxies=4,
        engine_process=EngineProcess(-500, 1_048_576, "max"),
        is_clock_synchronised=True,
        git="2.50.1",
        compose="5.2.0",
        builder=("GC Policy rule#0:", " Max Used Space:       18.63GiB"),
        firewall=(
            "-N DOCKER-USER",
            "-N wall-butai-forward",
            "-N wall-butai-input",
            "-A INPUT -j wall-butai-input",
            "-A FORWARD -j DOCKER-USER",
            "-A DOCKER-USER -j wall-butai-forward",
            *WALL,
        ),
    ),
    disks=(Disk("state", "/var/lib/butai", 100 * GIB, 60 * GIB, 1_000, 900),),
    engine=EngineFacts(
        version="29.3.1",
        storage_driver="overlay2",
        backing="xfs",
        log_driver="local",
        is_live_restoring=True,
        pools=(("10.201.0.0/16", 26),),
        mirrors=("https://mirror.gcr.io/",),
        networks=(EngineNetwork("bridge", ("172.17.0.0/16",), False), EngineNetwork("a", ("10.200.0.0/25",), True, 3)),
        edge=EdgeContainer(True, "traefik:v3.7.15", ("--providers.file.directory=/etc/butai/routes",)),
    ),
    is_ec2=True,
    instance=InstanceFacts(
        id="i-1",
        vpc=("172.31.0.0/16",),
        answers_without_token=False,
        crosses_to_containers=False,
        role="butai",
        public_ipv4="203.0.113.10",
        is_spot=True,
    ),
    door=DoorFacts(
        addresses=("203.0.113.10",),
        slack_team="T0123ABCD",
        status=404,
        certificate=Certificate(NOW + timedelta(days=60)),
        records_problem="",
    ),
    role_problems=(),
)


def host(**changes: Any) -> Facts:
    return replace(HEALTHY, host=replace(HEALTHY.host, **changes))


def disks(*found: Disk) -> Facts:
    return replace(HEALTHY, disks=found)


def engine(**changes: Any) -> Facts:
    assert HEALTHY.engine is not None
    return replace(HEALTHY, engine=replace(HEALTHY.engine, **changes))


def sysctl(name: str, value: int) -> Facts:
    return host(sysctls={**HEALTHY.host.sysctls, name: value})


def instance(**changes: Any) -> Facts:
    return replace(HEALTHY, instance=replace(HEALTHY.instance, **changes))


def door(**changes: Any) -> Facts:
    return replace(HEALTHY, door=replace(HEALTHY.door, **changes))


SILENT = replace(HEALTHY, engine=None, engine_problem="Docker Engine does not answer at unix:///var/run/docker.sock.")
ELSEWHERE = replace(HEALTHY, is_ec2=False, instance=InstanceFacts())

FINE = {
    "engine": "Docker Engine 29.3.1.",
    "compose": "Compose 5.2.0.",
    "git": "git 2.50.1.",
    "live-restore": "Containers go on while the engine is restarted.",
    "engine-limits": "Memory, processors and processes of a container can be limited.",
    "address-pools": "1024 of 1024 networks can still be made from the engine's address pools.",
    "address-overlap": "docker.address_pool 10.200.0.0/16 is the agent's alone.",
    "bridge-ports": "3 of 1023 ports are taken on the fullest network, a.",
    "log-driver": "Logs are kept by local.",
    "storage-driver": "Layers are stored by overlay2 on xfs.",
    "build-cache": "The build cache has an upper bound.",
    "registry-mirror": "Docker Hub is pulled from through https://mirror.gcr.io/.",
    "docker-proxy": "4 programs serve published ports.",
    "engine-oom": "Without memory the kernel ends a container before dockerd.",
    "engine-files": "dockerd may have 1048576 files open.",
    "engine-tasks": "systemd does not limit dockerd's processes and threads.",
    "inotify-instances": f"8192 programs may watch files ({INSTANCES}).",
    "inotify-watches": f"1048576 files may be watched ({WATCHES}).",
    "conntrack": f"262144 connections may be open ({CONNTRACK}).",
    "processes": f"4194304 processes and threads may exist ({PID_MAX}).",
    "disk-space": "60.0 of 100.0 GiB are free at /var/lib/butai.",
    "disk-inodes": "90% of the inodes are free at /var/lib/butai.",
    "memory": "8.0 of 16.0 GiB of memory can be had.",
    "swap": "4.0 GiB of swap space.",
    "clock": "The clock is synchronised.",
    "firewall": "Docker's rules are in the firewall.",
    "imds-tokens": "The metadata service wants a token.",
    "imds-hops": "Tokens of the metadata service do not reach containers.",
    "imds-firewall": "What containers send to the metadata service is refused.",
    "instance-role": "The instance has the role butai; docs/how-to/dns.md has all that it needs.",
    "project-roles": "Environments have the roles of their projects.",
    "spot": "A Spot instance, which AWS has not asked back.",
    "traefik": "traefik:v3.7.15 runs.",
    "ports": "Somebody listens on port 80 and port 443.",
    "agent-port": "The agent listens at 10.200.0.1 only, and containers but Traefik are refused.",
    "dns": "*.staging.example.com leads to 203.0.113.10, this host.",
    "dns-records": "The records are as they should be.",
    "certificate": "The certificate is good until 2026-03-06.",
    "front-door": "https://butai.staging.example.com answers.",
    "slack": "Slack takes the bot token.",
}

W, F, U, N = Verdict.WARNING, Verdict.FAILURE, Verdict.UNKNOWN, Verdict.NOT_APPLICABLE
POOLS_REPAIR = (
    f'"default-address-pools": [{{"base": "10.201.0.0/16", "size": 26}}] in {FILE}, {RESTART};'
    " `docker network prune` removes what nobody uses"
)
OTHER_POOL = "another `docker.address_pool` in the settings, then restart the agent"
CMDLINE = "cgroup_enable=memory swapaccount=1 on the kernel's command line, then reboot"
RENEW = "renew it, and put the new pair where `traefik.certificate_file` and `traefik.key_file` say"
SLEEP = "butai sleep BRANCH for what nobody uses now, or a larger instance"
UPGRADE = "apt-get update && apt-get install --only-upgrade docker-ce containerd.io"
UPGRADE_COMPOSE = "apt-get update && apt-get install --only-upgrade docker-compose-plugin"
START = "systemctl start docker"
OLD_COMPOSE = (
    "Compose 2.26.1-4 is older than 2.40.2, which mended CVE-2025-62725 (remote `include`);"
    " the agent refuses those by itself."
)
BOUND_CACHE = (
    '"builder": {"gc": {"enabled": true, "defaultReservedSpace": "5GB", "defaultMaxUsedSpace": "20GB",'
    f' "defaultMinFreeSpace": "15GB"}}}} in {FILE}, {RESTART}; where the engine knows no such keys'
    " `docker builder prune --force --keep-storage 20GB` from a timer"
)
SPARE_ENGINE = (
    "systemctl edit docker: [Service] OOMScoreAdjust=-500; until then as root `choom -n -500 -p $(cat /run/docker.pid)`"
)
TOKEN = "the token of the app's page at api.slack.com into the file of the settings"
MORE_FILES = (
    "systemctl edit docker: [Service] LimitNOFILE=1048576; until then as root"
    " `prlimit --nofile=1048576 --pid $(cat /run/docker.pid)`"
)
MAKE_SWAP = (
    "fallocate -l 4G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile"
    " && echo '/swapfile none swap sw 0 0' >> /etc/fstab"
)
AGENT = "systemctl status butai"

Case = tuple[str, Facts, Verdict, str, str]
CASES: tuple[Case, ...] = (
    ("engine", SILENT, F, "Docker Engine does not answer at unix:///var/run/docker.sock.", START),
    ("engine", engine(version="24.0.7"), F, "Docker Engine 24.0.7 is older than 25: the agent cannot use it.", UPGRADE),
    (
        "engine",
        engine(version="28.5.1"),
        W,
        "Docker Engine 28.5.1 is older than 28.5.2, which mended how it isolates containers.",
        UPGRADE,
    ),
    (
        "engine",
        engine(version="29.0.0-rc.1"),
        W,
        "Docker Engine 29.0.0-rc.1 is older than 29.3.1, which mended how it isolates containers.",
        UPGRADE,
    ),
    (
        "compose",
        host(compose=None),
        F,
        "The Compose plugin is missing or does not tell its version.",
        "apt-get update && apt-get install docker-compose-plugin",
    ),
    (
        "compose",
        host(compose="2.23.3"),
        F,
        "Compose 2.23.3 is older than 2.24: the agent cannot use it.",
        UPGRADE_COMPOSE,
    ),
    (
        "compose",
        host(compose="2.26.1-4"),
        W,
        OLD_COMPOSE,
        UPGRADE_COMPOSE,
    ),
    (
        "compose",
        host(compose="v2.40.3"),
        W,
        "Compose v2.40.3 is older than 5.2.0, which is recommended.",
        UPGRADE_COMPOSE,
    ),
    ("git", host(git=None), F, "git is missing or does not tell its version.", "apt-get update && apt-get install git"),
    (
        "git",
        host(git="2.39.5"),
        W,
        "git 2.39.5 is older than 2.50.1: it is safe only where its packagers have mended it.",
        "apt-get update && apt-get install --only-upgrade git",
    ),
    (
        "live-restore",
        engine(is_live_restoring=False),
        W,
        "A restart of the engine stops every environment.",
        f'"live-restore": true in {FILE}, then `systemctl reload docker`',
    ),
    (
        "engine-limits",
        engine(lacks=("memory", "processes", "swap")),
        F,
        "The kernel does not limit memory and processes of containers: one can take them all.",
        CMDLINE,
    ),
    ("engine-limits", engine(lacks=("swap",)), W, "The kernel does not limit the swap space of containers.", CMDLINE),
    (
        "address-pools",
        engine(pools=(), networks=tuple(EngineNetwork(f"n{n}", (f"172.{n}.0.0/16",), False) for n in range(17, 32))),
        Verdict.OK,
        "16 of 31 networks can still be made from the engine's address pools.",
        "",
    ),
    (
        "address-pools",
        engine(pools=(("10.0.0.0/24", 28),), networks=(EngineNetwork("x", ("10.0.0.0/28",), False),) * 3),
        W,
        "13 of 16 networks can still be made from the engine's address pools.",
        POOLS_REPAIR,
    ),
    (
        "address-pools",
        engine(pools=(("10.0.0.0/24", 28),), networks=(EngineNetwork("x", ("10.0.0.0/28",), False),) * 11),
        F,
        "5 of 16 networks can still be made from the engine's address pools.",
        POOLS_REPAIR,
    ),
    (
        "address-overlap",
        instance(vpc=("10.200.0.0/20",)),
        F,
        "docker.address_pool 10.200.0.0/16 overlaps 10.200.0.0/20, which this host talks to.",
        OTHER_POOL,
    ),
    (
        "address-overlap",
        host(networks=("10.0.0.0/8",)),
        F,
        "docker.address_pool 10.200.0.0/16 overlaps 10.0.0.0/8, which this host talks to.",
        OTHER_POOL,
    ),
    (
        "address-overlap",
        engine(networks=(EngineNetwork("other", ("10.200.9.0/24",), False),)),
        W,
        "docker.address_pool 10.200.0.0/16 overlaps the network other, which is not ours.",
        OTHER_POOL,
    ),
    (
        "bridge-ports",
        engine(networks=(EngineNetwork("wide", ("10.1.0.0/16",), False, 800),)),
        W,
        "800 of 1023 ports are taken on the fullest network, wide.",
        "docker network inspect wide: spread its containers over several networks",
    ),
    (
        "bridge-ports",
        engine(networks=(EngineNetwork("wide", ("10.1.0.0/16",), False, 1_000),)),
        F,
        "1000 of 1023 ports are taken on the fullest network, wide.",
        "docker network inspect wide: spread its containers over several networks",
    ),
    ("bridge-ports", engine(networks=()), Verdict.OK, "No network has a container.", ""),
    (
        "log-driver",
        engine(log_driver="json-file"),
        W,
        "Logs of containers that others start grow without a limit (json-file); those of environments do not.",
        f'"log-driver": "local" in {FILE}, {RESTART}',
    ),
    (
        "storage-driver",
        engine(storage_driver="vfs"),
        F,
        "The storage driver vfs copies whole layers.",
        f'"storage-driver": "overlay2" in {FILE}, {RESTART}; images are pulled and built again',
    ),
    (
        "storage-driver",
        engine(backing="extfs"),
        Verdict.OK,
        "Layers are stored by overlay2 on extfs; it has no quota for what containers write.",
        "",
    ),
    (
        "build-cache",
        host(builder=("GC Policy rule#0:", " Keep Bytes: 20GiB")),
        W,
        "The builder tells no upper bound of its cache.",
        BOUND_CACHE,
    ),
    (
        "build-cache",
        host(builder=None),
        U,
        "What bounds the build cache is told by `docker buildx inspect`, which does not answer here.",
        "",
    ),
    (
        "registry-mirror",
        engine(mirrors=()),
        W,
        "Docker Hub counts the pulls of this host, and refuses after some.",
        f'"registry-mirrors": ["https://mirror.gcr.io"] in {FILE}, then `systemctl reload docker`',
    ),
    (
        "docker-proxy",
        host(docker_proxies=101),
        W,
        "101 programs serve published ports; environments publish none.",
        f'"userland-proxy": false in {FILE}, {RESTART}',
    ),
    (
        "engine-oom",
        host(engine_process=EngineProcess(0)),
        W,
        "Without memory the kernel may end dockerd before a container.",
        SPARE_ENGINE,
    ),
    ("engine-oom", host(engine_process=None), U, "dockerd's own process could not be looked at.", ""),
    (
        "engine-tasks",
        host(engine_process=EngineProcess(-500, tasks_max="4915")),
        W,
        "systemd allows dockerd 4915 processes and threads.",
        "systemctl set-property docker.service TasksMax=infinity",
    ),
    (
        "engine-tasks",
        host(engine_process=EngineProcess(-500)),
        N,
        "dockerd is no service of systemd here, or cannot be looked at.",
        "",
    ),
    (
        "engine-files",
        host(engine_process=EngineProcess(-500, 20_000)),
        W,
        "dockerd may have only 20000 files open.",
        MORE_FILES,
    ),
    ("engine-files", host(engine_process=EngineProcess(-500)), U, "dockerd's own process could not be looked at.", ""),
    (
        "slack",
        door(slack_team="", slack_refusal="Slack refuses: invalid_auth."),
        F,
        "Slack refuses: invalid_auth.",
        f"{TOKEN}, then `systemctl restart butai`",
    ),
    (
        "slack",
        door(slack_team="T9"),
        F,
        "The bot token is of the workspace T9, not of T0123ABCD.",
        TOKEN,
    ),
    (
        "slack",
        door(slack_team=None),
        U,
        "The bot token is tried by the agent, and Slack must answer.",
        "butai doctor, not as root",
    ),
    (
        "inotify-instances",
        sysctl(INSTANCES, 128),
        F,
        f"Only 128 programs may watch files ({INSTANCES}); 8192 is wanted.",
        f"sysctl -w {INSTANCES}=8192",
    ),
    (
        "inotify-instances",
        sysctl(INSTANCES, 1_024),
        W,
        f"Only 1024 programs may watch files ({INSTANCES}); 8192 is wanted.",
        f"sysctl -w {INSTANCES}=8192",
    ),
    ("inotify-instances", host(sysctls={}), U, f"{INSTANCES} could not be read.", ""),
    (
        "inotify-watches",
        sysctl(WATCHES, 8_192),
        F,
        f"Only 8192 files may be watched ({WATCHES}); 1048576 is wanted.",
        f"sysctl -w {WATCHES}=1048576",
    ),
    (
        "conntrack",
        sysctl(CONNTRACK, 65_536),
        W,
        f"Only 65536 connections may be open ({CONNTRACK}); 262144 is wanted.",
        f"sysctl -w {CONNTRACK}=262144",
    ),
    (
        "conntrack",
        sysctl(TRACKED, 250_000),
        F,
        "250000 of 262144 connections are tracked: when the table is full, new ones time out.",
        f"sysctl -w {CONNTRACK}=524288",
    ),
    ("conntrack", host(sysctls={}), N, "The kernel tracks no connections.", ""),
    (
        "processes",
        sysctl(PID_MAX, 32_768),
        W,
        f"Only 32768 processes and threads may exist ({PID_MAX}); 4194304 is wanted.",
        f"sysctl -w {PID_MAX}=4194304",
    ),
    (
        "disk-space",
        disks(*HEALTHY.disks, Disk("engine", "/var/lib/docker", 50 * GIB, 10 * GIB, 100, 90)),
        W,
        "10.0 of 50.0 GiB are free at /var/lib/docker.",
        PRUNE,
    ),
    ("disk-space", disks(Disk("state", "/x", 50 * GIB, GIB, 100, 90)), F, "1.0 of 50.0 GiB are free at /x.", PRUNE),
    (
        "disk-space",
        disks(Disk("state", "/x", 200 * GIB, 19 * GIB, 9, 9)),
        F,
        "19.0 of 200.0 GiB are free at /x.",
        PRUNE,
    ),
    ("disk-space", disks(), U, "No disk could be measured.", ""),
    (
        "disk-inodes",
        disks(Disk("state", "/x", 50 * GIB, 40 * GIB, 100, 10)),
        W,
        "10% of the inodes are free at /x.",
        PRUNE,
    ),
    ("disk-inodes", disks(Disk("state", "/x", GIB, GIB, 100, 1)), F, "1% of the inodes are free at /x.", PRUNE),
    (
        "disk-inodes",
        disks(Disk("state", "/x", GIB, GIB, 0, 0)),
        Verdict.OK,
        "The file systems make inodes as they need them.",
        "",
    ),
    ("memory", host(memory_free_bytes=GIB), W, "1.0 of 16.0 GiB of memory can be had.", SLEEP),
    ("memory", host(memory_free_bytes=GIB // 4), F, "0.2 of 16.0 GiB of memory can be had.", SLEEP),
    ("memory", host(memory_bytes=None), U, "The memory could not be measured.", ""),
    (
        "swap",
        host(swap_bytes=0),
        W,
        "There is no swap space: a moment without memory ends processes.",
        MAKE_SWAP,
    ),
    ("clock", host(is_clock_synchronised=False), W, "The clock follows no server.", "timedatectl set-ntp true"),
    (
        "clock",
        host(is_clock_synchronised=None),
        U,
        "Whether the clock is synchronised is told by `timedatectl`, which does not answer here.",
        "",
    ),
    (
        "firewall",
        host(firewall=("-N DOCKER-USER",)),
        F,
        "Docker's rules are not in the firewall: containers are not reached, or not held apart.",
        "systemctl restart docker",
    ),
    (
        "firewall",
        host(firewall=()),
        U,
        "There is no chain DOCKER-USER: the engine may use nftables.",
        "nft list tables",
    ),
    (
        "firewall",
        host(firewall=None),
        U,
        "The firewall's rules are told by `iptables -S`, to root only.",
        "sudo butai doctor",
    ),
    (
        "imds-tokens",
        instance(answers_without_token=True),
        F,
        "The metadata service answers without a token: every container can use the instance's role.",
        f"{MODIFY} --http-tokens required --http-put-response-hop-limit 1 --http-endpoint enabled",
    ),
    ("imds-tokens", instance(answers_without_token=None), U, "The metadata service does not answer.", ""),
    (
        "imds-hops",
        instance(crosses_to_containers=True),
        F,
        "Tokens of the metadata service reach containers: the hop limit is more than 1.",
        f"{MODIFY} --http-put-response-hop-limit 1",
    ),
    (
        "imds-firewall",
        host(firewall=("-A DOCKER-USER -j RETURN",)),
        W,
        "No rule of the firewall keeps containers from the metadata service.",
        "journalctl -u butai -g firewall",
    ),
    (
        "imds-firewall",
        replace(HEALTHY, wall_problem="iptables says: you must be root."),
        W,
        "The agent cannot keep containers from the metadata service: iptables says: you must be root.",
        "journalctl -u butai -g firewall",
    ),
    (
        "project-roles",
        replace(HEALTHY, role_problems=None),
        U,
        "Whether the roles of projects can be assumed is told by the agent.",
        "butai doctor, not as root",
    ),
    (
        "project-roles",
        replace(HEALTHY, role_problems=("AWS does not allow sts:AssumeRole on it.",)),
        W,
        "Containers lack credentials of their role: AWS does not allow sts:AssumeRole on it.",
        "journalctl -u butai -g role; see docs/how-to/aws-roles.md",
    ),
    (
        "agent-port",
        replace(HEALTHY, wall_problem="iptables says: you must be root."),
        W,
        "The agent cannot keep containers from its port 8480: iptables says: you must be root.",
        "journalctl -u butai -g firewall",
    ),
    (
        "agent-port",
        host(firewall=("-A INPUT -j wall-butai-input", *WALL[:-1])),
        W,
        "No rule of the firewall keeps containers from the agent's port 8480.",
        "journalctl -u butai -g firewall",
    ),
    (
        "agent-port",
        host(firewall=None),
        U,
        "The firewall's rules are told by `iptables -S`, to root only.",
        "sudo butai doctor",
    ),
    (
        "instance-role",
        instance(role=""),
        W,
        "The instance has no role, but [dns] changes records.",
        "aws ec2 associate-iam-instance-profile --instance-id i-1 --iam-instance-profile Name=butai",
    ),
    (
        "spot",
        instance(interruption='{"action": "terminate", "time": "2026-01-05T12:02:00Z"}'),
        F,
        'AWS takes this instance back: {"action": "terminate", "time": "2026-01-05T12:02:00Z"}.',
        "start a replacement now",
    ),
    ("spot", instance(is_spot=False), N, "This is no Spot instance.", ""),
    (
        "traefik",
        engine(edge=None),
        F,
        "There is no container butai--traefik.",
        AGENT,
    ),
    (
        "traefik",
        engine(edge=EdgeContainer(False, "traefik:v3.7.15")),
        F,
        "The container butai--traefik does not run.",
        "docker logs butai--traefik",
    ),
    (
        "traefik",
        engine(edge=EdgeContainer(True, "traefik:v3.6.2")),
        F,
        "Traefik traefik:v3.6.2 is older than 3.7.",
        "`traefik.image` in the settings",
    ),
    (
        "traefik",
        engine(edge=EdgeContainer(True, "traefik:v3.7.15", ("--providers.docker=true",))),
        F,
        "butai--traefik reads labels of containers.",
        "systemctl restart butai",
    ),
    ("ports", host(listening=frozenset({80})), F, "Nobody listens on port 443.", AGENT),
    (
        "ports",
        engine(edge=None),
        F,
        "Port 80 is taken by another program, and Traefik does not run.",
        "ss -ltnp 'sport = :80'",
    ),
    ("dns", door(addresses=()), F, "*.staging.example.com has no address.", "butai dns check"),
    (
        "dns",
        door(addresses=("203.0.113.99",)),
        F,
        "*.staging.example.com leads to 203.0.113.99, but this host is 203.0.113.10.",
        "butai dns check",
    ),
    ("dns", door(addresses=None), U, "The resolver of this host does not answer.", "resolvectl status"),
    (
        "dns",
        replace(ELSEWHERE, door=DoorFacts(addresses=("10.1.2.3", "203.0.113.10"))),
        Verdict.OK,
        "*.staging.example.com leads to 10.1.2.3 and 203.0.113.10.",
        "",
    ),
    ("dns", ELSEWHERE, Verdict.OK, "*.staging.example.com leads to 203.0.113.10.", ""),
    (
        "dns-records",
        door(records_problem="The records belong to another agent."),
        F,
        "The records belong to another agent.",
        "butai dns",
    ),
    ("dns-records", door(records_problem=None), U, "The records are looked at by the agent.", "butai dns"),
    (
        "certificate",
        door(certificate=Certificate(NOW + timedelta(days=20))),
        W,
        "The certificate runs out on 2026-01-25.",
        RENEW,
    ),
    (
        "certificate",
        door(certificate=Certificate(NOW + timedelta(days=2))),
        F,
        "The certificate runs out on 2026-01-07.",
        RENEW,
    ),
    (
        "certificate",
        door(certificate=Certificate(NOW - timedelta(days=1))),
        F,
        "The certificate ran out on 2026-01-04.",
        RENEW,
    ),
    ("certificate", door(certificate=None), U, "Traefik shows no certificate.", AGENT),
    (
        "front-door",
        door(status=0),
        W,
        "https://butai.staging.example.com does not answer this host; the rules of a cloud may be the reason.",
        f"curl -v https://butai.staging.example.com/ from elsewhere; {AGENT}",
    ),
    (
        "front-door",
        door(status=502),
        F,
        "https://butai.staging.example.com answers 502: Traefik does not reach the agent.",
        AGENT,
    ),
)


@pytest.fixture(scope="module", name="settings")
def settings_fixture(tmp_path_factory: pytest.TempPathFactory) -> config.Settings:
    """With a certificate, records and a role: else some checks would have nothing to look at."""
    base = tmp_path_factory.mktemp("settings")
    for name in ("wildcard.crt", "wildcard.key", "slack"):
        (base / name).touch(0o600)
        (base / name).write_text("0123456789")
    more = '[traefik]\ncertificate_file = "wildcard.crt"\nkey_file = "wildcard.key"\n[dns]\nzone = "Z0123456789ABC"\n'
    more += '[slack]\nteam = "T0123ABCD"\nsigning_secret_file = "slack"\nbot_token_file = "slack"\n'
    return config.parse(SETTINGS + ROLE + more, base)


def examined(facts: Facts, settings: config.Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in doctor.examine(facts, settings)}


def test_nothing_is_wrong_with_a_host_that_was_set_up_as_the_reference_says(settings: config.Settings) -> None:
    found = examined(HEALTHY, settings)
    assert {name: finding.says for name, finding in found.items()} == FINE
    assert {finding.verdict for finding in found.values()} == {Verdict.OK}
    assert not any(finding.repair or finding.raises for finding in found.values())


@pytest.mark.parametrize(
    ("check", "facts", "verdict", "says", "repair"), CASES, ids=[f"{case[0]}: {case[3]}" for case in CASES]
)
def test_what_is_wrong_is_said_with_the_command_that_repairs_it(
    settings: config.Settings, check: str, facts: Facts, verdict: Verdict, says: str, repair: str
) -> None:
    found = examined(facts, settings)[check]
    assert (found.verdict, found.says, found.repair) == (verdict, says, repair)


def test_every_check_has_a_case_in_which_it_complains() -> None:
    complaining = {check for check, _, verdict, _, _ in CASES if verdict in (Verdict.WARNING, Verdict.FAILURE)}
    assert complaining == {check.name for check in doctor.CHECKS} == set(FINE)


def test_an_agent_that_listens_everywhere_is_told_so(tmp_path: Path) -> None:
    found = examined(HEALTHY, config.parse(f'{SETTINGS}[server]\nlisten = "0.0.0.0"\n', tmp_path))["agent-port"]
    assert (found.verdict, found.says, found.repair) == (
        Verdict.WARNING,
        "The agent's port 8480 is open on every address of this host.",
        "`server.listen` out of the settings, then restart the agent",
    )


def test_whoever_wants_no_wall_is_told_what_stands_open_and_may_have_rules_of_their_own(tmp_path: Path) -> None:
    settings = config.parse(f"{SETTINGS}[firewall]\nmanage = false\n", tmp_path)
    open_host = host(firewall=("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN"))
    found = examined(open_host, settings)
    bar = "iptables -I DOCKER-USER -d 169.254.0.0/16 -j DROP"
    assert found["imds-firewall"].repair == f"`firewall.manage = true` in the settings, or {bar}"
    assert found["agent-port"].repair == "`firewall.manage = true` in the settings"
    barred = examined(host(firewall=("-A DOCKER-USER -d 169.254.0.0/16 -j DROP",)), settings)
    assert barred["imds-firewall"].verdict is Verdict.OK


def test_the_metadata_service_has_an_address_of_ipv6_too(tmp_path: Path) -> None:
    own = config.parse(f"{SETTINGS}[firewall]\nmanage = false\n", tmp_path)
    v4, bar = ("-A DOCKER-USER -d 169.254.0.0/16 -j DROP",), "ip6tables -I DOCKER-USER -d fd00:ec2::254/128 -j DROP"
    open_v6 = examined(host(firewall=v4, firewall_v6=("-N DOCKER-USER",)), own)["imds-firewall"]
    assert (open_v6.verdict, open_v6.says, open_v6.repair) == (
        Verdict.WARNING,
        "No rule of the firewall keeps containers from the metadata service over IPv6.",
        f"`firewall.manage = true` in the settings, or {bar}",
    )
    closed = host(firewall=v4, firewall_v6=("-A DOCKER-USER -d fd00:ec2::254/128 -j DROP",))
    assert examined(closed, own)["imds-firewall"].verdict is Verdict.OK
    assert examined(host(firewall_v6=()), config.parse(SETTINGS, tmp_path))["imds-firewall"].verdict is Verdict.WARNING


def test_a_certificate_that_traefik_gets_itself_is_repaired_where_traefik_says_why(tmp_path: Path) -> None:
    soon = door(certificate=Certificate(NOW + timedelta(days=2)))
    acme = config.parse(f'{SETTINGS}[traefik.acme]\nemail = "ops@example.com"\nzone = "Z0123456789ABC"\n', tmp_path)
    assert examined(soon, acme)["certificate"].repair == "docker logs butai--traefik: it should have renewed it by now"
    foreign = '[traefik]\nmanaged = false\nhttps = true\ndirectory = "/t"\nagent_url = "http://127.0.0.1:8480"\n'
    found = examined(soon, config.parse(SETTINGS + foreign, tmp_path))["certificate"]
    assert found.repair == "the log of your Traefik (traefik.managed = false)"


def test_a_metadata_service_that_does_not_answer_tells_of_no_role_and_no_spot_instance(
    settings: config.Settings,
) -> None:
    found = examined(replace(HEALTHY, instance=InstanceFacts()), settings)
    for name in ("imds-tokens", "imds-hops", "instance-role", "spot"):
        assert (found[name].verdict, found[name].says) == (Verdict.UNKNOWN, "The metadata service does not answer.")


def test_the_digest_of_an_image_hides_no_old_version(settings: config.Settings) -> None:
    old = engine(edge=EdgeContainer(True, f"traefik:v3.6.1@sha256:{'0' * 64}"))
    assert examined(old, settings)["traefik"].verdict is Verdict.FAILURE


def test_a_certificate_that_traefik_made_itself_for_want_of_another_is_none(settings: config.Settings) -> None:
    found = examined(door(certificate=Certificate(NOW + timedelta(days=365), is_makeshift=True)), settings)
    assert (found["certificate"].verdict, found["certificate"].says) == (
        Verdict.FAILURE,
        "Traefik shows a certificate that it made itself: it has no other for staging.example.com, and browsers warn.",
    )
    assert found["certificate"].repair == "docker logs butai--traefik"


@pytest.mark.parametrize(
    ("more", "purpose"),
    [
        ('[traefik.acme]\nemail = "ops@example.com"\nzone = "Z0123456789ABC"\n', "[traefik.acme] changes records"),
        (ROLE, "projects are to have roles of their own, which it must take on"),
    ],
)
def test_a_role_is_needed_for_more_than_records(tmp_path: Path, more: str, purpose: str) -> None:
    found = examined(instance(role=""), config.parse(SETTINGS + more, tmp_path))["instance-role"]
    assert (found.verdict, found.says) == (Verdict.WARNING, f"The instance has no role, but {purpose}.")


def test_an_agent_on_the_loopback_needs_no_wall(tmp_path: Path) -> None:
    settings = config.parse(f'{SETTINGS}[server]\nlisten = "127.0.0.1"\n', tmp_path)
    assert examined(host(firewall=None), settings)["agent-port"] == replace(
        ok("The agent listens at 127.0.0.1 only."), check="agent-port"
    )


def test_every_check_names_the_line_of_the_reference_that_it_comes_from() -> None:
    for check in doctor.CHECKS:
        first, _, last = inspect.cleandoc(check.judge.__doc__ or "").partition("\n\n")
        assert first.endswith("."), check.name
        assert last.startswith(("Source: host-limits, ", "Source: aws, ")), check.name


def test_without_an_engine_only_what_it_alone_knows_is_unknown(settings: config.Settings) -> None:
    found = examined(SILENT, settings)
    silent = {name for name, finding in found.items() if finding.says == "Docker Engine does not answer."}
    assert silent == {
        *("live-restore", "engine-limits", "address-pools", "address-overlap", "bridge-ports", "log-driver"),
        *("storage-driver", "registry-mirror", "traefik"),
    }
    assert {found[name].verdict for name in silent} == {Verdict.UNKNOWN}


def test_elsewhere_than_on_ec2_its_checks_do_not_apply(settings: config.Settings) -> None:
    found = examined(ELSEWHERE, settings)
    absent = {name for name, finding in found.items() if finding.verdict is Verdict.NOT_APPLICABLE}
    assert absent == {"imds-tokens", "imds-hops", "imds-firewall", "instance-role", "spot"}


def test_what_the_settings_do_not_ask_for_does_not_apply(tmp_path: Path) -> None:
    plain = config.parse(SETTINGS.replace("staging.example.com", "stage.localhost"), tmp_path)
    found = examined(HEALTHY, plain)
    absent = {name for name, finding in found.items() if finding.verdict is Verdict.NOT_APPLICABLE}
    assert absent == {"project-roles", "dns", "dns-records", "certificate", "front-door", "slack"}
    assert examined(instance(role=""), plain)["instance-role"].verdict is Verdict.OK
    foreign = '[traefik]\nmanaged = false\ndirectory = "/etc/traefik"\nagent_url = "http://127.0.0.1:8480"\n'
    found = examined(engine(edge=None), config.parse(SETTINGS + foreign, tmp_path))
    assert (found["traefik"].verdict, found["ports"].verdict) == (Verdict.NOT_APPLICABLE, Verdict.OK)


@pytest.mark.parametrize(
    ("docker_from", "of_engine", "of_compose"),
    [
        ("docker", "docker-ce containerd.io", "docker-compose-plugin"),
        ("debian", "docker.io containerd", "docker-compose"),
        ("ubuntu", "docker.io containerd", "docker-compose-v2"),
    ],
)
def test_a_repair_calls_packages_as_whoever_they_are_from_does(
    settings: config.Settings, docker_from: str, of_engine: str, of_compose: str
) -> None:
    old = replace(engine(version="26.1.5"), host=replace(HEALTHY.host, docker_from=docker_from, compose="2.26.1"))
    found = examined(old, settings)
    assert found["engine"].repair == f"apt-get update && apt-get install --only-upgrade {of_engine}"
    assert found["compose"].repair == f"apt-get update && apt-get install --only-upgrade {of_compose}"
    missing = replace(old, host=replace(old.host, compose=None))
    assert examined(missing, settings)["compose"].repair == f"apt-get update && apt-get install {of_compose}"


def test_amazon_linux_has_no_package_of_compose(settings: config.Settings) -> None:
    again = "systemd/install.sh of a copy of the repository"
    for found, repair in (
        (None, again),
        ("2.26.1", f"rm /usr/local/lib/docker/cli-plugins/docker-compose, then {again}"),
    ):
        amazon = host(packager="dnf", compose=found)
        assert examined(amazon, settings)["compose"].repair == repair


def test_a_repair_calls_the_manager_of_packages_that_the_host_has(settings: config.Settings) -> None:
    found = examined(replace(engine(version="26.1.5"), host=replace(HEALTHY.host, packager="dnf", git=None)), settings)
    assert (found["git"].repair, found["engine"].repair) == ("dnf install git", "dnf upgrade docker containerd")


def test_logs_with_a_limit_may_be_of_any_driver(settings: config.Settings) -> None:
    facts = replace(engine(log_driver="json-file"), host=replace(HEALTHY.host, log_options={"max-size": "10m"}))
    assert examined(facts, settings)["log-driver"].verdict is Verdict.OK


def test_only_limits_of_the_kernel_are_raised_and_none_is_lowered(settings: config.Settings) -> None:
    low = host(sysctls={INSTANCES: 128, WATCHES: 2_000_000, CONNTRACK: 1_000_000, TRACKED: 900_000, PID_MAX: 32_768})
    findings = doctor.examine(low, settings)
    assert doctor.repairs(findings) == {INSTANCES: 8_192, CONNTRACK: 2_000_000, PID_MAX: 4_194_304}


def test_the_summary_names_what_to_look_at(settings: config.Settings) -> None:
    findings = doctor.examine(host(git="2.39.5", swap_bytes=0, compose=None, firewall=None), settings)
    assert doctor.summary(findings) == "1 failure (compose), 2 warnings (git, swap), 3 unknown, 34 ok"
    assert doctor.worst(findings) is Verdict.FAILURE


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ((), Verdict.OK),
        ((Verdict.OK, Verdict.NOT_APPLICABLE), Verdict.OK),
        ((Verdict.NOT_APPLICABLE,), Verdict.OK),
        ((Verdict.OK, Verdict.UNKNOWN), Verdict.UNKNOWN),
        ((Verdict.UNKNOWN, Verdict.WARNING), Verdict.WARNING),
        ((Verdict.WARNING, Verdict.FAILURE), Verdict.FAILURE),
    ],
)
def test_the_verdict_on_a_host_is_the_worst_of_them(verdicts: tuple[Verdict, ...], worst: Verdict) -> None:
    assert doctor.worst(Finding(verdict, "") for verdict in verdicts) is worst
