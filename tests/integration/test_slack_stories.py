"""From a command to the last edit of its message, against a Slack that really answers over HTTP."""

import pytest

from agent.adapters.slack import Slack
from agent.model.deployment import Failure, Phase
from agent.model.edit import KEPT
from agent.model.environment import Wanted
from agent.runtime.messenger import CLOSED_FOR_S
from tests.support.slackd import Misbehaviour, Slackd
from tests.support.stage import R1, R2, R3, MovingClock, Stage, build, settings_for

URL = "https://feature-x.staging.example.com"
BROKEN = Failure(
    code="exited",
    message="Service `web` exited with 1.",
    hint="Look at its last lines.",
    service="web",
    log_tail=("Traceback (most recent call last):", "ImportError: no module named flask"),
)


@pytest.fixture
def clock():
    return MovingClock()


@pytest.fixture
def slack(clock):
    with Slackd(now=clock.monotonic) as server:
        yield server


@pytest.fixture
def stage(tmp_path, slack, clock):
    made = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=True), clock=clock)
    yield made
    made.store.close()


@pytest.fixture
def tokenless(tmp_path, slack, clock):
    made = build(tmp_path, slack, settings=settings_for(tmp_path, slack, token=False), clock=clock)
    yield made
    made.store.close()


def asked(stage: Stage, text: str = "deploy feature/x in shop"):
    person = stage.person()
    assert person.types(text)[0] == 200
    stage.work()
    return person


def test_one_message_is_edited_from_the_request_to_the_url(stage, slack):
    asked(stage)
    [message] = slack.in_channel("C0STAGE")
    assert "waiting for its turn" in message.text
    assert "<@U0ANNA>" in message.text
    stage.clock.forward(1.2)
    stage.fetched("feature/x")
    stage.phase("feature/x", Phase.BUILDING)
    assert "building" in message.text
    stage.clock.forward(1.9)
    stage.finish("feature/x")
    assert f"is live at {URL} (3.1 s)" in message.text
    assert "Change the colour" in message.text
    assert slack.in_channel("C0STAGE") == [message]
    assert stage.store.notices.open_for(stage.environment("feature/x").slug) == ()


def test_without_a_bot_token_the_answer_itself_is_edited_through_the_response_url(tokenless, slack):
    asked(tokenless)
    [message] = slack.in_channel("C0STAGE")
    assert message.by == "app"
    tokenless.clock.forward(3)
    tokenless.fetched("feature/x")
    tokenless.phase("feature/x", Phase.BUILDING)
    assert "building" in message.text
    tokenless.clock.forward(3)
    tokenless.finish("feature/x")
    assert f"is live at {URL} (6.0 s)" in message.text
    assert slack.in_channel("C0STAGE") == [message]


def test_a_failure_tells_service_lines_commit_and_next_step(stage, slack):
    asked(stage)
    stage.fetched("feature/x")
    stage.finish("feature/x", BROKEN)
    [message] = slack.in_channel("C0STAGE")
    for part in ("`web`", "ImportError: no module named flask", "Change the colour", "Anna Example", "Next: Look"):
        assert part in message.text


def test_a_secret_in_a_build_log_never_reaches_slack_nor_the_outbox(stage, slack):
    secret = stage.settings.slack.signing_secret.reveal()
    asked(stage)
    stage.fetched("feature/x")
    slack.misbehave = [Misbehaviour(status=503)]
    stage.finish(
        "feature/x",
        Failure(
            code="x",
            message=f"it said {secret}",
            hint=f"use {secret}",
            log_tail=(f"``` {secret}", "x" * 280 + secret),
        ),
    )
    [item] = stage.store.outbox.due(stage.clock.now().replace(year=2027))
    assert secret[:12] not in str(item.payload)
    stage.work(60)
    assert secret[:12] not in str(slack.calls)
    stage.clock.forward(1)
    assert secret[:12] not in stage.person().types("status feature/x")[1]["text"]
    assert secret[:12] not in stage.person().types("list")[1]["text"]


def test_edits_of_one_message_are_a_second_apart_and_only_the_latest_text_leaves(stage, slack):
    asked(stage)
    stage.fetched("feature/x")
    for phase in (Phase.FETCHING, Phase.BUILDING, Phase.STARTING):
        stage.clock.forward(0.1)
        stage.phase("feature/x", phase)
    [message] = slack.in_channel("C0STAGE")
    assert len(message.edits) == 1
    stage.work(1.0)
    assert [text.split(":")[-1].split("…")[0].strip() for _, text in message.edits[1:]] == ["starting"]


