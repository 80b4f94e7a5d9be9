"""Hostile and awkward deliveries to /hooks/github: refused, ignored, or a hint and nothing more."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.model.deployment import Failure
from tests.support.signed import FORM, WEBHOOK_SECRET, ZERO, github_headers, push, push_payload, slack_headers
from tests.support.slackd import Slackd
from tests.support.stage import HOST, R1, REMOTE, MovingClock, build, settings_for

PATH = "/hooks/github"


@pytest.fixture
def stage(tmp_path):
    clock = MovingClock()
    with Slackd(now=clock.monotonic) as slack:
        made = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=False), clock=clock)
        yield made
        made.store.close()


@pytest.fixture
def deployed(stage):
    stage.operations.deploy("main", project="shop", caller="slack:U0ANNA")
    stage.woken.clear()
    return stage


def send(stage, body, headers=None, **signing):
    return stage.send(PATH, body, {**github_headers(body, **signing), **(headers or {})})[0]


def asks(stage):
    return stage.environment("main").request


def test_a_signed_push_is_accepted_and_wakes_its_environment(deployed):
    assert deployed.send(PATH, *push(REMOTE, "main"))[0] == 202
    assert asks(deployed) == 2
    assert deployed.woken == ["main"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: None,
        lambda s: "",
        lambda s: "sha256=",
        lambda s: s.upper(),
        lambda s: s.removeprefix("sha256="),
        lambda s: s.replace("sha256=", "sha1="),
        lambda s: f"{s}, {s}",
        lambda s: s + "0",
        lambda s: s[:-1] + "\xe9",
        lambda s: s[:-1],
        lambda s: "sha256=" + "0" * 64,
        lambda s: "sha256=" + "z" * 64,
    ],
)
def test_a_signature_that_is_none_is_a_401(deployed, damage):
    body, headers = push(REMOTE, "main")
    damaged = damage(headers.pop("X-Hub-Signature-256"))
    if damaged is not None:
        headers["X-Hub-Signature-256"] = damaged
    assert deployed.send(PATH, body, headers)[0] == 401
    assert asks(deployed) == 1


def test_the_signature_of_another_body_of_a_reserialised_one_or_by_another_key_is_a_401(deployed):
    body, headers = push(REMOTE, "main")
    assert deployed.send(PATH, body + b" ", headers)[0] == 401
    again = json.dumps(json.loads(body), indent=1).encode()
    assert deployed.send(PATH, again, headers)[0] == 401
    for secret in ("", "x", WEBHOOK_SECRET.upper()):
        assert deployed.send(PATH, body, github_headers(body, secret=secret))[0] == 401
    assert asks(deployed) == 1


def test_a_sha1_signature_alone_is_a_401(deployed):
    body, headers = push(REMOTE, "main")
    del headers["X-Hub-Signature-256"]
    headers["X-Hub-Signature"] = "sha1=" + "0" * 40
    assert deployed.send(PATH, body, headers)[0] == 401


def test_other_forges_and_slack_do_not_open_this_door(deployed):
    body, _ = push(REMOTE, "main")
    for headers in (
        {"X-Gitlab-Token": WEBHOOK_SECRET, "X-Gitlab-Event": "Push Hook"},
        {"X-Gitea-Signature": github_headers(body)["X-Hub-Signature-256"][7:]},
        slack_headers(body, secret=WEBHOOK_SECRET),
    ):
        assert deployed.send(PATH, body, {**headers, "Content-Type": "application/json"})[0] == 401
    assert deployed.send("/slack/commands", body, github_headers(body))[0] == 401
    assert asks(deployed) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"7",
        b"true",
        b"{",
        b"{}}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"ref":' + b"9" * 5_000 + b"}",
        b'{"ref": NaN}',
        b'{"ref": Infinity}',
        b'{"ref": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        '{"ref": "refs/heads/main"}'.encode("utf-16"),
        '{"ref": "refs/heads/main"}'.encode("utf-32"),
        b'{"ref": "\xff"}',
        b'{"ref": 1}',
        b'{"ref": null}',
        b'{"ref": ["refs/heads/main"]}',
        b'{"ref": ""}',
        b"{}",
    ],
)
def test_what_is_no_delivery_is_a_400_however_well_it_is_signed(deployed, body):
    assert send(deployed, body) == 400
    assert asks(deployed) == 1


def test_twenty_six_megabytes_are_a_413_and_a_lying_length_reads_no_further(deployed):
    body = b'{"ref": "refs/heads/main", "x": "' + b"x" * 26_000_000 + b'"}'
    assert send(deployed, body) == 413
    answer = deployed.client.post(
        PATH,
        data=b"{}",
        headers={**github_headers(b"{}"), "Host": HOST},
        environ_overrides={"CONTENT_LENGTH": "1" * 12},
    )
    assert answer.status_code == 413
    assert asks(deployed) == 1


def test_a_compressed_or_foreign_kind_of_body_is_a_415(deployed):
    body, headers = push(REMOTE, "main")
    packed = gzip.compress(body)
    assert send(deployed, packed, {"Content-Encoding": "gzip"}) == 415
    for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x", ""):
        assert deployed.send(PATH, body, headers | {"Content-Type": kind})[0] == 415
    assert asks(deployed) == 1


def test_a_delivery_as_a_form_is_understood_as_github_offers_it_first(deployed):
    from urllib.parse import urlencode

    body = urlencode({"payload": json.dumps(push_payload(REMOTE, "main"))}).encode()
    assert send(deployed, body, {"Content-Type": FORM}) == 202
    assert asks(deployed) == 2
    assert send(deployed, b"payload=%ff", {"Content-Type": FORM}) == 400
    assert send(deployed, b"other=1", {"Content-Type": FORM}) == 400


def test_the_commit_of_a_delivery_is_a_hint_for_git_if_it_is_one_at_all(deployed):
    for after in (None, 7, "", "main", "--upload-pack=x", "A" * 40, "a" * 41, ["a" * 40]):
        assert send(deployed, json.dumps(push_payload(REMOTE, "main") | {"after": after}).encode()) == 202
    assert deployed.expected == []
    assert send(deployed, json.dumps(push_payload(REMOTE, "main", after="c" * 40)).encode()) == 202
    assert send(deployed, json.dumps(push_payload(REMOTE, "not/on-stage", after="c" * 40)).encode()) == 202
    assert deployed.expected == [("shop", "main", "c" * 40)]


@pytest.mark.parametrize("change", [{"deleted": True}, {"after": ZERO, "deleted": False}])
def test_a_deletion_deploys_nothing_and_has_the_branches_listed(deployed, change):
    body = json.dumps(push_payload(REMOTE, "main") | change).encode()
    assert send(deployed, body) == 202
    assert asks(deployed) == 1
    assert deployed.woken == []
    assert deployed.poked == ["shop"]


def test_a_deletion_of_a_branch_for_auto_deploy_creates_nothing(stage):
    body = json.dumps(push_payload(REMOTE, "auto/x", after=ZERO)).encode()
    assert send(stage, body) == 202
    assert stage.store.environments.all() == ()


@pytest.mark.parametrize(
    "change",
    [
        {"before": ZERO, "created": True},
        {"forced": True},
        {"after": "c" * 40},
        {"after": "c" * 39},
        {"after": "--upload-pack=id"},
        {"after": 7},
        {"after": None},
        {"repository": {"full_name": "acme/shop", "clone_url": "ext::sh -c id"}},
        {"repository": {"full_name": "acme/shop", "clone_url": "file:///etc"}},
        {"sender": {"login": "<!channel>"}},
        {"sender": None, "pusher": 7, "commits": "x", "head_commit": []},
    ],
)
def test_whatever_else_a_push_says_it_is_only_a_hint(deployed, change):
    body = json.dumps(push_payload(REMOTE, "main") | change).encode()
    assert send(deployed, body) == 202
    assert asks(deployed) == 2
    [environment] = deployed.store.environments.all()
    assert environment.revision is None  # only the remote says which
    assert "<" not in str([event.caller for event in deployed.store.events.list()])


@pytest.mark.parametrize(
    "ref",
    [
        "refs/tags/v1",
        "refs/pull/7/head",
        "refs/pull/7/merge",
        "refs/heads/",
        "refs/notes/x",
        "main",
        "HEAD",
        "refs/headsmain",
    ],
)
def test_other_refs_are_ignored(deployed, ref):
    body = json.dumps(push_payload(REMOTE, "main") | {"ref": ref}).encode()
    assert send(deployed, body) == 204
    assert asks(deployed) == 1


@pytest.mark.parametrize(
    "branch",
    ["-x", "--upload-pack=touch x", "*", "a..b", "../../etc/passwd", "main\n", "main\x00", "a b", "main.lock", "a:b"],
)
def test_a_ref_that_git_would_not_take_is_a_400(deployed, branch):
    body = json.dumps(push_payload(REMOTE, "x") | {"ref": f"refs/heads/{branch}"}).encode()
    assert send(deployed, body) == 400
    assert asks(deployed) == 1


@pytest.mark.parametrize(
    "repository",
    [
        None,
        {},
        [],
        "acme/shop",
        {"full_name": "eve/shop", "clone_url": "https://github.com/eve/shop.git", "fork": True},
        {"full_name": ["acme/shop"]},
        {"full_name": "acme/shop\n"},
    ],
)
def test_a_repository_that_is_none_of_ours_is_ignored(deployed, repository):
    body = json.dumps(push_payload(REMOTE, "main") | {"repository": repository}).encode()
    assert send(deployed, body) == 204
    assert asks(deployed) == 1


@pytest.mark.parametrize(
    "event",
    ["pull_request", "create", "delete", "issues", "star", "", "Push", "push ", "x" * 1_000, "pull_request_target"],
)
def test_events_that_are_no_pushes_are_ignored_those_of_fork_pull_requests_too(deployed, event):
    payload = push_payload(REMOTE, "main") | {"pull_request": {"head": {"repo": {"fork": True}, "ref": "main"}}}
    assert send(deployed, json.dumps(payload).encode(), event=event) == 204
    assert asks(deployed) == 1


def test_no_event_header_is_ignored_and_ping_is_answered(deployed):
    body, headers = push(REMOTE, "main")
    del headers["X-GitHub-Event"]
    assert deployed.send(PATH, body, headers)[0] == 204
    assert send(deployed, b'{"zen": "Keep it logically awesome."}', event="ping") == 200
    assert asks(deployed) == 1


def test_one_delivery_twice_at_once_makes_one_deployment(stage):
    body, headers = push(REMOTE, "auto/x")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: stage.send(PATH, body, headers)[0], range(10)))
    assert answers == [202] * 10
    [environment] = stage.store.environments.all()
    assert len(stage.store.deployments.history(environment.slug)) == 1


def test_a_redelivery_after_a_failure_runs(stage):
    body, headers = push(REMOTE, "auto/x")
    stage.send(PATH, body, headers)
    stage.fetched("auto/x", R1)
    stage.finish("auto/x", Failure(code="x", message="broken"))
    before = stage.environment("auto/x").request
    assert stage.send(PATH, body, headers)[0] == 202
    assert stage.environment("auto/x").request == before + 1
    assert stage.environment("auto/x").needs_fetch


def test_five_hundred_pushes_of_one_branch_are_all_answered_and_are_one_wish(deployed):
    body, headers = push(REMOTE, "main")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: deployed.send(PATH, body, headers)[0], range(500)))
    assert answers == [202] * 500
    assert asks(deployed) == 501
    assert len(deployed.store.deployments.history("main")) == 1


@pytest.mark.parametrize(
    "path", ["//hooks/github", "/hooks/../admin", "/hooks/github/", "/hooks//github", "/hooks/gitlab", "/hooks"]
)
def test_other_spellings_of_the_path_lead_nowhere(deployed, path):
    body, headers = push(REMOTE, "main")
    answer = deployed.client.post(
        "/", data=body, headers={**headers, "Host": HOST}, environ_overrides={"PATH_INFO": path, "REQUEST_URI": path}
    )
    assert answer.status_code == 404
    assert asks(deployed) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_a_405(deployed, method):
    answer = deployed.client.open(PATH, method=method, headers={"Host": HOST})
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_without_a_secret_in_the_settings_there_is_no_door(stage):
    object.__setattr__(stage.settings.forges, "github", None)
    assert stage.send(PATH, *push(REMOTE, "main"))[0] == 404


def test_a_pushed_project_by_ssh_remote_is_found(stage):
    stage.operations.deploy("main", project="blog", caller="slack:U0ANNA")
    body, headers = push("https://github.com/acme/blog.git", "main", full_name="acme/blog")
    assert stage.send(PATH, body, headers)[0] == 202
    assert stage.environment("main", "blog").request == 2
