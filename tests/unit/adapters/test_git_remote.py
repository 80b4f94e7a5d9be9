"""What a remote's URL means, what git gets to see of it, and what its complaints mean for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters.git.remote import Remote, branch_is_missing
from agent.config import Secret

KNOWN_HOSTS = Path("/var/lib/butai/git/known_hosts")
# What OpenSSH 9.2 writes, in full.
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@\r
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\r
Add correct host key in {0} to get rid of this message.\r
Offending ED25519 key in {0}:3\r
  remove with:\r
  ssh-keygen -f "{0}" -R "github.com"\r
Host key for github.com has changed and you have requested strict checking.\r
Host key verification failed.\r
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""


def remote(url: str, key: Path | None = None, *, username: str = "x-access-token", token: str = "") -> Remote:
    secret = Secret(token, Path("/etc/butai/secrets/shop")) if token else None
    return Remote("shop", url, KNOWN_HOSTS, deploy_key=key, username=username, token=secret)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://github.com/acme/shop.git", "github.com"),
        ("https://git.example.com:8443/shop.git", "git.example.com"),
        ("ssh://git@git.example.com:2222/acme/shop.git", "git.example.com"),
        ("git@github.com:acme/shop.git", "github.com"),
        ("github.com:acme/shop.git", "github.com"),
        ("file:///srv/git/shop.git", "/srv/git/shop.git"),
        ("/srv/git/a:b.git", "/srv/git/a:b.git"),
    ],
)
def test_the_host_is_what_a_person_must_look_at(url: str, host: str) -> None:
    assert remote(url).host == host


@pytest.mark.parametrize(
    ("username", "token", "header"),
    [("robot", "s@cret", "cm9ib3Q6c0BjcmV0"), ("x-access-token", "ghs_1:2", "eC1hY2Nlc3MtdG9rZW46Z2hzXzE6Mg==")],
)
def test_a_token_becomes_a_header_for_that_host_alone(username: str, token: str, header: str) -> None:
    text = remote("https://git.example.com:8443/shop.git", username=username, token=token).configuration(low_speed_s=30)
    assert f'[http "https://git.example.com:8443"]\n\textraHeader = "Authorization: Basic {header}"' in text
    assert 'url = "https://git.example.com:8443/shop.git"' in text


@pytest.mark.parametrize("url", ["https://git.example.com/shop.git", "git@git.example.com:shop.git", "/srv/shop.git"])
def test_without_a_token_there_is_no_header(url: str) -> None:
    text = remote(url).configuration(low_speed_s=30)
    assert "Authorization" not in text
    assert f'url = "{url}"' in text


def test_only_a_local_remote_may_belong_to_somebody_else() -> None:
    assert 'directory = "/srv/shop"' in remote("file:///srv/shop").configuration(low_speed_s=30)
    assert "[safe]" not in remote("git@git.example.com:shop.git").configuration(low_speed_s=30)


def test_a_value_cannot_leave_its_quotes() -> None:
    text = remote('/srv/a"\n[core]\n\tsshCommand = touch x\\').configuration(low_speed_s=30)
    assert "\n\tsshCommand" not in text
    assert '\\"\\n[core]' in text


def test_ssh_is_told_everything_and_asks_nothing() -> None:
    command = remote("git@h:x", Path("/etc/keys/my key")).ssh_command()
    assert command.startswith("ssh -F /dev/null -oBatchMode=yes -oConnectTimeout=10 ")
    assert command.endswith(
        "-oUserKnownHostsFile=/var/lib/butai/git/known_hosts -oIdentitiesOnly=yes -i '/etc/keys/my key'"
    )


@pytest.mark.parametrize(
    ("complaint", "code"),
    [
        ("fatal: Authentication failed for 'https://git.example.com/shop.git/'", "git-refused"),
        ("fatal: could not read Username for 'https://git.example.com': terminal prompts disabled", "git-refused"),
        ("remote: Repository not found.\nfatal: repository 'https://git.example.com/x/' not found", "git-refused"),
        ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", "git-refused"),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "git-refused"),
        ("Host key verification failed.\r\nfatal: Could not read from remote repository.", "git-host-key"),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 403", "git-refused"),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", "git-unreachable"),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 502", "git-unreachable"),
        ("fatal: the remote end hung up unexpectedly", "git-unreachable"),
        ("ssh: connect to host h port 22: Connection refused", "git-unreachable"),
        ("", "git-unreachable"),
    ],
)
def test_who_must_act_is_read_from_the_complaint(complaint: str, code: str) -> None:
    assert remote("https://git.example.com/shop.git").failure(complaint).code == code


@pytest.mark.parametrize(
    ("url", "file", "name"),
    [
        ("git@github.com:acme/shop.git", KNOWN_HOSTS, "github.com"),
        ("ssh://git@git.example.com:2222/shop.git", KNOWN_HOSTS, "'[git.example.com]:2222'"),
        ("ssh://git@git.example.com:22/shop.git", Path("/etc/ssh/ssh_known_hosts"), "git.example.com"),
    ],
)
def test_another_host_key_is_told_as_itself_with_the_file_and_the_command(url: str, file: Path, name: str) -> None:
    changed = remote(url)
    error = changed.failure(CHANGED.format(file))
    assert error.message == (
        f"Nothing of shop is read: {changed.host} shows another SSH host key than the one in {file}."
    )
    assert error.hint == (
        f"Compare it with what {changed.host} publishes. If it is right, run as the owner of that file"
        f" (`runuser -u USER --`): `ssh-keygen -R {name} -f {file}`."
    )
    assert error.code == "git-host-key"


def test_without_the_name_of_a_file_it_is_the_agents_own() -> None:
    error = remote("git@h:x").failure("Host key verification failed.\r\nfatal: Could not read from remote repository.")
    assert str(KNOWN_HOSTS) in error.message


def test_no_message_holds_a_secret() -> None:
    private = remote("https://h/shop.git", username="robot", token="t@ken")
    error = private.failure(
        "Receiving objects: 3%\rfatal: unable to access 'https://robot:t%40ken@h/shop.git': t@ken is wrong"
    )
    assert "@ken" not in f"{error} {private!r}"
    assert error.message == (
        "Reading shop from h failed: fatal: unable to access 'https://***@h/shop.git': *** is wrong"
    )


@pytest.mark.parametrize(
    ("complaint", "missing"),
    [
        ("fatal: couldn't find remote ref refs/heads/nope", True),
        ("remote: Counting objects: 1\rfatal: couldn't find remote ref refs/heads/nope\n", True),
        ("remote: fatal: couldn't find remote ref refs/heads/main\nfatal: early EOF", False),
        ("fatal: unable to access 'http://h/couldn't find remote ref'", False),
    ],
)
def test_only_git_itself_can_say_that_a_branch_is_missing(complaint: str, missing: bool) -> None:
    assert branch_is_missing(complaint) is missing
