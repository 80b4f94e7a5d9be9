"""Settings: what a good file becomes, and what a bad one is told, all of it at once."""

from __future__ import annotations

import os
import socket
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from agent import config
from agent.errors import ConfigError, Problem
from agent.model.names import Slug

GOOD = """
domain = "staging.example.com"
[projects.shop]
remote = "git@github.com:example/shop.git"
"""
ROLE = "role = 'arn:aws:iam::123456789012:role/shop'\nregion = 'eu-west-1'\n"
SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"


def parse(text: str, base_dir: Path = Path("/nowhere")) -> config.Settings:
    return config.parse(text, base_dir)


def problems(text: str, base_dir: Path = Path("/nowhere")) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, base_dir)
    return caught.value.problems


def lines(text: str, base_dir: Path = Path("/nowhere")) -> list[str]:
    return [str(problem) for problem in problems(text, base_dir)]


def with_top(line: str) -> str:
    return f"{line}\n{GOOD}"


def with_project(line: str) -> str:
    return f"{GOOD}{line}\n"


def secret_file(folder: Path, value: str = SIGNING, *, mode: int = 0o600, name: str = "secret") -> Path:
    path = folder / name
    path.write_text(f"{value}\n")
    path.chmod(mode)
    return path


# --- what a good file becomes


def test_a_short_file_is_enough() -> None:
    settings = parse(GOOD)
    assert (settings.domain, settings.instance, settings.state_dir) == (
        "staging.example.com",
        "butai",
        Path("/var/lib/butai"),
    )
    assert (settings.slack, settings.github, settings.server.token) == (None, None, None)
    assert settings.projects["shop"].name == "shop"
    assert settings.projects["shop"].hostname == "{branch}"


def test_every_kind_of_value_is_taken_up(tmp_path: Path) -> None:
    secret_file(tmp_path)
    settings = parse(
        f"""
        domain = "localhost"
        state_dir = "state"
        [slack]
        signing_secret_file = "secret"
        team = "T1"
        users = ["U1", "W2"]
        [forges.github]
        webhook_secret_file = "{tmp_path}/secret"
        [limits]
        cpus = 1
        poll_interval_s = 0.5
        [projects.shop]
        remote = "https://example.com/shop.git"
        environment = {{ APP_MODE = "staging" }}
        auto_deploy = ["feature/*", "!feature/wip-*"]
        [projects.shop.allow]
        capabilities = ["SYS_PTRACE"]
        """,
        tmp_path,
    )
    assert settings.state_dir == tmp_path / "state"
    assert settings.slack is not None
    assert settings.slack.signing_secret.reveal() == SIGNING
    assert settings.slack.users == ("U1", "W2")
    assert settings.github is not None
    assert settings.github.webhook_secret.path == tmp_path / "secret"
    assert (settings.limits.cpus, settings.limits.poll_interval_s) == (1.0, 0.5)
    assert settings.projects["shop"].environment == {"APP_MODE": "staging"}
    assert settings.projects["shop"].allow.capabilities == ("SYS_PTRACE",)


def test_settings_never_change() -> None:
    settings = parse(GOOD)
    with pytest.raises(FrozenInstanceError):
        settings.domain = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.projects["x"] = settings.projects["shop"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("traefik", "url"),
    [
        ("", "http://main.staging.example.com"),
        ("http_port = 8080", "http://main.staging.example.com:8080"),
        ('certificate_file = "c"\nkey_file = "secret"', "https://main.staging.example.com"),
        ('certificate_file = "c"\nkey_file = "secret"\nhttps_port = 8443', "https://main.staging.example.com:8443"),
        ('acme = { email = "ops@example.com", zone = "Z1" }', "https://main.staging.example.com"),
        ('managed = false\ndirectory = "d"\nagent_url = "http://x"\nhttps = true', "https://main.staging.example.com"),
    ],
)
def test_urls_are_as_short_as_a_browser_allows(tmp_path: Path, traefik: str, url: str) -> None:
    secret_file(tmp_path)
    (tmp_path / "c").write_text("certificate")
    settings = parse(f"{GOOD}[traefik]\n{traefik}", tmp_path)
    assert settings.url(settings.hostname(Slug("main"))) == url


