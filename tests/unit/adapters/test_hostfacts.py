"""Facts of a host, read from files as the kernel writes them; what is not there is left out, never an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters import hostfacts
from agent.model.facts import EngineProcess

PID_MAX = "kernel.pid_max"
LISTENING = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0050 00000000:0000 0A 00000000:00000000
   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000
"""
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
ens5\t00000000\t01101FAC\t0003\t0\t0\t100\t00000000\t0\t0\t0
ens5\t00101FAC\t00000000\t0001\t0\t0\t100\t00F0FFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br-1a2b\t0000C80A\t00000000\t0001\t0\t0\t0\t80FFFFFF\t0\t0\t0
"""


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture(autouse=True)
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What programs say is the integration test's business."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))


def gathered(root: Path) -> hostfacts.HostFacts:
    return hostfacts.gather(sysctls=(PID_MAX,), docker_host="unix:///nowhere", root=root)


def test_everything_is_read_from_where_the_kernel_writes_it(tmp_path: Path) -> None:
    write(tmp_path, "proc/sys/kernel/pid_max", "32768\n")
    write(tmp_path, "proc/meminfo", "MemTotal: 2048 kB\nMemAvailable:   1024 kB\nSwapTotal: 0 kB\nHugePages_Total: 0\n")
    write(tmp_path, "proc/net/tcp", LISTENING)
    write(tmp_path, "proc/net/tcp6", LISTENING.replace(":0050", ":01BB"))
    write(tmp_path, "proc/net/route", ROUTES)
    write(tmp_path, "proc/7/comm", "docker-proxy\n")
    write(tmp_path, "proc/42/comm", "dockerd\n")
    write(tmp_path, "proc/42/oom_score_adj", "-500\n")
    write(tmp_path, "proc/42/limits", "Limit Soft Limit\nMax open files            20000         30000      files\n")
    write(tmp_path, "proc/42/cgroup", "0::/system.slice/docker.service\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/docker.service/pids.max", "4915\n")
    write(tmp_path, "run/docker.pid", "42")
    write(tmp_path, "usr/bin/dnf", "")
    write(tmp_path, "etc/docker/daemon.json", '{"log-opts": {"max-size": "10m"}}')

    found = gathered(tmp_path)

    assert found.sysctls == {PID_MAX: 32_768}
    assert (found.memory_bytes, found.memory_free_bytes, found.swap_bytes) == (2 * 1024**2, 1024**2, 0)
    assert found.listening == {80, 443}
    assert found.networks == ("172.31.16.0/20",)
    assert found.docker_proxies == 1
    assert (found.packager, found.docker_from) == ("dnf", "docker")
    assert found.engine_process == EngineProcess(-500, 20_000, "4915")
    assert found.log_options == {"max-size": "10m"}


@pytest.mark.parametrize(
    ("system", "package", "docker_from"),
    [
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "docker.io", "ubuntu"),
        ('NAME="Debian"\nID="debian"\n', "docker.io", "debian"),
        ("ID=debian\n", "docker-ce", "docker"),
        ("ID=mint\nID_LIKE=ubuntu\n", "docker.io", "debian"),
    ],
)
def test_whose_packages_docker_is_from_is_told(tmp_path: Path, system: str, package: str, docker_from: str) -> None:
    write(tmp_path, "etc/os-release", system)
    write(tmp_path, f"var/lib/dpkg/info/{package}.list", "")
    assert gathered(tmp_path).docker_from == docker_from


def test_the_control_group_of_the_first_version_is_found_too(tmp_path: Path) -> None:
    write(tmp_path, "run/docker.pid", "42")
    write(tmp_path, "proc/42/oom_score_adj", "0\n")
    write(tmp_path, "proc/42/cgroup", "9:pids:/system.slice/docker.service\n1:name=systemd:/x:y\n")
    write(tmp_path, "sys/fs/cgroup/pids/system.slice/docker.service/pids.max", "max\n")
    assert gathered(tmp_path).engine_process == EngineProcess(0, None, "max")


def test_a_host_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, "run/docker.pid", "nonsense")
    write(tmp_path, "etc/docker/daemon.json", "[not json")
    found = gathered(tmp_path)
    assert (found.sysctls, found.memory_bytes, found.engine_process, found.log_options) == ({}, None, None, {})
    assert (found.git, found.builder, found.firewall, found.is_clock_synchronised) == (None, None, None, None)


@pytest.mark.parametrize(
    ("path", "text", "is_ec2"),
    [
        ("sys/class/dmi/id/sys_vendor", "Amazon EC2\n", True),
        ("sys/hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n", True),
        ("sys/class/dmi/id/sys_vendor", "QEMU\n", False),
    ],
)
def test_the_firmware_says_whether_this_is_ec2(tmp_path: Path, path: str, text: str, is_ec2: bool) -> None:
    write(tmp_path, path, text)
    assert hostfacts.is_ec2(tmp_path) is is_ec2
