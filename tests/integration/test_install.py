"""systemd/install.sh: what it would do on each system, and what it does where no network and no engine are needed."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.adapters import sysctl
from agent.cli.main import butai
from agent.cli.session import state_dir_of
from agent.planning import doctor_host
from tests.support.installhost import SYSTEMD, Host, new_host

ROOT = SYSTEMD.parent
SCRIPTS = (SYSTEMD / "install.sh", *sorted((SYSTEMD / "steps").glob("*.sh")))
MakeHost = Callable[[str], Host]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others, as the installer does")


@pytest.fixture
def host(tmp_path: Path) -> MakeHost:
    return lambda system: new_host(tmp_path / system, system)


OWN = "docker-ce docker-ce-cli containerd.io docker-compose-plugin docker-buildx-plugin"


def installing(lines: list[str]) -> list[str]:
    return [line.removeprefix("would install packages: ") for line in lines if "install packages" in line]


@pytest.mark.parametrize(
    ("system", "options", "packages"),
    [
        ("debian-12", (), [OWN]),
        ("debian-13", (), [OWN]),
        ("ubuntu-24.04", (), [OWN]),
        ("debian-13", ("--docker", "distribution"), ["docker.io docker-cli docker-compose docker-buildx"]),
        ("ubuntu-24.04", ("--docker", "distribution"), ["docker.io docker-compose-v2 docker-buildx"]),
        ("amzn-2023", (), ["python3.11 python3.11-pip", "docker"]),  # Buildx comes with it
        ("debian-13", ("--docker", "none"), []),
    ],
)
def test_each_system_gets_docker_by_the_names_of_its_own_packages(
    host: MakeHost, system: str, options: tuple[str, ...], packages: list[str]
) -> None:
    assert installing(host(system).check(*options)) == packages


def test_what_is_installed_decides_where_its_plugins_come_from(host: MakeHost) -> None:
    ours = host("ubuntu-24.04")
    ours.have_docker()
    (ours.root / "usr/libexec/docker/cli-plugins/docker-compose").unlink()
    ours.write("var/lib/dpkg/info/docker.io.list", "")
    assert installing(ours.check()) == ["docker-compose-v2"]


@as_root
def test_the_engine_of_debian_is_found_where_debian_puts_it(host: MakeHost) -> None:
    ours = host("debian-13")
    ours.have_docker(folder="usr/sbin")
    ours.write("var/lib/dpkg/info/docker.io.list", "")
    assert installing(ours.check()) == []
    assert "systemctl reload docker" in ours.install().stdout


def test_amazon_linux_gets_the_compose_plugin_that_no_package_has(host: MakeHost) -> None:
    ours = host("amzn-2023")
    assert any("fetch the Compose plugin v" in line for line in ours.check())
    plugin = ours.write("plugin", "")
    assert f"would install the Compose plugin from {plugin}" in ours.check("--compose", str(plugin))


@pytest.mark.parametrize(
    ("system", "options", "says"),
    [
        ("debian-11", (), "this is debian-11; Amazon Linux 2023, Ubuntu 24.04, Debian 12 and 13 are known"),
        ("debian-12", ("--docker", "distribution"), "Docker of Debian 12 is 20.10, and the agent needs 25"),
        ("amzn-2023", ("--docker", "own"), "Docker has no packages for Amazon Linux"),
        ("debian-13", ("--docker", "podman"), "--docker is own, distribution or none, not podman"),
        ("debian-13", ("--wheel", "/nowhere.whl"), "there is no file /nowhere.whl"),
        ("debian-13", ("--purge",), "--purge goes with --uninstall"),
        ("debian-13", ("--wheel",), "--wheel wants a value"),
        ("debian-13", ("--chekc",), "there is no option --chekc"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    host: MakeHost, system: str, options: tuple[str, ...], says: str
) -> None:
    done = host(system).install("--check", *options)
    assert done.returncode == 1
    assert says in done.stderr


def test_an_engine_that_is_too_old_is_not_replaced_but_named(host: MakeHost) -> None:
    ours = host("debian-12")
    ours.have_docker("20.10.24+dfsg1")
    done = ours.install("--check")
    assert (done.returncode, "Docker 20 is installed, and the agent needs 25" in done.stderr) == (1, True)


@pytest.mark.parametrize("system", ["debian-12", "debian-13", "ubuntu-24.04", "amzn-2023"])
def test_a_check_changes_nothing(host: MakeHost, system: str) -> None:
    ours = host(system)
    before = ours.files()
    lines = ours.check()
    assert all(line.startswith("would ") for line in lines), lines
    assert ours.files() == before


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, str]:
    """A host after one run, which these tests share and do not change, and what that run said."""
    ours = new_host(tmp_path_factory.mktemp("installed"), "debian-13")
    ours.have_docker()
    ours.write(str(sysctl.FILE), "# mine\nvm.swappiness = 10\n")
    (ours.root / "var/lib/butai").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(ours.root / "var/lib/butai", 987, 986)  # of a volume that came from another host
    done = ours.install()
    assert done.returncode == 0, done.stderr
    return ours, done.stdout


@as_root
def test_after_a_run_there_is_nothing_to_do(installed: tuple[Host, str]) -> None:
    ours, _ = installed
    assert ours.check() == ["nothing to do"]
    before = ours.files()
    assert ours.install().stdout.splitlines()[0] == "nothing to do"
    assert ours.files() == before


@as_root
def test_a_run_makes_what_the_unit_and_the_settings_name(installed: tuple[Host, str]) -> None:
    ours, said = installed
    command = re.search(r"^ExecStart=(\S+) serve", (SYSTEMD / "butai.service").read_text(), re.MULTILINE)
    assert command
    assert (ours.root / command[1][1:]).exists()
    user = next(line for line in (ours.root / "etc/passwd").read_text().splitlines() if line.startswith("butai:"))
    assert user.endswith(":/var/lib/butai:/usr/sbin/nologin")
    names = ("etc/butai", "etc/butai/secrets", "var/lib/butai", "var/lib/butai/keys", "var/backups/butai")
    modes = [stat.S_IMODE((ours.root / name).stat().st_mode) for name in names]
    assert modes == [0o755, 0o700, 0o750, 0o700, 0o700]
    assert user.split(":")[2:4] == ["987", "986"]
    assert (ours.root / "var/lib/butai").stat().st_uid == 987
    assert (ours.root / "etc/butai/config.toml").read_text() == (ROOT / "config.example.toml").read_text()
    assert (ours.root / "etc/systemd/system/multi-user.target.wants/butai.service").is_symlink()
    assert (ours.root / "etc/systemd/system/docker.service.wants/butai-wall.service").is_symlink()
    assert json.loads((ours.root / "etc/docker/daemon.json").read_text())["live-restore"] is True
    assert "systemctl reload docker" in said  # the engine was there before


@as_root
def test_kernel_limits_are_those_of_the_doctor_in_the_file_of_the_doctor(installed: tuple[Host, str]) -> None:
    ours, _ = installed
    lines = (ours.root / sysctl.FILE).read_text().splitlines()
    assert lines[:2] == ["# mine", "vm.swappiness = 10"]
    assert set(lines[2:]) == {
        f"{doctor_host.INSTANCES} = 8192",
        f"{doctor_host.WATCHES} = 1048576",
        f"{doctor_host.CONNTRACK} = 262144",  # the number of processes was high enough
    }
    assert (ours.root / "proc/sys/fs/inotify/max_user_instances").read_text() == "8192\n"
    assert (ours.root / sysctl.MODULES).read_text() == "nf_conntrack\n"


def test_the_doctor_wants_no_more_than_the_installer_gives() -> None:
    text = (SYSTEMD / "steps/host.sh").read_text()
    given = {name: int(value) for name, value in re.findall(r"([a-z_]+\.[a-z_.]+)=(\d+)", text)}
    judged = ast.walk(ast.parse(Path(doctor_host.__file__).read_text()))
    wanted = {
        getattr(doctor_host, call.args[1].id): call.args[2].value
        for call in judged
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "_at_least"
        and isinstance(call.args[1], ast.Name)
        and isinstance(call.args[2], ast.Constant)
    }
    assert given == wanted


@as_root
def test_a_wheel_is_installed_without_the_network_and_with_every_hash(host: MakeHost) -> None:
    ours = host("debian-13")
    ours.have_docker()
    wheel = ours.write("butai-0.2.0-py3-none-any.whl", "wheel")
    (ours.root / "wheels").mkdir()
    done = ours.install("--wheel", str(wheel), "--wheelhouse", str(ours.root / "wheels"))
    assert done.returncode == 0, done.stderr
    requirements, itself = (ours.root / "pip.log").read_text().splitlines()
    assert "--no-index" in requirements
    assert f"--require-hashes -r {ROOT}/requirements/runtime.txt" in requirements
    assert itself.endswith(f"--no-deps {wheel}")
    assert (ours.root / "opt/butai/current").readlink().name.startswith("0.2.0-")


def upgraded(ours: Host, text: str) -> subprocess.CompletedProcess[str]:
    return ours.install("--wheel", str(ours.write("butai-0.2.0-py3-none-any.whl", text)))


@as_root
def test_an_upgrade_backs_the_database_up_and_keeps_settings_and_the_release_before(host: MakeHost) -> None:
    ours = host("debian-13")
    ours.have_docker()
    assert ours.install().returncode == 0
    before = (ours.root / "opt/butai/current").readlink()
    ours.write("etc/butai/config.toml", "mine")
    ours.write("var/lib/butai/butai.db", "pins")
    done = upgraded(ours, "new")
    assert done.returncode == 0, done.stderr
    [backup] = (ours.root / "var/backups/butai").iterdir()
    assert backup.read_text() == "pins"
    assert (ours.root / "opt/butai" / before).is_dir()
    assert (ours.root / "opt/butai/current").readlink() != before
    assert (ours.root / "etc/butai/config.toml").read_text() == "mine"


@as_root
@pytest.mark.parametrize(
    ("trouble", "says"),
    [("refuse", "refuses the settings, so the one from before goes on"), ("no-index", "could not be installed")],
)
def test_an_upgrade_that_would_not_work_leaves_the_version_before_in_force(
    host: MakeHost, trouble: str, says: str
) -> None:
    ours = host("debian-13")
    ours.have_docker()
    assert ours.install().returncode == 0
    before = (ours.root / "opt/butai/current").readlink()
    ours.write(trouble, "")
    done = upgraded(ours, "new")
    assert done.returncode == 1
    assert says in done.stderr
    assert (ours.root / "opt/butai/current").readlink() == before
    assert [one.name for one in (ours.root / "opt/butai/releases").iterdir()] == [before.name]


@as_root
def test_a_conflict_in_dockers_settings_ends_it_before_anything_is_changed(host: MakeHost) -> None:
    ours = host("debian-13")
    ours.have_docker()
    ours.write("etc/docker/daemon.json", '{"live-restore": false}')
    before = ours.files()
    done = ours.install()
    assert done.returncode == 1
    assert '"live-restore" is not true' in done.stderr
    assert ours.files() == before


@as_root
def test_what_is_uninstalled_keeps_its_state_unless_it_is_purged(host: MakeHost) -> None:
    ours = host("debian-13")
    ours.have_docker()
    assert ours.install().returncode == 0
    ours.write("var/lib/butai/butai.db", "")
    assert ours.install("--uninstall").returncode == 0
    assert not (ours.root / "opt/butai").exists()
    assert not (ours.root / "etc/systemd/system/butai.service").exists()
    assert not (ours.root / "etc/systemd/system/multi-user.target.wants/butai.service").is_symlink()
    assert not list((ours.root / "etc/systemd/system").rglob("butai-wall.service"))
    assert (ours.root / "var/lib/butai/butai.db").exists()
    assert (ours.root / "etc/butai/config.toml").exists()
    asked = ours.install("--uninstall", "--purge")
    assert (asked.returncode, "say --yes" in asked.stderr) == (1, True)
    assert ours.install("--uninstall", "--purge", "--yes").returncode == 0
    assert not (ours.root / "var/lib/butai").exists()
    assert not (ours.root / "etc/butai").exists()
    assert "butai" not in (ours.root / "etc/passwd").read_text()
    assert (ours.root / "etc/docker/daemon.json").exists()


@as_root
def test_a_version_that_changes_no_unit_goes_back_to_none_of_an_upgrade_before_it(host: MakeHost) -> None:
    ours = host("debian-13")
    ours.have_docker()
    assert ours.install().returncode == 0
    ours.write("etc/systemd/system/butai.service", "of the first version")
    assert upgraded(ours, "second").returncode == 0
    before = ours.root / "opt/butai/butai.service.before"
    assert before.read_text() == "of the first version"
    assert upgraded(ours, "third").returncode == 0
    assert not before.exists()


_STALE = """
is_active() { :; }
systemctl() { echo "$pid"; }
pid=$2 unit_changed=''
. "$1"
is_stale 0.1.0-old || echo "that one runs"
is_stale 0.2.0-new && echo "not $running"
unit_changed=yes
is_stale 0.1.0-old && echo "by the unit from before"
"""


def test_an_agent_that_runs_as_the_version_or_the_unit_from_before_is_noticed() -> None:
    with subprocess.Popen(["/opt/butai/releases/0.1.0-old/bin/python", "60"], executable="/bin/sleep") as agent:
        argv = ["sh", "-c", _STALE, "sh", SYSTEMD / "steps/agent.sh", str(agent.pid)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        agent.kill()
    assert done.stdout.splitlines() == ["that one runs", "not 0.1.0-old", "by the unit from before"], done.stderr


_GOING_BACK = """
set -eu
SOURCE=/nowhere; PYTHON=python3; R=$1; db=$R/butai.db; copy=$R/copy.db
say() { echo "$*"; }
fail() { echo "$*" >&2; exit 1; }
systemctl() { echo "systemctl $*"; }
install() { cp "${7:-$3}" "${8:-$4}"; }
. "$2"
go_back 0.1.0-old
"""


def test_a_version_that_does_not_start_is_taken_back_with_the_database_from_before(tmp_path: Path) -> None:
    for release in ("0.1.0-old", "0.2.0-new"):
        (tmp_path / "opt/butai/releases" / release).mkdir(parents=True)
    (tmp_path / "opt/butai/current").symlink_to("releases/0.2.0-new")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "opt/butai/butai.service.before").write_text("old unit")
    (tmp_path / "butai.db").write_text("of the new version")
    (tmp_path / "butai.db-wal").write_text("of the new version")
    (tmp_path / "copy.db").write_text("from before")
    argv = ["sh", "-c", _GOING_BACK, "sh", tmp_path, SYSTEMD / "steps/agent.sh"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, "runs again" in done.stderr) == (1, True), done.stderr
    assert (tmp_path / "opt/butai/current").readlink().name == "0.1.0-old"
    assert (tmp_path / "etc/systemd/system/butai.service").read_text() == "old unit"
    assert (tmp_path / "butai.db").read_text() == "from before"
    assert not (tmp_path / "butai.db-wal").exists()
    steps = [line for line in done.stdout.splitlines() if line.startswith("systemctl")]
    assert steps == ["systemctl stop butai", "systemctl daemon-reload", "systemctl start butai"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_it_is_sound_shell(script: Path) -> None:
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    linter = shutil.which("shellcheck")
    if linter:
        done = subprocess.run([linter, script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_installer_uses_of_the_agent_what_there_is() -> None:
    text = (SYSTEMD / "steps/agent.sh").read_text()
    assert "from agent.cli.session import state_dir_of\n" in text
    assert callable(state_dir_of)
    assert '/bin/butai" backup --config ' in text
    assert "--config" in {option for parameter in butai.commands["backup"].params for option in parameter.opts}
    assert '/bin/butai" check-config "' in text
    assert [parameter.name for parameter in butai.commands["check-config"].params] == ["path"]