def test_further_services_have_names_of_their_own() -> None:
    settings = parse(GOOD)
    assert settings.hostname(Slug("main"), "api") == "main--api.staging.example.com"


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ('entry_service = "web"', True),
        ('environment = { A = "b" }', True),
        ('profiles = ["worker"]', True),
        ('[projects.shop.allow]\nvolumes = ["shared"]', True),
        ('[limits]\nmemory = "2g"', True),
        ("[limits]\nstart_timeout_s = 300", True),
        ("[traefik]\nhttp_port = 8080", True),
        (ROLE, True),
        ('auto_deploy = ["*"]', False),
        ("[limits]\npoll_interval_s = 30", False),
        ('[limits]\nmemory = "1g"\nstart_timeout_s = 120', False),
        ('[projects.blog]\nremote = "/srv/blog.git"', False),
    ],
)
def test_the_fingerprint_changes_with_what_a_release_is_made_of(change: str, changes: bool) -> None:
    assert (parse(GOOD).fingerprint("shop") != parse(with_project(change)).fingerprint("shop")) is changes


# --- what a bad file is told

TYPOS = {
    with_top('intance = "x"'): "intance: there is no such setting (did you mean `instance`?)",
    with_project("remot = 1"): "projects.shop.remot: there is no such setting (did you mean `remote`?)",
    f"{GOOD}[projcts.blog]": "projcts: there is no such setting (did you mean `projects`?)",
    f"{GOOD}[traefik]\nhttp-port = 80": "traefik.http-port: there is no such setting (did you mean `http_port`?)",
    f"{GOOD}[projects.shop.allow]\nbind_mount = []": (
        "projects.shop.allow.bind_mount: there is no such setting (did you mean `bind_mounts`?)"
    ),
    with_top('name = "x"'): (
        "name: there is no such setting (there are domain, instance, state_dir, server, docker, firewall, traefik, dns,"
        " slack, forges, limits, care, projects)"
    ),
    f"{GOOD}[forges.gitlab]": "forges.gitlab: there is no such setting (did you mean `github`?)",
}
TYPES = {
    f"{GOOD}[traefik]\nmanaged = 'false'": "traefik.managed: must be true or false, not text (without quotes)",
    f"{GOOD}[traefik]\nmanaged = 0": "traefik.managed: must be true or false, not 0",
    f"{GOOD}[server]\nport = true": "server.port: must be a whole number, not true",
    f"{GOOD}[server]\nport = 80.5": "server.port: must be a whole number, not 80.5",
    f"{GOOD}[server]\nport = '80'": "server.port: must be a whole number, not text (without quotes)",
    f"{GOOD}[limits]\ncpus = true": "limits.cpus: must be a number, not true",
    with_top("state_dir = 1"): "state_dir: must be text in quotes, not 1 (in quotes)",
    with_top("instance = 2026-01-01"): "instance: must be text in quotes, not a date or time",
    with_top("server = 1"): "server: must be a table, not 1",
    with_top("limits = []"): "limits: must be a table, not a list",
    with_project("auto_deploy = '*'"): 'projects.shop.auto_deploy: must be a list, not text (in brackets: ["…"])',
    with_project("profiles = ['a', 1]"): "projects.shop.profiles[2]: must be text in quotes, not 1 (in quotes)",
    with_project("environment = { A = 1 }"): "projects.shop.environment.A: must be text in quotes, not 1 (in quotes)",
    with_project("environment = ['A=1']"): "projects.shop.environment: must be a table, not a list",
    'domain = "x.y"\nprojects = []': "projects: must be a table, not a list",
    'domain = "x.y"\n[[projects.shop]]\nremote = "/x"': "projects.shop: must be a table, not a list",
}
VALUES = {
    f"{GOOD}[limits]\nworkers = -1": "limits.workers: must be between 1 and 256",
    f"{GOOD}[limits]\ncpus = nan": "limits.cpus: must be between 0.01 and 1024",
    f"{GOOD}[limits]\ncpus = inf": "limits.cpus: must be between 0.01 and 1024",
    f"{GOOD}[limits]\nmemory = '1 GB'": (
        'limits.memory: is not a size from 4m up (Write a whole number and a unit: "512m" or "2g".)'
    ),
    f"{GOOD}[server]\nport = 65536": "server.port: must be between 1 and 65535",
    f"{GOOD}[server]\nlisten = 'localhost'": "server.listen: is not an IP address such as 127.0.0.1",
    f"{GOOD}[docker]\naddress_pool = '10.200.1.0/16'": (
        'docker.address_pool: is not the first address of a network (Did you mean "10.200.0.0/16"?)'
    ),
    f"{GOOD}[docker]\naddress_pool = 'fd00::/48'": (
        "docker.address_pool: is not an IPv4 network such as 10.200.0.0/16"
    ),
    f"{GOOD}[docker]\nhost = 'ssh://x'": "docker.host: is not an engine's address such as unix:///var/run/docker.sock",
    f"{GOOD}[dns]\nzone = '/hostedzone/Z1'": (
        "dns.zone: is not the id of a hosted zone such as Z0123456789ABCDEFGHIJ"
        " (`aws route53 list-hosted-zones` shows them; leave /hostedzone/ out.)"
    ),
    with_project(ROLE.replace("role/", "user/")): (
        "projects.shop.role: is not the ARN of a role such as arn:aws:iam::123456789012:role/shop-staging"
        " (`aws iam list-roles` shows them.)"
    ),
    with_project(
        f"{ROLE}".replace("eu-west-1", "eu-west-1a")
    ): "projects.shop.region: is not a region such as eu-west-1",
    f"{GOOD}[traefik.acme]\nemail = 'ops'\nzone = 'Z1'": (
        "traefik.acme.email: is not an e-mail address such as ops@example.com"
    ),
    f"{GOOD}[traefik.acme]\nemail = 'ops@example.com'\nzone = 'Z1'\nca = 'http://ca.example.com/dir'": (
        'traefik.acme.ca: is neither "production" nor "staging" nor a URL that starts with https://'
    ),
    f"{GOOD}[traefik.acme]\nzone = 'Z1'": 'traefik.acme.email: is missing (for example email = "ops@example.com")',
    f"{GOOD}[dns.load_balancer]\nname = 'lb.'\nzone = 'Z1'\n[dns]\nzone = 'Z1'": (
        "dns.load_balancer.name: is not a DNS name in lower case"
    ),
    with_top('instance = "my_agent"'): "instance: is not a name of 1 to 12 lower-case letters, digits and hyphens",
    with_top('state_dir = "~/butai"'): (
        'state_dir: must be a path (write it in full: "~" means another folder for each user)'
    ),
    with_top('state_dir = "a\\u0000b"'): "state_dir: holds a control character",
    with_project("hostname = 'x'"): "projects.shop.hostname: must hold {branch}: else all branches would want one name",
    with_project("hostname = '{branch.__class__}'"): (
        "projects.shop.hostname: has an unknown placeholder {branch.__class__} (There are {branch} and {project}.)"
    ),
    with_project("compose_files = ['../x.yaml']"): (
        "projects.shop.compose_files[1]: must be a path inside the repository"
    ),
    with_project("environment = { DOCKER_HOST = 'x' }"): (
        "projects.shop.environment.DOCKER_HOST: is a name that steers Compose, Docker or Butai itself"
        " (Choose another one.)"
    ),
    with_project("profiles = ['a', 'a']"): "projects.shop.profiles[2]: is there twice",
    with_project("entry_port = 80"): "projects.shop.entry_port: needs entry_service (say whose port it is)",
    with_project("[projects.shop.allow]\nregistries = []"): (
        "projects.shop.allow.registries: is empty, which could mean nobody or everybody"
        " (leave the key out for everybody)"
    ),
    with_project("[projects.shop.allow]\nvariables = ['TOKEN']"): (
        "projects.shop.allow.variables: names TOKEN, which is not set (set it in `environment`)"
    ),
    with_project('[projects."Shop!"]\nremote = "/x"'): (
        'projects."Shop!": is not a project\'s name: 1 to 40 lower-case letters, digits and hyphens'
    ),
    "domain = 'x.y'": "projects: there is none (add a section [projects.NAME] with its `remote`)",
    "[projects.a]\nremote = '/x'": 'domain: is missing (for example domain = "staging.example.com")',
    "domain = 'x.y'\n[projects.a]": (
        'projects.a.remote: is missing (for example remote = "git@github.com:example/shop.git")'
    ),
}
ACME = "acme = { email = 'ops@example.com', zone = 'Z1' }"
TOGETHER = {
    f"{GOOD}[docker]\naddress_pool = '10.9.0.0/24'": (
        "docker.address_pool: has room for 1 environments, but limits.environments is 100"
        " (take a larger pool, a larger block_prefix or a lower limit)"
    ),
    f"{GOOD}[traefik]\nhttp_port = 443": "traefik.https_port: is the same as traefik.http_port",
    f"{GOOD}[server]\nlisten = '0.0.0.0'\nport = 80": "server.port: is the same as traefik.http_port",
    f"{GOOD}[traefik]\ndirectory = '/etc/traefik'": (
        "traefik.directory: is used only with managed = false (remove one of the two)"
    ),
    f"{GOOD}[traefik]\nmanaged = false\ndirectory = '/x'": (
        "traefik.agent_url: is missing: with managed = false it is needed"
    ),
    f"{GOOD}[traefik.acme]\nemail = 'ops@example.com'": (
        "traefik.acme.zone: is missing: without a section [dns] it is needed"
        " (the id of the hosted zone in which <domain> is)"
    ),
    f"{GOOD}[traefik.acme]\nemail = 'ops@example.com'\nzone = 'Z1'\nca_file = 'ca.pem'": (
        "traefik.acme.ca_file: is used only with the URL of another authority (remove it)"
    ),
    f"{GOOD}[traefik]\nmanaged = false\ndirectory = '/x'\nagent_url = 'http://x'\n{ACME}": (
        "traefik.acme: is used only with managed = true (give your Traefik a resolver as docs/how-to/certificates.md"
        " shows, and write https = true here)"
    ),
    f"{GOOD}[traefik]\nhttps = true": (
        "traefik.https: is used only with managed = false (a certificate or [traefik.acme] says it)"
    ),
    with_project(ROLE.partition("\n")[0]): (
        'projects.shop.region: is missing: with a role it is needed (the region to work in, such as "eu-west-1")'
    ),
    with_project("region = 'eu-west-1'"): (
        "projects.shop.region: is used only with a role (remove it, or write AWS_REGION into the compose file)"
    ),
    f"{GOOD}{ROLE}[firewall]\nmanage = false": (
        "projects.shop.role: needs firewall.manage: the firewall leads containers to their credentials"
    ),
    f"{GOOD}{ROLE}[server]\nlisten = '127.0.0.1'": (
        "projects.shop.role: needs an agent that containers can be led to, and it listens on 127.0.0.1"
        " (write server.listen: an IPv4 address of this host that is not its loopback)"
    ),
    f"{GOOD}{ROLE}[server]\nlisten = '2001:db8::1'": (
        "projects.shop.role: needs an agent that containers can be led to, and it listens on 2001:db8::1"
        " (write server.listen: an IPv4 address of this host that is not its loopback)"
    ),
    f"{GOOD}[dns]\nzone = 'Z1'\naddresses = ['1.2.3.4', '1.2.3.5']": (
        "dns.addresses: has two addresses of one kind (this host is reached at one of each)"
    ),
    f"{GOOD}[dns]\nzone = 'Z1'\naddresses = ['::1']\nload_balancer = {{ name = 'a.b', zone = 'Z2' }}": (
        "dns.addresses: is not used with dns.load_balancer (remove one of the two)"
    ),
    f"{GOOD}[server]\nsocket = '/{'x' * 107}'": (
        "server.socket: is longer than the 107 bytes that a socket's path may have"
    ),
}


