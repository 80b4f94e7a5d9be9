"""Hostile and awkward requests in Slack's name: refused before any side effect, understood where they are only odd."""

import json
from datetime import timedelta
from urllib.parse import quote_plus, urlencode

import pytest

from agent.model.deployment import Failure
from agent.model.environment import Wanted
from tests.support.signed import FORM, slack_headers
from tests.support.slackd import Slackd
from tests.support.stage import HOST, MovingClock, build, settings_for


@pytest.fixture
def clock():
    return MovingClock()


@pytest.fixture
def slack(clock):
    with Slackd(now=clock.monotonic) as server:
        yield server


@pytest.fixture
def stage(tmp_path, slack, clock):
    made = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=False), clock=clock)
    yield made
    made.store.close()


@pytest.fixture
def guarded(tmp_path, slack, clock):
    settings = settings_for(tmp_path, slack, token=False, users='["U0ANNA"]', channels='["C0STAGE"]')
    made = build(tmp_path, slack, settings=settings, clock=clock)
    yield made
    made.store.close()


def form(text="deploy main in shop", **fields):
    base = {"team_id": "T0TEAM", "channel_id": "C0STAGE", "user_id": "U0ANNA", "command": "/butai", "text": text}
    return urlencode(base | fields).encode()


def at(stage):
    return stage.clock.now().timestamp()


def nothing_happened(stage):
    return (
        stage.store.environments.all() == ()
        and stage.store.notices.slugs() == ()
        and stage.store.events.list() == ()
        and stage.woken == []
    )


@pytest.mark.parametrize(
    "timestamp", ["abc", "", "123.5", "nan", "9" * 5_000, "1_700_000_000", "１７００００００００", "-1", "0x65", "1e9"]
)
def test_a_signed_timestamp_that_is_none_is_a_401(stage, timestamp):
    body = form()
    headers = slack_headers(body, at=timestamp)
    headers["X-Slack-Request-Timestamp"] = timestamp.encode().decode("latin-1")
    assert stage.send("/slack/commands", body, headers)[0] == 401
    assert nothing_happened(stage)


@pytest.mark.parametrize("age_s", [301, 3_600, -61, -3_600])
def test_301_seconds_old_and_61_seconds_early_is_a_401(stage, age_s):
    body = form()
    assert stage.send("/slack/commands", body, slack_headers(body, at=at(stage) - age_s))[0] == 401
    assert nothing_happened(stage)


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: "",
        lambda s: s.upper(),
        lambda s: s[:-1] + "\xe9",
        lambda s: f"{s},{s}",
        lambda s: s.replace("v0=", "sha256="),
        lambda s: "v0=" + "0" * 64,
        lambda s: "v0=" + "0" * 5_000,
    ],
)
def test_a_signature_that_is_none_is_a_401(stage, damage):
    body = form()
    headers = slack_headers(body, at=at(stage))
    headers["X-Slack-Signature"] = damage(headers["X-Slack-Signature"])
    assert stage.send("/slack/commands", body, headers)[0] == 401
    assert nothing_happened(stage)


def test_no_signature_and_the_one_of_another_body_are_a_401(stage):
    body = form()
    assert stage.send("/slack/commands", body, {"Content-Type": FORM})[0] == 401
    headers = slack_headers(form("list"), at=at(stage))
    assert stage.send("/slack/commands", body, headers)[0] == 401
    assert nothing_happened(stage)


@pytest.mark.parametrize("body", [b"text=deploy+\xff\xfe", b"\xff", "text=dépl".encode()])
def test_a_body_that_is_no_form_is_a_401_however_it_is_signed(stage, body):
    assert stage.send("/slack/commands", body, slack_headers(body, at=at(stage)))[0] == 401
    assert stage.send("/slack/commands", body, {"Content-Type": FORM})[0] == 401
    assert nothing_happened(stage)


@pytest.mark.parametrize("body", [b"text=%ff%fe&team_id=T0TEAM", b"&".join(b"a%d=1" % n for n in range(500))])
def test_a_form_that_cannot_be_read_is_a_400(stage, body):
    assert stage.send("/slack/commands", body, slack_headers(body, at=at(stage)))[0] == 400
    assert nothing_happened(stage)


