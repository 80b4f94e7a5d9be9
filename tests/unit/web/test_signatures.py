"""Only Slack and the forge can sign; whoever cannot gets a 401 and nothing else."""

from datetime import UTC, datetime

import pytest

from agent.errors import RequestError
from agent.web.signatures import check_github, check_slack
from tests.support.signed import github_headers, slack_headers

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
BODY = b"command=%2Fbutai&text=deploy+main"
SECRET = "slack-signing-secret-of-the-tests"


def slack(headers, *, body=BODY, secret=SECRET, now=NOW):
    timestamp, signature = headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"]
    return check_slack(secret, body, timestamp=timestamp, signature=signature, now=now)


def test_the_example_of_slacks_documentation_is_accepted():
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    assert check_slack(
        "8f742231b10e8888abcd99yyyzzz85a5",
        body,
        timestamp="1531420618",
        signature="v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        now=datetime.fromtimestamp(1531420618, tz=UTC),
    )


def test_the_example_of_githubs_documentation_is_accepted():
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    check_github("It's a Secret to Everybody", b"Hello, World!", signature=signature)


@pytest.mark.parametrize("age_s", [-60, 0, 299, 300])
def test_five_minutes_old_and_one_minute_early_is_still_good(age_s):
    assert slack(slack_headers(BODY, at=AT - age_s))


@pytest.mark.parametrize("age_s", [301, -61, 86_400])
def test_older_or_earlier_is_refused(age_s):
    with pytest.raises(RequestError) as caught:
        slack(slack_headers(BODY, at=AT - age_s))
    assert caught.value.http_status == 401


@pytest.mark.parametrize(
    "timestamp",
    [
        "abc",
        "",
        "123.5",
        "nan",
        "9" * 5_000,
        "1_700_000_000",
        "１７００００００００",
        f"{AT}\n",
        f" {AT}",
        f"+{AT}",
        f"-{AT}",
    ],
)
def test_a_timestamp_that_slack_never_sends_is_refused_even_when_signed(timestamp):
    with pytest.raises(RequestError) as caught:
        slack(slack_headers(BODY, at=timestamp))
    assert caught.value.http_status == 401


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: "",
        lambda s: s.upper(),
        lambda s: s.replace("v0=", "v1="),
        lambda s: s.removeprefix("v0="),
        lambda s: s[:-1],
        lambda s: s + "\n",
        lambda s: f"{s}, {s}",
        lambda s: s[:-1] + "é",
        lambda s: s[:-1] + ("0" if s[-1] != "0" else "1"),
    ],
)
def test_a_damaged_signature_of_slack_is_refused(damage):
    headers = slack_headers(BODY, at=AT)
    headers["X-Slack-Signature"] = damage(headers["X-Slack-Signature"])
    with pytest.raises(RequestError) as caught:
        slack(headers)
    assert caught.value.http_status == 401


def test_an_empty_secret_verifies_nothing():
    with pytest.raises(RequestError):
        slack(slack_headers(BODY, at=AT, secret=""), secret="")
    with pytest.raises(RequestError):
        check_github("", b"{}", signature=github_headers(b"{}", secret="")["X-Hub-Signature-256"])


def test_a_refusal_repeats_nothing_that_was_sent():
    headers = slack_headers(BODY, at=AT, secret="another")
    with pytest.raises(RequestError) as caught:
        slack(headers)
    assert headers["X-Slack-Signature"] not in str(caught.value)


def test_the_digest_of_one_request_is_its_own():
    first = slack(slack_headers(BODY, at=AT))
    assert slack(slack_headers(BODY, at=AT)) == first
    assert slack(slack_headers(BODY, at=AT - 1)) != first