@pytest.mark.parametrize(("text", "expected"), [*TYPOS.items(), *TYPES.items(), *VALUES.items(), *TOGETHER.items()])
def test_a_mistake_is_told_in_one_line_with_its_path_first(text: str, expected: str) -> None:
    assert lines(text) == [expected]


@pytest.mark.parametrize(
    "domain",
    [
        *("*.staging.example.com", "Staging.example.com", "https://staging.example.com", "staging.example.com:80"),
        *("staging example", "-x.y", "x..y", "x.y.", "", "192.168.1.1", "x/y", "x" * 64, "日本.jp", "a_b.c"),
    ],
)
def test_what_is_no_domain_is_refused(domain: str) -> None:
    [line] = lines(GOOD.replace("staging.example.com", domain))
    assert line.startswith("domain: ")


@pytest.mark.parametrize(
    "remote",
    [
        *("https://github.com/a/b.git", "http://10.0.0.1:3000/a/b", "ssh://git@example.com:2222/a/b.git"),
        *("git@github.com:a/b.git", "deploy_1@git-host:~/b.git", "file:///srv/git/b.git", "/srv/git/b.git"),
    ],
)
def test_every_kind_of_remote_is_accepted(remote: str) -> None:
    text = GOOD.replace("git@github.com:example/shop.git", remote)
    assert parse(text).projects["shop"].remote == remote