def test_nothing_is_sent_twice_when_nothing_changed(stage, slack):
    asked(stage)
    for _ in range(5):
        stage.work(70)
    assert len(slack.calls) == 1


def test_a_message_interrupted_by_a_crash_is_finished_by_the_next_start(stage, slack):
    asked(stage)
    stage.fetched("feature/x")
    current = stage.store.deployments.current(stage.environment("feature/x").slug)
    stage.store.deployments.finish(current.id, Phase.READY, now=stage.clock.now(), url=URL)  # and then: kill -9
    stage.restart()
    stage.work()
    [message] = slack.in_channel("C0STAGE")
    assert f"is live at {URL}" in message.text
    calls = len(slack.calls)
    stage.restart()
    stage.work(120)
    assert len(slack.calls) == calls


def test_a_message_that_waits_in_the_outbox_survives_a_restart(tokenless, slack):
    asked(tokenless)
    tokenless.fetched("feature/x")
    slack.misbehave = [Misbehaviour(status=500), Misbehaviour(status=500)]
    tokenless.finish("feature/x")
    tokenless.restart()
    tokenless.work(5)
    tokenless.work(5)
    [message] = slack.in_channel("C0STAGE")
    assert f"is live at {URL}" in message.text


def test_retry_after_is_honoured_and_holds_up_nobody_else(stage, slack):
    slack.misbehave = [Misbehaviour(status=429, retry_after="30")]
    asked(stage)
    assert slack.in_channel("C0STAGE") == []
    stage.clock.forward(1)
    asked(stage, "deploy other in shop")
    assert len(slack.in_channel("C0STAGE")) == 1
    stage.work(27)
    assert len(slack.in_channel("C0STAGE")) == 1
    stage.work(4)
    assert len(slack.in_channel("C0STAGE")) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Misbehaviour(status=500),
        Misbehaviour(status=503, page="<html>down</html>"),
        Misbehaviour(status=200, page="<html>maintenance</html>"),
        Misbehaviour(status=0),
    ],
)
def test_an_ill_slack_is_tried_again_until_it_is_told_once(stage, slack, fault):
    slack.misbehave = [fault]
    asked(stage)
    stage.fetched("feature/x")
    stage.finish("feature/x")
    for _ in range(4):
        stage.work(10)
    [message] = slack.in_channel("C0STAGE")
    assert f"is live at {URL}" in message.text


def test_after_a_day_of_silence_the_row_says_what_was_not_told(stage, slack):
    slack.close()
    asked(stage)
    stage.fetched("feature/x")
    stage.finish("feature/x")
    for _ in range(26):
        stage.work(3600)
    [event] = [one for one in stage.store.events.list() if one.kind == "untold"]
    assert "could not be told" in event.text
    assert URL in event.data["text"]
    assert stage.store.notices.slugs() == ()


def test_a_channel_without_the_bot_is_answered_through_the_response_url(stage, slack):
    slack.closed_channels.add("C0STAGE")
    asked(stage)
    [message] = slack.in_channel("C0STAGE")
    stage.fetched("feature/x")
    stage.clock.forward(2)
    stage.finish("feature/x")
    assert message.by == "app"
    assert f"is live at {URL}" in message.text
    assert slack.in_channel("C0STAGE") == [message]


def test_a_bot_that_was_let_in_again_writes_by_itself(stage, slack):
    """The token was replaced, or somebody invited it: nobody starts the agent again for that."""
    slack.closed_channels.add("C0STAGE")
    asked(stage)
    stage.fetched("feature/x")
    stage.finish("feature/x")
    slack.closed_channels.clear()
    stage.work(CLOSED_FOR_S + 1)
    asked(stage)
    assert slack.in_channel("C0STAGE")[-1].by == "bot"


def test_a_message_that_somebody_deleted_is_said_anew(stage, slack):
    asked(stage)
    slack.messages[0].deleted = True
    stage.fetched("feature/x")
    stage.clock.forward(2)
    stage.finish("feature/x")
    [message] = slack.in_channel("C0STAGE")
    assert f"is live at {URL}" in message.text


