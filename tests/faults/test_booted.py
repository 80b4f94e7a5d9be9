"""The installer and the unit on a host that booted: systemd is its first process, its engine its own, and there is no
network. What systemd promises for the agent is seen here: started, watched, started again, upgraded, removed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.support.booted import DIST, SOURCE, WHEELS, Booted
from tests.support.eventually import eventually
from tests.support.signed import WEBHOOK_SECRET, push
from tests.support.wheels import newer, wheel_of

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OLD, NEW = "0.9.1", "0.9.2"
KILLED = ("butai", "docker")
REMOTE, LENT = "/srv/git/shop.git", "/srv/git/lent.git"
SECRETS = "/etc/butai/secrets"
SETTINGS = f"""
domain = "stage.localhost"
[limits]
poll_interval_s = 1
[care]
min_free = "64m"
min_free_percent = 0
min_free_inodes_percent = 0
[forges.github]
webhook_secret_file = "credential:github-webhook-secret"
[projects.shop]
remote = "{REMOTE}"
[projects.shop.allow]
build_secrets = ["token"]
[projects.lent]
remote = "{LENT}"
role = "arn:aws:iam::123456789012:role/lent"
region = "eu-west-1"
"""
# As `systemctl edit` writes it. The reconcile loop feeds the watchdog every five seconds when nothing is to do.
DROP_IN = f"""
[Service]
LoadCredential=github-webhook-secret:{SECRETS}/github-webhook-secret
WatchdogSec=10
"""
_FILES = """
  files:
    image: busybox:1.37
    command: httpd -f -p 8080 -h /www
    volumes: ['./www:/www:ro']
    ports: ['8080']
x-butai: {entry: web}
"""
SITE = {
    "compose.yaml": "services:\n  web:\n    build: .\n    ports: ['8080']" + _FILES,
    "Dockerfile": 'FROM busybox:1.37\nCOPY www /www\nRUN id\nCMD ["httpd", "-f", "-p", "8080", "-h", "/www"]\n',
    "www/index.html": "one\n",
}
# Secrets of a build are Compose's to hand over, and its program runs for as long as the build.
SLOW = {
    "compose.yaml": "services: {web: {build: {context: ., secrets: [token]}, ports: ['8080']}}\n"
    "secrets: {token: {file: ./token}}\n",
    "token": "t\n",
    "Dockerfile": "FROM busybox:1.37\nRUN --mount=type=secret,id=token sleep 3\nCMD httpd -f -p 8080 -h /bin\n",
}
# As Amazon's libraries begin, in the words of busybox.
TOKEN = r"""
printf 'PUT /latest/api/token HTTP/1.0\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n' |
timeout 10 nc 169.254.169.254 80 | head -n 1
"""
# As somebody on the host asks: prints status and body.
ASK = """
import json, sys, urllib.request
host, path, body, headers = json.load(sys.stdin)
asked = urllib.request.Request("http://127.0.0.1" + path, body.encode() or None, {"Host": host, **headers})
try:
    answer = urllib.request.urlopen(asked, timeout=15)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, answer.read().decode()]))