@pytest.mark.parametrize(
    "remote",
    [
        *("ext::sh -c id", "ext::sh", "fd::3", "--upload-pack=id", "-x", "git://example.com/a", "ftp://x/y", "a/b"),
        *("../b", "file://host/x", "file:x", "ssh://-oProxyCommand=id/x", "ssh://git@-oProxyCommand=id/x", "x"),
        *("ssh://-l@host/x", "git@host:-x", "-u@host:x", "git@-host:x", "https://u:hunter22@example.com/a", "", "~/b"),
        *("https://hunter22@example.com/a", "ssh://git:hunter22@example.com/a"),
        *("https://example.com", "https:///x", "https://example.com/a b", "http://[::1", "https://example.com:99999/a"),
        *("transport::https://example.com/a", "/srv/a\\nb"),
    ],
)
def test_a_remote_that_git_might_run_or_take_as_an_option_is_refused(remote: str) -> None:
    [line] = lines(GOOD.replace("git@github.com:example/shop.git", remote))
    assert line.startswith("projects.shop.remote: ")
    assert "hunter22" not in line


def test_all_problems_come_in_one_report() -> None:
    text = """
    domian = "x"
    instance = "Bad Name"
    [server]
    port = true
    [slack]
    team = "acme"
    [limits]
    ttl = -1
    builds = 0
    [projects.shop]
    remote = "ext::sh -c id"
    environment = { PATH = "x", A = 1 }
    [projects.blog]
    """
    assert [problem.path for problem in problems(text)] == [
        *("domian", "domain", "instance", "server.port", "slack.signing_secret_file", "slack.team"),
        *("limits.ttl", "limits.builds", "projects.shop.remote", "projects.shop.environment.PATH"),
        *("projects.shop.environment.A", "projects.blog.remote"),
    ]