def test_the_last_use_of_a_response_url_is_kept_for_the_end(tokenless, slack):
    asked(tokenless)
    [message] = slack.in_channel("C0STAGE")
    tokenless.fetched("feature/x")
    for number in range(9):
        tokenless.clock.forward(2)
        tokenless.phase("feature/x", (Phase.FETCHING, Phase.BUILDING)[number % 2])
    tokenless.clock.forward(2)
    tokenless.finish("feature/x")
    assert f"is live at {URL}" in message.text
    assert [status for path, _, status in slack.calls] == [200] * 5


def test_before_the_response_url_expires_people_are_told_where_to_ask(tokenless, slack):
    asked(tokenless)
    tokenless.fetched("feature/x")
    tokenless.phase("feature/x", Phase.BUILDING)
    tokenless.work(28 * 60 + 5)
    [message] = slack.in_channel("C0STAGE")
    assert "`/butai status`" in message.text
    tokenless.clock.forward(600)
    tokenless.finish("feature/x")
    assert len(slack.in_channel("C0STAGE")) == 1


def test_an_expired_response_url_is_given_up_and_the_row_says_so(tokenless, slack):
    person = tokenless.person()
    url = slack.response_url("C0STAGE")
    person.types("deploy feature/x in shop", response_url=url)
    slack.expire(url)
    tokenless.fetched("feature/x")
    tokenless.finish("feature/x")
    assert [one.kind for one in tokenless.store.events.list()][-1] == "untold"
    assert tokenless.store.notices.slugs() == ()


def test_an_expired_response_url_costs_nothing_where_there_is_a_bot_token(stage, slack):
    person = stage.person()
    url = slack.response_url("C0STAGE")
    slack.expire(url)
    person.types("deploy feature/x in shop", response_url=url)
    stage.fetched("feature/x")
    stage.clock.forward(3600)
    stage.finish("feature/x")
    assert f"is live at {URL}" in slack.in_channel("C0STAGE")[0].text


def test_a_newer_revision_takes_the_message_over(stage, slack):
    asked(stage)
    environment = stage.fetched("feature/x", R1)
    current = stage.store.deployments.current(environment.slug)
    ended = stage.store.deployments.finish(current.id, Phase.SUPERSEDED, now=stage.clock.now())
    stage.tell(environment, ended)
    stage.clock.forward(2)
    stage.fetched("feature/x", R2)
    stage.finish("feature/x")
    [message] = slack.in_channel("C0STAGE")
    assert "`2222222222`" in message.text
    assert "is live" in message.text


def test_a_deployment_that_ends_before_the_remote_was_read_again_is_not_the_answer(stage, slack):
    asked(stage)
    stage.fetched("feature/x", R1)
    stage.clock.forward(1)
    asked(stage)  # after a push of R2
    stage.finish("feature/x")
    texts = [message.text for message in slack.in_channel("C0STAGE")]
    assert ["is live" in text for text in texts] == [True, False]
    stage.clock.forward(2)
    stage.fetched("feature/x", R2)
    stage.finish("feature/x")
    assert "`2222222222`" in slack.in_channel("C0STAGE")[1].text


def test_two_people_who_ask_for_the_same_branch_get_a_message_each(stage, slack):
    asked(stage)
    stage.person(user="U0BERT", channel="C0OTHER").types("deploy feature/x in shop")
    stage.fetched("feature/x")
    stage.work(2)
    stage.finish("feature/x")
    assert len(slack.in_channel("C0STAGE")) == len(slack.in_channel("C0OTHER")) == 1
    assert "is live" in slack.in_channel("C0OTHER")[0].text
    assert len(stage.store.deployments.history(stage.environment("feature/x").slug)) == 1


def live_once(stage: Stage):
    asked(stage)
    stage.fetched("feature/x", R1)
    stage.finish("feature/x")
    stage.clock.forward(60)


def test_a_push_that_fails_is_told_in_the_thread_and_so_is_the_recovery(stage, slack):
    live_once(stage)
    [message] = slack.in_channel("C0STAGE")
    stage.fetched("feature/x", R2)
    stage.finish("feature/x", BROKEN)
    told = [one for one in slack.messages if one.thread == message.ts]
    assert len(told) == 1
    assert "could not be updated" in told[0].text
    assert "`1111111111` still serves" in told[0].text
    stage.clock.forward(60)
    stage.fetched("feature/x", R3)
    stage.finish("feature/x")
    told = [one for one in slack.messages if one.thread == message.ts]
    assert "is live again" in told[1].text
    assert "is live at" in message.text  # the request's own message stays what it was