"""


@dataclass(frozen=True)
class Installed:
    """A host on which the agent was installed, given settings and started; and what the installer said."""

    host: Booted
    checked: list[str]
    said: list[str]
    again: list[str]

    def visit(self, name: str, path: str = "/", body: str = "", headers: dict[str, str] | None = None) -> list[object]:
        asked = json.dumps([f"{name}.stage.localhost", path, body, headers or {}])
        return list(json.loads(self.host.said("python3", "-c", ASK, text=asked)))

    def shows(self, name: str, page: str) -> None:
        eventually(lambda: self.visit(name) == [200, page], 40, pause_s=0.5)

    def push(self, branch: str, files: dict[str, str]) -> None:
        commit(self.host, branch, files)

    def agent(self, name: str) -> str:
        return self.host.property("butai", name)


def commit(host: Booted, branch: str, files: dict[str, str]) -> None:
    git = ["git", "-C", REMOTE, "-c", "user.name=Anna", "-c", "user.email=anna@example.com"]
    host.said(*git, "switch", "--quiet", "--force-create", branch)
    for name, text in files.items():
        host.write(f"{REMOTE}/{name}", text)
    host.said(*git, "add", "--all")
    host.said(*git, "commit", "--quiet", "--message=Change something")


def install(host: Booted, version: str, *options: str) -> list[str]:
    argv = [f"{SOURCE}/systemd/install.sh", "--docker", "none", "--wheelhouse", WHEELS, *options]
    return host.said(*argv, "--wheel", f"{DIST}/butai-{version}-py3-none-any.whl").splitlines()


@pytest.fixture(scope="module", name="installed")
def installed_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    wheels = tmp_path_factory.mktemp("dist")
    with ThreadPoolExecutor() as pool, contextlib.ExitStack() as stack:
        building = pool.submit(wheel_of, wheels, OLD)
        host = stack.enter_context(Booted(wheels))
        loading = pool.submit(host.load, "busybox:1.37", "traefik:v3.7.15")
        newer(building.result(), NEW)
        checked = install(host, OLD, "--check")
        said = install(host, OLD)
        again = install(host, OLD)
        host.said("git", "init", "--quiet", REMOTE)
        commit(host, "main", SITE)
        host.said("git", "clone", "--quiet", REMOTE, LENT)
        host.said("git", "-C", LENT, "branch", "--move", "main", "lent")
        host.write("/etc/butai/config.toml", SETTINGS)
        host.write(f"{SECRETS}/github-webhook-secret", WEBHOOK_SECRET, mode="0600")
        host.write("/etc/systemd/system/butai.service.d/override.conf", DROP_IN)
        host.said("systemctl", "daemon-reload")
        loading.result()
        host.said("systemctl", "start", "butai")
        yield Installed(host, checked, said, again)


def test_a_check_names_each_step_of_the_run_and_a_run_after_it_finds_nothing_to_do(installed: Installed) -> None:
    steps = [line.removeprefix("would ").removeprefix("add to ") for line in installed.checked]
    *said, _then = installed.said
    assert said == steps
    assert any("systemctl reload docker" in line for line in said)
    assert installed.again[0] == "nothing to do"


def test_a_secret_that_only_root_may_read_reaches_the_agent(installed: Installed) -> None:
    body, headers = push(REMOTE, "main")
    text = body.decode()
    eventually(lambda: installed.visit("butai", "/hooks/github", text, headers)[0] == 202, 30, pause_s=0.5)
    headers["X-Hub-Signature-256"] = "sha256=" + "0" * 64
    assert installed.visit("butai", "/hooks/github", text, headers)[0] == 401


def test_nothing_that_a_deployment_needs_is_held_back_by_the_unit(installed: Installed) -> None:
    """git, compose, builds, bind mounts, routes, swaps that wait for who is connected, rules in the firewall."""
    installed.host.said("butai", "deploy", "main", "--project", "shop")
    assert [installed.visit(name) for name in ("main", "main--files")] == [[200, "one\n"]] * 2
    installed.push("main", {"www/index.html": "two\n"})
    installed.shows("main", "two\n")
    installed.shows("main--files", "two\n")
    assert "-N wall-butai-forward" in installed.host.said("iptables", "-S")
    complaints = installed.host.journal().lower()
    assert [word for word in ("denied", "not permitted", "read-only", "traceback") if word in complaints] == []


def test_a_container_finds_the_agent_where_amazon_has_its_metadata_service_if_its_project_has_a_role(
    installed: Installed,
) -> None:
    """Nobody gives the role out here: that containers are let through and known by their address is what is seen."""
    said = {}
    for branch, project in (("main", "shop"), ("lent", "lent")):
        installed.host.said("butai", "deploy", branch, "--project", project)
        said[branch] = installed.host.said("butai", "exec", branch, "files", "--", "sh", "-c", TOKEN)
    assert (said["lent"].split()[1:2], said["main"].split()[1:2]) == (["200"], ["403"])


def test_systemd_has_started_the_agent_once_it_serves_and_shows_what_its_doctor_found(installed: Installed) -> None:
    assert [installed.agent(name) for name in ("Type", "ActiveState", "SubState")] == ["notify", "active", "running"]
    eventually(lambda: installed.agent("StatusText").startswith("doctor: "), 60, pause_s=1)
    assert 'Status: "doctor: ' in installed.host.said("systemctl", "status", "--no-pager", "butai")


def test_a_build_that_a_restart_of_the_agent_cut_off_is_done_again_and_not_called_broken(installed: Installed) -> None:
    installed.push("slow", SLOW)
    installed.host.said("butai", "deploy", "slow", "--project", "shop", "--detach")
    wait = "until pgrep --full 'docker-compose.* build' >/dev/null; do sleep 0.05; done"
    installed.host.said("timeout", "60", "sh", "-c", f"{wait}; systemctl restart butai")
    eventually(lambda: summary(installed, "slow").startswith(("ready", "failed")), 60, pause_s=1)
    assert summary(installed, "slow") == "ready"


def summary(installed: Installed, branch: str) -> str:
    listed = json.loads(installed.host.said("butai", "list", "--json"))["environments"]
    [found] = [one["summary"] for one in listed if one["environment"]["branch"] == branch]
    return str(found)


def test_an_agent_that_hangs_is_started_again(installed: Installed) -> None:
    before = installed.agent("MainPID")
    installed.host.said("kill", "-STOP", before)
    eventually(lambda: installed.agent("MainPID") not in {"0", before}, 60, pause_s=1)
    eventually(lambda: installed.agent("ActiveState") == "active", 60, pause_s=0.5)
    assert installed.agent("NRestarts") != "0"
    assert "Watchdog timeout" in installed.host.journal()


def test_an_agent_and_an_engine_that_were_killed_have_everything_on_stage_again(installed: Installed) -> None:
    places = ("main", "main--files", "lent", "slow")
    before, processes = [installed.visit(name) for name in places], {each: pid(installed, each) for each in KILLED}
    installed.host.said("systemctl", "kill", "--kill-whom=main", "--signal=KILL", *KILLED)
    eventually(lambda: all(pid(installed, each) not in {"0", old} for each, old in processes.items()), 60, pause_s=0.5)
    eventually(lambda: [installed.visit(name) for name in places] == before, 90, pause_s=1)
    assert {summary(installed, branch) for branch in ("main", "lent", "slow")} == {"ready"}
    installed.push("slow", {**SITE, "www/index.html": "three\n"})
    installed.shows("slow", "three\n")


def pid(installed: Installed, unit: str) -> str:
    return installed.host.property(unit, "MainPID")


def test_an_upgrade_keeps_what_was_known_and_a_copy_of_the_database_from_before(installed: Installed) -> None:
    said = install(installed.host, NEW)
    assert "restart the agent" in said
    running = installed.host.said("readlink", "/opt/butai/current")
    assert running.startswith(f"releases/{NEW}-")
    command = installed.host.said("cat", f"/proc/{installed.agent('MainPID')}/cmdline")
    assert f"/opt/butai/{running.strip()}/bin/python" in command
    [copy] = installed.host.said("ls", "/var/backups/butai").split()
    assert f"back up the database to /var/backups/butai/{copy}" in said
    assert summary(installed, "main") == "ready"


def test_what_is_removed_leaves_settings_state_and_everything_on_stage(installed: Installed) -> None:
    """The last one: after it there is no agent."""
    before = installed.visit("main")
    installed.host.said(f"{SOURCE}/systemd/install.sh", "--uninstall")
    assert installed.agent("LoadState") == "not-found"
    assert installed.visit("main") == before
    installed.host.said(
        "test", "-e", "/etc/butai/config.toml", "-a", "-e", "/var/lib/butai/butai.db", "-a", "!", "-e", "/opt/butai"
    )