def test_each_problem_is_one_line_and_the_error_has_its_exit_code() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("domain = 1\nx = 2")
    assert caught.value.exit_code == 78
    assert len(caught.value.message.splitlines()) == len(caught.value.problems) == 3


def test_a_typo_in_a_list_of_people_never_opens_access(tmp_path: Path) -> None:
    secret_file(tmp_path)
    slack = f'{GOOD}[slack]\nsigning_secret_file = "secret"\nteam = "T1"\n'
    for line in ('user = ["U1"]', 'Users = ["U1"]', "users = []", 'users = "U1"', 'users = ["anna"]', "users = ['*']"):
        assert len(lines(slack + line, tmp_path)) == 1, line


# --- files


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "domain: is missing"),
        (b"domain = ", "config.toml: is not TOML: "),
        (b"a = 1\na = 2", "config.toml: is not TOML: Cannot overwrite a value"),
        (b"[a]\n[a]", "config.toml: is not TOML: Cannot declare"),
        (b"a = " + b"[" * 100_000, "config.toml: is nested too deeply"),
        (b"a = " + b"9" * 5_000, "config.toml: is not TOML: "),
        (b"a = 1\n\xff\xfe", "config.toml: is not UTF-8 text (line 2)"),
        ("domain = 'x.y'".encode("utf-16"), "config.toml: is not UTF-8 text"),
        (b"a = '\0'", "config.toml: is not TOML: "),
        (b"#" * 2_000_000, "config.toml: is larger than 1 MiB"),
    ],
    ids=["empty", "half", "key twice", "table twice", "nested", "digits", "bytes", "utf-16", "nul", "large"],
)
def test_a_file_that_is_not_settings_at_all_is_told_so(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert expected in caught.value.message
    assert caught.value.exit_code == 78


def test_a_byte_order_mark_is_named_and_hides_no_other_problem(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"\ufeff{GOOD}[limits]\nbuilds = 0")
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    first, second = caught.value.problems
    assert "byte order mark" in first.message
    assert second.path == "limits.builds"


def test_a_missing_file_says_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "config.toml")
    assert "No such file" in caught.value.message
    assert "config.example.toml" in caught.value.message


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "config.toml").write_text(f'state_dir = "../state"\n{GOOD}')
    monkeypatch.chdir(tmp_path)
    assert config.load(Path("etc/config.toml")).state_dir == tmp_path / "etc" / "../state"


# --- secrets


SLACK = f'{GOOD}[slack]\nteam = "T1"\nsigning_secret_file = "secret"\n'


