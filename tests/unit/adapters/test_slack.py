"""A response_url comes from outside: it is used on Slack's own host and nowhere else."""

import pytest

from agent.adapters.slack import is_allowed

HOSTS = ("hooks.slack.com", "slack.example:8443", "127.0.0.1:9999")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/commands/T1/2/3",
        "https://hooks.slack.com:443/actions/T1/2/3",
        "https://HOOKS.slack.com/commands/x",
        "https://slack.example:8443/x",
        "http://127.0.0.1:9999/x",
        "https://127.0.0.1:9999/x",
    ],
)
def test_slacks_own_urls_are_used(url):
    assert is_allowed(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/commands/x",
        "https://hooks.slack.com:8443/x",
        "https://hooks.slack.com.evil.example/x",
        "https://evil.example/hooks.slack.com",
        "https://hooks.slack.com@evil.example/x",
        "https://evil.example#@hooks.slack.com/x",
        "https://user@hooks.slack.com/x",
        "https://hooks.slack.com\\@evil.example/x",
        "https://hooks.slack.com/x y",
        "https://hooks.slack.com/x\n",
        "https://hooks.slack.com/é",
        "https://hooks.slack.com:99999/x",
        "https://[hooks.slack.com/x",
        "http://slack.example:8443/x",
        "http://127.0.0.1:9998/x",
        "http://localhost:9999/x",
        "ftp://hooks.slack.com/x",
        "file:///etc/passwd",
        "//hooks.slack.com/x",
        "hooks.slack.com/x",
        "",
        "https://hooks.slack.com/" + "x" * 3_000,
    ],
)
def test_any_other_is_not(url):
    assert not is_allowed(url, HOSTS)