def test_a_crash_is_told_once_and_not_every_restart_that_was_tried(stage, slack):
    live_once(stage)
    [message] = slack.in_channel("C0STAGE")
    environment = stage.environment("feature/x")
    exited = Failure("exited", "Service `web` exited with status 1.", service="web")
    crashed = Failure("crashed", "web exited 1; five restarts did not help.", "Try again.", "web", ("boom",))
    for failure in (exited, None, exited, crashed):
        stage.clock.forward(60)
        stage.store.deployments.begin(environment, cause="repair", caller="agent", now=stage.clock.now())
        stage.finish("feature/x", failure)
    for _ in range(3):
        stage.work(60)
    [told] = [one for one in slack.messages if one.thread == message.ts]
    assert "`feature/x` of shop crashed: web exited 1; five restarts did not help." in told.text
    assert "boom" in told.text
    assert "still serves" not in told.text


def test_pushes_that_go_well_are_not_announced(stage, slack):
    live_once(stage)
    calls = len(slack.calls)
    stage.fetched("feature/x", R2)
    stage.finish("feature/x")
    stage.work(120)
    assert len(slack.calls) == calls


def test_edits_that_were_found_after_a_push_was_live_are_told_in_the_thread_once(stage, slack):
    live_once(stage)
    [message] = slack.in_channel("C0STAGE")
    stage.fetched("feature/x", R2)
    stage.finish("feature/x")
    environment = stage.environment("feature/x")
    stage.store.deployments.begin(environment, cause=KEPT, caller="agent", now=stage.clock.now())
    stage.finish("feature/x", notices=("edits were kept: `butai edits feature/x --restore 1`",))
    for _ in range(3):
        stage.restart()
        stage.work(60)
    [told] = [one for one in slack.messages if one.thread == message.ts]
    assert "edits that nobody had noticed were kept" in told.text
    assert "`butai edits feature/x --restore 1`" in told.text


def test_a_push_that_failed_while_the_agent_died_is_told_after_the_restart_and_once(stage, slack):
    live_once(stage)
    stage.fetched("feature/x", R2)
    current = stage.store.deployments.current(stage.environment("feature/x").slug)
    stage.store.deployments.finish(current.id, Phase.FAILED, now=stage.clock.now(), failure=BROKEN)
    for _ in range(3):
        stage.restart()
        stage.work(60)
    assert len([one for one in slack.messages if one.thread]) == 1


def test_a_branch_that_was_deleted_ends_its_thread(stage, slack):
    live_once(stage)
    environment = stage.environment("feature/x")
    stage.store.environments.delete(environment.slug)
    stage.notifier.settled(environment, "destroy")
    stage.work()
    stage.work(120)
    [end] = [one for one in slack.messages if one.thread]
    assert "`feature/x` of shop was removed" in end.text


def test_sleep_and_wake_are_told_when_they_came_true(stage, slack):
    live_once(stage)
    asked(stage, "sleep feature/x")
    message = slack.in_channel("C0STAGE")[1]
    assert "going to sleep" in message.text
    stage.clock.forward(2)
    stage.notifier.settled(stage.environment("feature/x"), "sleep")
    stage.work()
    assert "sleeps" in message.text
    asked(stage, "wake feature/x")
    message = slack.in_channel("C0STAGE")[2]
    stage.clock.forward(0.5)
    stage.finish("feature/x")
    assert f"is live at {URL} (0.5 s)" in message.text


def test_waking_what_is_awake_is_answered_at_once_and_in_private(stage, slack):
    live_once(stage)
    _, answer = stage.person().types("wake feature/x")
    assert answer == {"response_type": "ephemeral", "text": "`feature/x` is awake already."}


def destroy_question(stage: Stage, slack: Slackd):
    live_once(stage)
    person = stage.person()
    person.types("destroy feature/x")
    question = slack.visible()[-1]
    return person, question