def test_a_secret_never_prints(tmp_path: Path) -> None:
    secret_file(tmp_path)
    settings = parse(SLACK, tmp_path)
    assert SIGNING not in f"{settings!r} {settings.slack} {settings.secrets()}"
    assert [secret.reveal() for secret in settings.secrets()] == [SIGNING]


def test_what_the_name_of_a_variable_calls_a_secret_is_hidden_too(tmp_path: Path) -> None:
    secret_file(tmp_path)
    variables = 'APP_SECRET = "swordfish-1", DB_PASSWORD = "swordfish-2", API_KEY = "short", APP_MODE = "development"'
    text = SLACK.replace("[slack]", f"[projects.shop.environment]\n{variables.replace(', ', chr(10))}\n[slack]")
    assert parse(text, tmp_path).hidden == (SIGNING, "swordfish-1", "swordfish-2")


def test_a_credential_of_systemd_is_found_by_its_name(tmp_path: Path) -> None:
    secret_file(tmp_path, name="slack-signing", mode=0o400)
    (tmp_path / "config.toml").write_text(SLACK.replace('"secret"', '"credential:slack-signing"'))
    settings = config.load(tmp_path / "config.toml", environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.secrets()[0].reveal() == SIGNING
    with pytest.raises(ConfigError) as caught:
        config.load(tmp_path / "config.toml", environ={})
    assert "none were handed over" in caught.value.message
    assert "CREDENTIALS_DIRECTORY=" in caught.value.message


def make_missing(path: Path) -> None:
    path.unlink()


def make_empty(path: Path) -> None:
    path.write_text(" \n")


def make_readable(path: Path) -> None:
    path.chmod(0o604)


def make_writable(path: Path) -> None:
    path.chmod(0o602)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_short(path: Path) -> None:
    path.write_text("abc\n")


def make_long(path: Path) -> None:
    path.write_text("x" * 100_000)


def make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe" * 20)


def make_two_lines(path: Path) -> None:
    path.write_text("first-line\nsecond-line\n")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (make_missing, "does not exist"),
        (make_empty, "is empty"),
        (make_readable, "can be read by other users (Run `chmod 600"),
        (make_writable, "can be read by other users"),
        (make_directory, "is a directory"),
        (make_pipe, "is not a regular file"),
        (make_socket, "cannot be read"),
        (make_short, "is shorter than 8 characters"),
        (make_long, "is larger than 64 KiB"),
        (make_binary, "is not text"),
        (make_two_lines, "holds more than one line"),
    ],
)
def test_a_secret_that_is_none_refuses_to_start(tmp_path: Path, spoil: object, expected: str) -> None:
    spoil(secret_file(tmp_path))  # type: ignore[operator]
    [line] = lines(SLACK, tmp_path)
    assert line.startswith("slack.signing_secret_file: ")
    assert expected in line


def test_a_secret_in_the_settings_themselves_is_refused_and_not_repeated() -> None:
    for line in (f'signing_secret = "{SIGNING}"', f'signing_secret_file = "{SIGNING}"', f'team = "{SIGNING}"'):
        text = f"{GOOD}[slack]\n{line}\n"
        assert all("signing" in told or "team" in told for told in lines(text))
    assert all(SIGNING not in told for told in lines(f'{GOOD}[slack]\nsigning_secret = "{SIGNING}"'))


@pytest.mark.parametrize(("mode", "is_refused"), [(0o600, False), (0o400, False), (0o640, True), (0o644, True)])
def test_a_deploy_key_must_be_as_private_as_ssh_wants_it(tmp_path: Path, mode: int, is_refused: bool) -> None:
    secret_file(tmp_path, "key", mode=mode)
    text = with_project('deploy_key_file = "secret"')
    if is_refused:
        [line] = lines(text, tmp_path)
        assert line.startswith("projects.shop.deploy_key_file: ")
    else:
        assert parse(text, tmp_path).projects["shop"].deploy_key_file == tmp_path / "secret"


def test_a_deploy_key_without_an_ssh_remote_is_a_mistake(tmp_path: Path) -> None:
    secret_file(tmp_path)
    text = with_project('deploy_key_file = "secret"').replace("git@github.com:example/shop.git", "https://x.y/z")
    [line] = lines(text, tmp_path)
    assert "is used only with SSH remotes" in line


