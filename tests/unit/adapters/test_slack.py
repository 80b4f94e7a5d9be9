"""A response_url comes from outside: it is used on Slack's own host and nowhere else. And whose the bot token is."""

from pathlib import Path

import pytest

from agent import config
from agent.adapters.slack import Slack, SlackRefused, is_allowed
from agent.errors import OutsideError
from tests.support.slackd import TOKEN, Slackd

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


def slack_with(token: str, api_url: str, directory: Path) -> Slack:
    (directory / "token").touch(0o600)
    (directory / "token").write_text(token)
    text = f"""
        domain = "staging.example.com"
        projects.shop.remote = "/srv/shop"
        slack = {{ team = "T0TEAM", signing_secret_file = "token", bot_token_file = "token", api_url = "{api_url}" }}
    """
    settings = config.parse(text, directory)
    return Slack(lambda: settings)


def test_a_bot_token_is_of_a_workspace_or_is_not_taken(tmp_path):
    with Slackd() as slackd:
        assert slack_with(TOKEN, slackd.api_url, tmp_path).verify() == "T0TEAM"
        with pytest.raises(SlackRefused, match="invalid_auth"):
            slack_with("xoxb-of-yesterday", slackd.api_url, tmp_path).verify()
    with pytest.raises(OutsideError):
        slack_with(TOKEN, slackd.api_url, tmp_path).verify()