@pytest.mark.parametrize("kind", ["stage", "tokenless"])
def test_destroy_asks_and_names_what_will_be_lost_before_it_does_anything(kind, request, slack):
    stage = request.getfixturevalue(kind)
    _, question = destroy_question(stage, slack)
    assert question.private
    assert "`db_data`, `uploads`" in question.text
    assert URL in question.text
    assert stage.environment("feature/x").wanted is Wanted.RUNNING


@pytest.mark.parametrize("kind", ["stage", "tokenless"])
def test_a_confirmed_destroy_is_told_to_its_end(kind, request, slack):
    stage = request.getfixturevalue(kind)
    person, question = destroy_question(stage, slack)
    assert person.clicks(question, "Destroy it") == 200
    environment = stage.environment("feature/x")
    assert environment.wanted is Wanted.ABSENT
    stage.work(1)
    assert any("removing it" in one.text for one in slack.visible())
    stage.notifier.settled(environment, "destroy")
    stage.store.environments.delete(environment.slug)
    stage.work(2)
    stage.work(120)
    ends = [one for one in slack.visible() if "was removed" in one.text]
    assert len(ends) == 1
    assert not any(one.blocks for one in slack.visible())


def test_a_destroy_is_told_once_even_when_its_row_goes_after_the_message(stage, slack):
    person, question = destroy_question(stage, slack)
    person.clicks(question, "Destroy it")
    environment = stage.environment("feature/x")
    stage.notifier.settled(environment, "destroy")
    stage.work(2)
    stage.store.environments.delete(environment.slug)
    stage.work(120)
    stage.work(120)
    assert len([one for one in slack.visible() if "was removed" in one.text]) == 1


def test_a_branch_that_never_was_is_told_once_and_its_removal_is_no_news(stage, slack):
    asked(stage, "deploy feature/z in shop")
    stage.finish("feature/z", Failure(code="no-such-branch", message="No branch `feature/z` in shop."))
    stage.store.environments.delete(stage.environment("feature/z").slug)
    stage.work(120)
    stage.work(120)
    [message] = slack.visible()
    assert "No branch `feature/z` in shop." in message.text


def test_a_destroy_that_ended_while_the_agent_died_is_told_after_the_restart(stage, slack):
    person, question = destroy_question(stage, slack)
    person.clicks(question, "Destroy it")
    stage.store.environments.delete(stage.environment("feature/x").slug)
    stage.restart()
    stage.work(1)
    assert len([one for one in slack.visible() if "was removed" in one.text]) == 1


def test_keep_it_keeps_it_and_takes_the_buttons_away(stage, slack):
    person, question = destroy_question(stage, slack)
    person.clicks(question, "Keep it")
    stage.work()
    assert stage.environment("feature/x").wanted is Wanted.RUNNING
    assert "stays" in question.text
    assert not question.blocks


def test_a_double_click_destroys_once(stage, slack):
    person, question = destroy_question(stage, slack)
    person.clicks(question, "Destroy it")
    person.clicks(question, "Destroy it")
    assert [one.kind for one in stage.store.events.list()].count("destroy") == 1


def test_a_redirecting_slack_is_not_followed(stage, tokenless, slack):
    aim = f"http://{slack.location}/elsewhere"
    slack.misbehave = [Misbehaviour(status=302, location=aim), Misbehaviour(status=307, location=aim)]
    adapter = Slack(lambda: tokenless.settings)
    for _ in range(2):
        with pytest.raises(Exception, match="Slack refuses: http_30"):
            adapter.respond(slack.response_url("C0STAGE"), {"text": "hello"})
    assert not [path for path, _, _ in slack.calls if "elsewhere" in path]


def test_what_could_not_be_written_down_is_told_at_the_next_look(stage, slack, monkeypatch):
    stage.person().types("deploy feature/x in shop")
    with monkeypatch.context() as patch:
        patch.setattr(stage.store.outbox, "put", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage.work()
    stage.work(70)
    assert len(slack.in_channel("C0STAGE")) == 1


def test_thirty_requests_in_one_channel_leave_no_faster_than_slack_takes_them(stage, slack):
    for number in range(30):
        stage.person().types(f"deploy b{number} in shop")
    stage.work()
    assert len(slack.in_channel("C0STAGE")) == 11
    for _ in range(19):
        stage.work(1.01)
    assert len(slack.in_channel("C0STAGE")) == 30