def test_a_token_for_a_private_remote_is_a_secret_like_the_others(tmp_path: Path) -> None:
    secret_file(tmp_path)
    text = with_project('token_file = "secret"\nusername = "robot"')
    settings = parse(text.replace("git@github.com:example/shop.git", "https://x.y/z"), tmp_path)
    project = settings.projects["shop"]
    assert project.token is not None
    assert (project.username, project.token.reveal()) == ("robot", SIGNING)
    assert settings.secrets() == (project.token,)
    assert SIGNING not in repr(settings)
    [line] = lines(text, tmp_path)
    assert "is used only with HTTPS remotes" in line


def test_certificate_and_key_come_together_and_exist(tmp_path: Path) -> None:
    secret_file(tmp_path, mode=0o644)
    assert lines(f'{GOOD}[traefik]\ncertificate_file = "none"\nkey_file = "secret"', tmp_path) == [
        f"traefik.certificate_file: the file {tmp_path}/none does not exist (Create it, or correct the path.)",
        f"traefik.key_file: the file {tmp_path}/secret can be read by other users (Run `chmod 600 {tmp_path}/secret`.)",
    ]
    [line] = lines(f'{GOOD}[traefik]\ncertificate_file = "secret"', tmp_path)
    assert line == "traefik.key_file: is missing: certificate and key come together"


def test_certificate_files_and_acme_exclude_each_other(tmp_path: Path) -> None:
    secret_file(tmp_path)
    (tmp_path / "c").write_text("certificate")
    assert lines(f'{GOOD}[traefik]\ncertificate_file = "c"\nkey_file = "secret"\n{ACME}', tmp_path) == [
        "traefik.acme: is not used with traefik.certificate_file (remove one of the two)"
    ]


def test_the_zone_of_the_certificate_is_that_of_dns_unless_it_has_one_of_its_own() -> None:
    acme = "[traefik.acme]\nemail = 'ops@example.com'\n"
    assert parse(GOOD).acme_zone == ""
    assert parse(f"{GOOD}{acme}[dns]\nzone = 'Z1'").acme_zone == "Z1"
    assert parse(f"{GOOD}{acme}zone = 'Z2'\n[dns]\nzone = 'Z1'").acme_zone == "Z2"


def test_a_token_that_strangers_may_guess_at_for_ever_must_be_long(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("correct-horse-battery-staple")
    [line] = lines(f'{GOOD}[server]\ntoken_file = "secret"', tmp_path)
    assert line.startswith(f"server.token_file: the secret in {tmp_path}/secret is shorter than 32 characters")
    assert "openssl rand -hex 32" in line


# --- changes while the agent runs


def test_what_is_read_at_start_keeps_its_value_until_then(tmp_path: Path) -> None:
    secret_file(tmp_path)
    old = parse(GOOD)
    new = parse(
        """
        domain = "new.example.com"
        instance = "other"
        [server]
        port = 9999
        token_file = "secret"
        [limits]
        workers = 5
        [projects.blog]
        remote = "/srv/blog.git"
        """,
        tmp_path,
    )
    kept = config.keep(old, new)
    assert config.needs_restart(old, new) == ("instance", "server.port")
    assert (kept.instance, kept.server.port) == ("butai", 8480)
    assert (kept.domain, kept.limits.workers, list(kept.projects)) == ("new.example.com", 5, ["blog"])
    assert kept.server.token is not None
    assert config.needs_restart(old, kept) == ()


def test_the_files_to_watch_are_the_settings_and_every_secret(tmp_path: Path) -> None:
    secret_file(tmp_path)
    path = tmp_path / "config.toml"
    assert config.files(path, parse(SLACK, tmp_path)) == (path, tmp_path / "secret")


def test_a_new_secret_in_the_same_file_is_another_setting(tmp_path: Path) -> None:
    secret_file(tmp_path)
    old = parse(SLACK, tmp_path)
    assert parse(SLACK, tmp_path) == old
    secret_file(tmp_path, "another-secret")
    assert parse(SLACK, tmp_path) != old


def test_who_only_looks_gets_the_settings_without_opening_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        'domain = "staging.example.com"\n[projects.shop]\nremote = "/srv/shop"\n'
        '[slack]\nteam = "T0123ABCD"\nsigning_secret_file = "credential:slack-signing-secret"\n'
    )
    with pytest.raises(ConfigError, match="names a credential"):
        config.load(path, environ={})
    settings = config.load(path, environ={}, with_secrets=False)
    assert settings.domain == "staging.example.com"
    assert [secret.reveal() for secret in settings.secrets()] == [""]