def test_a_form_in_another_dress_is_a_415(stage):
    body = form()
    for extra in ({"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}, {"Content-Type": "text/plain"}):
        assert stage.send("/slack/commands", body, slack_headers(body, at=at(stage)) | extra)[0] == 415
    assert nothing_happened(stage)


def test_two_megabytes_are_a_413(stage):
    body = form("x" * 2_000_000)
    assert stage.send("/slack/commands", body, slack_headers(body, at=at(stage)))[0] == 413


def test_the_same_signed_request_twice_makes_one_deployment(stage):
    body = form()
    headers = slack_headers(body, at=at(stage))
    assert stage.send("/slack/commands", body, headers)[0] == 200
    stage.clock.forward(200)
    assert stage.send("/slack/commands", body, headers)[0] == 401
    [environment] = stage.store.environments.all()
    assert environment.request == 1
    assert len(stage.store.notices.open_for(environment.slug)) == 1


def test_a_replay_stays_refused_after_a_restart(stage):
    body = form()
    headers = slack_headers(body, at=at(stage))
    stage.send("/slack/commands", body, headers)
    stage.restart()
    assert stage.send("/slack/commands", body, headers)[0] == 401


@pytest.mark.parametrize("path", ["/slack/commands", "/slack/interactions"])
def test_an_unsigned_ssl_check_is_answered_and_nothing_else(stage, path):
    answer = stage.send(path, b"ssl_check=1&token=x", {"Content-Type": FORM})
    assert answer == (200, b"")
    assert stage.send(path, b"token=x&ssl_check=1", {"Content-Type": FORM}) == (200, b"")
    assert stage.send(path, form() + b"&ssl_check=1", {"Content-Type": FORM}) == (200, b"")
    assert stage.send(path, b"text=ssl_check%3D1", {"Content-Type": FORM})[0] == 401
    assert nothing_happened(stage)


def test_slacks_probe_by_get_is_answered_and_other_gets_are_not(stage):
    assert stage.client.get("/slack/commands?ssl_check=1", headers={"Host": HOST}).status_code == 200
    assert stage.client.get("/slack/commands", headers={"Host": HOST}).status_code == 405
    assert stage.client.put("/slack/commands", headers={"Host": HOST}).status_code == 405


@pytest.mark.parametrize(
    "who",
    [
        {"team": "T0OTHER"},
        {"team": ""},
        {"user": "U0EVE"},
        {"user": ""},
        {"user": "U0ANNA\n"},
        {"user": "u0anna"},
        {"channel": "C0RANDOM"},
        {"channel": ""},
    ],
)
@pytest.mark.parametrize("text", ["deploy main in shop", "list", "help", "destroy main"])
def test_who_is_not_allowed_gets_a_private_refusal_that_tells_nothing(guarded, who, text):
    status, answer = guarded.person(**who).types(text)
    assert status == 200
    assert answer["response_type"] == "ephemeral"
    assert "may not use" in answer["text"]
    assert nothing_happened(guarded)


def test_names_prove_nothing(guarded):
    _, answer = guarded.person(user="U0EVE").types("list", user_name="U0ANNA", team_domain="T0TEAM")
    assert "may not use" in answer["text"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/commands/x",
        "http://169.254.169.254/latest/meta-data/",
        "https://hooks.slack.com.evil.example/commands/x",
        "https://hooks.slack.com@{location}/commands/x",
        "http://user@{location}/commands/x",
        "http://user:pass@{location}/commands/x",
        "file:///etc/passwd",
        "ftp://{location}/x",
        "//{location}/commands/x",
        "http://{location}\\@evil.example/x",
        "http://{location}/x\r\nX-Evil: 1",
        "javascript:alert(1)",
        "http://{location}#@evil.example",
        "x" * 5_000,
    ],
)
def test_a_response_url_to_anywhere_else_is_never_fetched(stage, slack, url):
    url = url.format(location=slack.location)
    status, _ = stage.person().types("deploy main in shop", response_url=url)
    assert status == 200
    stage.fetched("main")
    stage.finish("main")
    stage.work(60)
    assert slack.calls == []
    assert [one.kind for one in stage.store.events.list()][-1] == "untold"


@pytest.mark.parametrize(
    "text",
    [
        "deploy main && rm -rf /",
        "deploy main; touch /tmp/x",
        "deploy --upload-pack=touch x",
        "deploy --upload-pack=id",
        "deploy -x",
        "deploy --",
        "deploy -c core.sshCommand=id",
        "deploy *",
        "deploy feature/*",
        "deploy ..",
        "deploy a..b",
        "deploy ../../etc/passwd",
        "deploy main.lock",
        "deploy a@{1}",
        "deploy a~1",
        "deploy main\x00 in shop",
        "deploy main\x1b[2J in shop",
        "deploy :main",
        "deploy shop:",
        "deploy main in nowhere",
        "deploy " + "a" * 300 + " in shop",
        "x" * 10_000,
        "&lt;!channel&gt;",
    ],
)
def test_what_cannot_be_a_branch_is_refused_in_private_and_harmlessly(stage, text):
    status, answer = stage.person().types(text)
    assert status == 200
    assert answer["response_type"] == "ephemeral"
    assert answer["text"]
    assert not any(mark in answer["text"] for mark in ("<", "\x00", "\x1b"))
    assert nothing_happened(stage)


@pytest.mark.parametrize(
    "branch",
    [
        "main;touch${IFS}x",
        "$(touch${IFS}x)",
        "a&amp;b",
        "a|b",
        "a{b}",
        "a!b",
        "a#b",
        "a'b",
        "${HOME}",
        "{{7+7}}",
        "%s%n",
        "{0.__class__}",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&lt;!channel&gt;",
        "日本",
        "🚀",
        "___",
        "HEAD",
        "1234",
        "true",
        "null",
        "www",
        "\u202eevil",
        "mаin",
    ],
)
def test_a_strange_but_possible_branch_is_taken_literally_and_shown_harmlessly(stage, slack, branch):
    status, answer = stage.person().types(f"deploy {branch} in shop")
    assert status == 200
    assert answer["response_type"] == "in_channel"
    typed = branch.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    environment = stage.environment(typed)
    stage.fetched(typed)
    stage.clock.forward(2)
    stage.finish(typed, Failure(code="x", message=f"`{typed}` failed: {typed}", log_tail=(typed,)))
    shown = [answer["text"], *(message.text for message in slack.visible())]
    shown.append(stage.person().types("list")[1]["text"])
    shown.append(stage.person().types(f"status {environment.slug}")[1]["text"])
    shown.append(stage.person().types(f"destroy {environment.slug}")[1]["text"])
    for text in shown:
        assert "<" not in text.replace("<@U0ANNA>", "")
        assert "\u202e" not in text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        '"x"',
        "1" * 5_000,
        json.dumps({"slug": "../../etc", "user": "U0ANNA"}),
        json.dumps({"slug": "main", "user": "U0ANNA"}),
        json.dumps({"slug": "main", "user": "U0ANNA", "asked": "nan", "created": 7}),
        json.dumps({"slug": ["main"], "user": "U0ANNA", "asked": {}}),
        json.dumps({"slug": "nothere", "user": "U0ANNA", "asked": 1, "created": "x"}),
    ],
)
def test_a_forged_button_value_destroys_nothing(stage, value):
    person = stage.person()
    person.types("deploy main in shop")
    assert person.sends_payload(person.click_payload("destroy", value)) == 200
    assert stage.environment("main").wanted is Wanted.RUNNING


def asked_to_destroy(stage, slack):
    person = stage.person()
    person.types("deploy main in shop")
    stage.fetched("main")
    stage.finish("main")
    person.types("destroy main")
    return person, slack.visible()[-1]


def test_a_question_of_ten_minutes_ago_is_stale(stage, slack):
    person, question = asked_to_destroy(stage, slack)
    stage.clock.forward(601)
    person.clicks(question, "Destroy it")
    stage.work(1)
    assert stage.environment("main").wanted is Wanted.RUNNING
    assert "too old" in question.text


def test_a_question_about_an_environment_that_was_made_anew_is_stale(stage, slack):
    person, question = asked_to_destroy(stage, slack)
    stage.store.environments.delete(stage.environment("main").slug)
    stage.clock.forward(5)
    person.types("deploy main in shop")
    person.clicks(question, "Destroy it")
    stage.work(1)
    assert stage.environment("main").wanted is Wanted.RUNNING
    assert "made anew" in question.text


def test_a_click_by_another_person_is_authorised_again(guarded, slack):
    _, question = asked_to_destroy(guarded, slack)
    stranger = guarded.person(user="U0EVE")
    assert stranger.clicks(question, "Destroy it") == 200
    guarded.work(1)
    assert guarded.environment("main").wanted is Wanted.RUNNING
    assert question.blocks  # still there for the one who was asked


def test_a_click_by_another_allowed_person_is_not_the_answer_of_the_one_who_was_asked(stage, slack):
    _, question = asked_to_destroy(stage, slack)
    stage.person(user="U0BERT").clicks(question, "Destroy it")
    stage.work(1)
    assert stage.environment("main").wanted is Wanted.RUNNING
    assert "Somebody else was asked" in slack.visible()[-1].text


def test_a_click_from_another_team_or_channel_is_refused(guarded, slack):
    person, question = asked_to_destroy(guarded, slack)
    for changes in ({"team": {"id": "T0OTHER"}}, {"channel": {"id": "C0RANDOM"}}, {"team": None}, {"user": "U0ANNA"}):
        person.clicks(question, "Destroy it", **changes)
        assert guarded.environment("main").wanted is Wanted.RUNNING


def test_the_same_click_twice_is_a_replay(stage, slack):
    person, question = asked_to_destroy(stage, slack)
    button = question.blocks[1]["elements"][1]
    payload = person.click_payload(button["action_id"], button["value"], original=question)
    assert person.sends_payload(payload) == 200
    assert person.sends_payload(payload) == 401


@pytest.mark.parametrize(
    "payload",
    ["", "null", "[]", '"x"', "{", "[" * 100_000, '{"type":' + "1" * 5_000 + "}", "7"],
)
def test_a_payload_that_is_no_object_is_a_400(stage, payload):
    body = b"payload=" + quote_plus(payload).encode()
    assert stage.send("/slack/interactions", body, slack_headers(body, at=at(stage)))[0] == 400


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"type": "view_submission"},
        {"type": "block_actions"},
        {"type": "block_actions", "actions": []},
        {"type": "block_actions", "actions": "x"},
        {"type": "block_actions", "actions": [7]},
        {"type": "block_actions", "actions": [{"action_id": "other"}]},
        {"type": "block_actions", "actions": [{"action_id": "destroy"}], "team": 1, "user": [], "channel": "C"},
    ],
)
def test_an_interaction_that_is_not_ours_is_answered_and_ignored(stage, payload):
    assert stage.person().sends_payload(payload) == 200
    assert nothing_happened(stage)


def test_without_the_section_in_the_settings_there_is_no_door(stage):
    object.__setattr__(stage.settings, "slack", None)
    body = form()
    assert stage.send("/slack/commands", body, slack_headers(body, at=at(stage)))[0] == 404
    assert stage.send("/slack/commands", b"ssl_check=1", {"Content-Type": FORM})[0] == 404


def test_what_is_refused_says_so_without_secret_or_signature(stage):
    body = form()
    headers = slack_headers(body, secret="not the secret at all", at=at(stage))
    status, answer = stage.send("/slack/commands", body, headers)
    problem = json.loads(answer)
    assert (status, problem["code"]) == (401, "bad-signature")
    assert headers["X-Slack-Signature"][3:] not in answer.decode()
    assert stage.settings.slack.signing_secret.reveal() not in answer.decode()


def test_a_clock_that_is_wrong_is_hinted_at(stage):
    body = form()
    stage.clock.at += timedelta(hours=1)
    _, answer = stage.send("/slack/commands", body, slack_headers(body, at=at(stage) - 3_600))
    assert "clock" in json.loads(answer)["hint"]
