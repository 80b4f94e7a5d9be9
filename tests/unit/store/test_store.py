"""The store on real SQLite files: what it promises to keep, and what it refuses."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from agent.errors import CancelledError, OutsideError, RequestError, StateError
from agent.logs import Redactor
from agent.model.deployment import Commit, Deployment, Failure, Phase
from agent.model.environment import Environment, Wanted
from agent.model.names import Revision, Slug
from agent.model.notice import Notice
from agent.store import Store
from agent.store.schema import MIGRATIONS

NOW = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
ONE = Revision("1" * 40)
TWO = Revision("2" * 40)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "butai.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store.open(path)
    yield store
    store.close()


def create(
    store: Store,
    branch: str = "main",
    *,
    project: str = "shop",
    slugs: Iterable[Slug] | None = None,
    blocks: int = 100,
) -> Environment:
    slugs = [Slug(branch)] if slugs is None else slugs
    return store.environments.create(
        project=project, branch=branch, slugs=slugs, caller="unix:anna", now=NOW, blocks=blocks
    )


def numbered(name: str) -> Iterator[Slug]:
    yield Slug(name)
    yield from (Slug(f"{name}-{number}") for number in count(2))


# --- environments


def test_a_new_environment_is_wanted_running_and_survives_a_restart(store: Store, path: Path) -> None:
    made = create(store)
    store.close()
    again = Store.open(path)
    assert again.environments.all() == (made,)
    assert (made.wanted, made.block, made.created_at, made.created_by) == (Wanted.RUNNING, 0, NOW, "unix:anna")
    again.close()


def test_asking_again_for_a_branch_gives_the_environment_there_is(store: Store) -> None:
    made = create(store, "main")
    assert create(store, "main", slugs=numbered("other")) == made


def test_the_same_branch_of_two_projects_is_two_environments(store: Store) -> None:
    one = create(store, "main", slugs=numbered("main"))
    two = create(store, "main", slugs=numbered("main"), project="blog")
    assert [one.slug, two.slug] == ["main", "main-2"]
    assert store.environments.find("main") == (two, one)
    assert store.environments.find("main", "shop") == (one,)
    assert store.environments.find("main", "nowhere") == ()


def test_the_lowest_free_block_is_taken_and_comes_back_when_its_environment_goes(store: Store) -> None:
    blocks = [create(store, name).block for name in ("a", "b", "c")]
    store.environments.delete(Slug("b"))
    assert [*blocks, create(store, "d").block] == [0, 1, 2, 1]


def test_a_full_pool_of_addresses_is_refused_with_a_way_out(store: Store) -> None:
    create(store, "a", blocks=1)
    with pytest.raises(RequestError) as caught:
        create(store, "b", blocks=1)
    assert caught.value.code == "no-free-block"
    assert "docker.address_pool" in caught.value.hint
    assert len(store.environments.all()) == 1


def test_no_free_slug_is_refused(store: Store) -> None:
    create(store, "a")
    with pytest.raises(RequestError) as caught:
        create(store, "A", slugs=[Slug("a")])
    assert caught.value.code == "no-free-slug"


@pytest.mark.parametrize("changes", [{"slug": Slug("x")}, {"block": 7}, {"branch": "x"}], ids=str)
def test_slug_block_and_branch_are_each_taken_only_once(store: Store, changes: dict[str, object]) -> None:
    made = create(store)
    other = replace(made, slug=Slug("other"), block=99, branch="other")
    same = {name: getattr(made, name) for name in changes}
    with pytest.raises(RequestError) as caught:
        store.environments.restore(replace(other, **same))
    assert caught.value.code == "environment-exists"


def test_a_lost_row_is_restored_exactly(store: Store) -> None:
    made = replace(
        create(store),
        wanted=Wanted.ASLEEP,
        block=41,
        pinned=True,
        salt=3,
        revision=ONE,
        deployed_revision=TWO,
        failed_revision=ONE,
        failed_config="abc",
        repaired_at=NOW,
    )
    store.environments.delete(made.slug)
    store.environments.restore(made)
    assert store.environments.get(made.slug) == made


def test_the_tables_hold_every_field_of_their_nouns(store: Store) -> None:
    for table, noun in (("environments", Environment), ("deployments", Deployment)):
        columns = {row["name"] for row in store._database.read(f"PRAGMA table_info({table})")}
        assert columns == {field.name for field in fields(noun)}


def test_every_field_of_an_environment_that_may_change_comes_back_as_it_was_written(store: Store) -> None:
    slug = create(store).slug
    changed = store.environments.update(
        slug,
        wanted=Wanted.ASLEEP,
        pinned=True,
        salt=1,
        request=2,
        fetched=2,
        revision=ONE,
        deployed_revision=ONE,
        deployed_salt=1,
        failed_revision=TWO,
        failed_config="f",
        missing=1,
        repairs=2,
        repaired_at=NOW,
        edited=TWO,
        edited_by="anna",
        edited_files=3,
    )
    assert store.environments.get(slug) == changed
    assert (changed.wanted, changed.pinned, changed.revision, changed.repaired_at) == (Wanted.ASLEEP, True, ONE, NOW)
    assert (changed.edited, changed.edited_by, changed.edited_files) == (TWO, "anna", 3)
    assert store.environments.update(slug, revision=None, edited=None).edited is None


def test_project_and_branch_never_change(store: Store) -> None:
    slug = create(store).slug
    with pytest.raises(TypeError):
        store.environments.update(slug, branch="other")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        store.environments.update(slug)


def test_changing_an_environment_that_is_gone_says_so(store: Store) -> None:
    with pytest.raises(StateError) as caught:
        store.environments.update(Slug("gone"), salt=1)
    assert caught.value.code == "environment-gone"
    store.environments.delete(Slug("gone"))


def test_no_request_for_a_look_is_lost_between_threads(store: Store) -> None:
    slug = create(store).slug
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.environments.ask(slug), range(64)))
    assert store.environments.all()[0].request == 64


def test_eight_threads_never_share_a_slug_or_a_block(store: Store) -> None:
    start = threading.Barrier(8)

    def work(thread: int) -> list[Environment]:
        start.wait()
        return [create(store, f"b{thread}-{n}", slugs=numbered("same")) for n in range(5)]

    with ThreadPoolExecutor(8) as pool:
        made = [environment for some in pool.map(work, range(8)) for environment in some]
    assert len({environment.slug for environment in made}) == 40
    assert {environment.block for environment in made} == set(range(40))


def test_eight_threads_that_ask_for_one_branch_get_one_environment(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: create(store, "main", slugs=numbered(f"main{n}")), range(8)))
    assert len(set(made)) == 1
    assert store.environments.all() == (made[0],)


# --- deployments


def test_a_deployment_comes_back_with_everything_it_learned(store: Store) -> None:
    begun = store.deployments.begin(create(store), cause="asked by anna", caller="slack:U1", now=NOW)
    commit = Commit(revision=ONE, author="Ännä", subject="💡 `rm -rf /`", committed_at=NOW)
    store.deployments.update(
        begun.id,
        phase=Phase.BUILDING,
        revision=ONE,
        commit=commit,
        done=("built web",),
        notices=("port removed",),
        timings={"fetch": 0.25},
    )
    failure = Failure(code="x", message="web exited 1", hint="see", service="web", log_tail=("a", "\x1b[2J"))
    end = NOW + timedelta(seconds=5)
    finished = store.deployments.finish(begun.id, Phase.FAILED, now=end, failure=failure)
    assert store.deployments.get(begun.id) == finished
    assert (finished.commit, finished.failure, finished.seconds) == (commit, failure, 5.0)
    assert (finished.done, finished.notices, finished.timings) == (("built web",), ("port removed",), {"fetch": 0.25})


def test_a_finished_deployment_never_changes(store: Store, path: Path) -> None:
    begun = store.deployments.begin(create(store), cause="c", caller="a", now=NOW)
    finished = store.deployments.finish(begun.id, Phase.READY, now=NOW, url="http://x")
    with pytest.raises(StateError):
        store.deployments.update(begun.id, url="http://y")
    with pytest.raises(StateError):
        store.deployments.finish(begun.id, Phase.FAILED, now=NOW)
    with sqlite3.connect(path) as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute("UPDATE deployments SET url = 'http://y'")
    assert store.deployments.get(begun.id) == finished


def test_work_on_a_superseded_deployment_is_told_to_stop(store: Store) -> None:
    begun = store.deployments.begin(create(store), cause="c", caller="a", now=NOW)
    store.deployments.finish(begun.id, Phase.SUPERSEDED, now=NOW)
    with pytest.raises(CancelledError):
        store.deployments.update(begun.id, phase=Phase.STARTING)
    with pytest.raises(CancelledError):
        store.deployments.finish(begun.id, Phase.READY, now=NOW)


def test_no_row_tells_a_secret(path: Path) -> None:
    """Builds and containers print them, and so do the errors that quote what they printed."""
    secret = 'ca"nary/123'
    store = Store.open(path, redactor=lambda: Redactor([secret]))
    environment = create(store)
    begun = store.deployments.begin(environment, cause=f"repair: {secret}", caller="agent", now=NOW)
    commit = Commit(ONE, f"{secret}", f"Use {secret}", NOW)
    store.deployments.update(begun.id, notices=(secret,), done=(secret,), commit=commit, timings={"build": 1.5})
    failure = Failure("exited", f"no {secret}", secret, "web", (f"key={secret}",))
    ended = store.deployments.finish(begun.id, Phase.FAILED, now=NOW, failure=failure)
    store.events.add("bug", caller="agent", text=secret, now=NOW, data={"traceback": [secret], "seconds": 1.5})
    assert ended.failure == Failure("exited", "no ***", "***", "web", ("key=***",))
    [event] = store.events.list()
    assert (event.text, dict(event.data)) == ("***", {"traceback": ["***"], "seconds": 1.5})
    store.close()
    assert b"nary" not in b"".join(part.read_bytes() for part in path.parent.glob("butai.db*"))


def test_an_environment_has_one_unfinished_deployment_at_most(store: Store) -> None:
    environment = create(store)
    begun = store.deployments.begin(environment, cause="c", caller="a", now=NOW)
    with pytest.raises(StateError):
        store.deployments.begin(environment, cause="c", caller="a", now=NOW)
    assert store.deployments.current(environment.slug) == begun
    store.deployments.finish(begun.id, Phase.SUPERSEDED, now=NOW)
    assert store.deployments.current(environment.slug) is None
    second = store.deployments.begin(environment, cause="c", caller="a", now=NOW)
    assert store.deployments.last(environment.slug) == second
    assert [d.id for d in store.deployments.history(environment.slug, 10)] == [second.id, begun.id]


def test_a_deployment_ends_by_finish_only_and_only_in_a_final_phase(store: Store) -> None:
    begun = store.deployments.begin(create(store), cause="c", caller="a", now=NOW)
    with pytest.raises(ValueError):
        store.deployments.update(begun.id, phase=Phase.READY)
    with pytest.raises(ValueError):
        store.deployments.finish(begun.id, Phase.STARTING, now=NOW)
    with pytest.raises(StateError):
        store.deployments.update(999, url="x")


def test_history_outlives_its_environment(store: Store) -> None:
    environment = create(store)
    begun = store.deployments.begin(environment, cause="c", caller="a", now=NOW)
    store.environments.delete(environment.slug)
    assert store.deployments.get(begun.id) == begun


# --- events, notices, outbox, branches, seen


def test_events_are_read_from_a_place_or_from_the_end(store: Store) -> None:
    ids = [
        store.events.add("asked", slug="ab"[n % 2], caller="unix:anna", text=f"event {n}", now=NOW, data={"n": n})
        for n in range(6)
    ]
    assert [event.id for event in store.events.list(limit=2)] == ids[-2:]
    assert [event.id for event in store.events.list(after=ids[1], limit=2)] == ids[2:4]
    assert [event.data["n"] for event in store.events.list(slug="b")] == [1, 3, 5]
    assert store.events.list(after=ids[-1]) == ()
    assert store.events.list(limit=1)[0].at == NOW


def finished(store: Store, environment: Environment, at: datetime) -> int:
    begun = store.deployments.begin(environment, cause="c", caller="a", now=at)
    return store.deployments.finish(begun.id, Phase.READY, now=at).id


def everything_pruned(store: Store, before: datetime, *, keep: int, most: int) -> None:
    while store.deployments.prune(before, keep=keep, most=most) + store.events.prune(before, keep=keep, most=most):
        pass


def test_old_deployments_go_but_for_the_newest_of_what_is_on_stage_and_what_goes_on(store: Store) -> None:
    live, gone = create(store, "live"), create(store, "gone")
    olds = [finished(store, live, NOW - timedelta(days=90 + days)) for days in (3, 2, 1)]
    of_gone = [finished(store, gone, NOW - timedelta(days=100)), finished(store, gone, NOW)]
    going = store.deployments.begin(create(store, "going"), cause="c", caller="a", now=NOW - timedelta(days=300)).id
    store.environments.delete(gone.slug)
    everything_pruned(store, NOW - timedelta(days=90), keep=2, most=1_000)
    kept = {number for number in (*olds, *of_gone, going) if store.deployments.get(number)}
    assert kept == {*olds[1:], of_gone[1], going}


def test_of_young_deployments_too_many_are_not_kept(store: Store) -> None:
    live = create(store)
    made = [finished(store, live, NOW) for _ in range(9)]
    everything_pruned(store, NOW - timedelta(days=90), keep=2, most=5)
    assert [one.id for one in store.deployments.history(live.slug)] == made[:-6:-1]
    assert finished(store, live, NOW) == made[-1] + 1, "a number is never given twice"


def test_events_go_by_age_and_by_number_but_never_the_newest(store: Store) -> None:
    for days in range(10, 0, -1):
        store.events.add("kind", caller="a", text=str(days), now=NOW - timedelta(days=days))
    everything_pruned(store, NOW - timedelta(days=5), keep=3, most=1_000)
    assert [event.text for event in store.events.list()] == ["5", "4", "3", "2", "1"]
    everything_pruned(store, NOW - timedelta(days=5), keep=3, most=4)
    assert [event.text for event in store.events.list()] == ["4", "3", "2", "1"]
    everything_pruned(store, NOW + timedelta(days=9_999), keep=3, most=1_000)  # a clock that went wrong
    assert [event.text for event in store.events.list()] == ["3", "2", "1"]


def test_an_empty_history_has_nothing_to_lose(store: Store) -> None:
    everything_pruned(store, NOW, keep=1, most=1)
    assert store.events.list() == ()


def test_a_message_that_was_given_up_long_ago_goes(store: Store) -> None:
    for key, days in (("old", 100), ("young", 1), ("waits", 100)):
        store.outbox.put(key, {"text": key}, now=NOW - timedelta(days=days))
    for key in ("old", "young"):
        found = store.outbox.get(key)
        assert found is not None
        store.outbox.drop(found.id, error="channel_not_found")
    assert store.outbox.prune(NOW - timedelta(days=90)) == 1
    assert [key for key in ("old", "young", "waits") if store.outbox.get(key)] == ["young", "waits"]


def test_a_notice_is_open_until_it_is_closed(store: Store) -> None:
    notice = Notice(team="T", channel="C", user="U", response_url="https://hooks.slack.com/x", thread="1.2")
    one = store.notices.open(Slug("main"), notice, request=3, kind="deploy", now=NOW)
    two = store.notices.open(Slug("main"), notice, request=4, kind="destroy", now=NOW)
    store.notices.sent(one, message_ts="17.5", uses=1)
    first, second = store.notices.open_for(Slug("main"))
    assert (first.id, first.notice, first.request, first.kind) == (one, notice, 3, "deploy")
    assert (first.message_ts, first.uses, first.opened_at) == ("17.5", 1, NOW)
    assert (second.id, second.message_ts, second.uses) == (two, "", 0)
    store.notices.close(one)
    assert store.notices.get(one) is None
    assert store.notices.open_for(Slug("main")) == (second,)


def test_only_the_latest_text_under_a_key_leaves(store: Store) -> None:
    store.outbox.put("message:1", {"text": "fetching"}, now=NOW)
    store.outbox.put("message:2", {"text": "other"}, now=NOW)
    store.outbox.put("message:1", {"text": "building"}, now=NOW + timedelta(seconds=1))
    later = NOW + timedelta(seconds=2)
    assert sorted(message.payload["text"] for message in store.outbox.due(later, 10)) == ["building", "other"]


def test_a_text_put_while_the_old_one_is_being_sent_is_not_lost(store: Store) -> None:
    store.outbox.put("k", {"text": "old"}, now=NOW)
    [sending] = store.outbox.due(NOW, 10)
    store.outbox.put("k", {"text": "new"}, now=NOW)
    store.outbox.sent(sending.id)
    [waiting] = store.outbox.due(NOW, 10)
    assert waiting.payload == {"text": "new"}
    store.outbox.sent(waiting.id)
    assert store.outbox.next_at() is None


def test_a_wait_that_the_other_side_asked_for_holds_for_the_next_text_too(store: Store) -> None:
    message = store.outbox.put("k", {"text": "old"}, now=NOW)
    at = NOW + timedelta(seconds=30)
    store.outbox.retry(message, at=at, error="429")
    store.outbox.put("k", {"text": "new"}, now=NOW)
    assert store.outbox.due(NOW, 10) == ()
    assert store.outbox.next_at() == at
    [waiting] = store.outbox.due(at, 10)
    assert (waiting.payload["text"], waiting.attempts, waiting.error) == ("new", 1, "")


def test_a_message_that_was_given_up_says_why_and_is_never_due(store: Store) -> None:
    message = store.outbox.put("k", {"text": "x"}, now=NOW)
    store.outbox.drop(message, error="token_revoked")
    assert store.outbox.due(NOW + timedelta(days=9), 10) == ()
    given_up = store.outbox.get("k")
    assert given_up
    assert given_up.error == "token_revoked"
    store.outbox.put("k", {"text": "y"}, now=NOW)
    assert [waiting.attempts for waiting in store.outbox.due(NOW, 10)] == [0]


def test_the_last_listing_of_branches_replaces_the_one_before(store: Store) -> None:
    assert store.branches.at("shop") is None
    store.branches.replace("shop", {"main": ONE, "日本": TWO}, NOW)
    store.branches.replace("blog", {"main": TWO}, NOW)
    store.branches.replace("shop", {"main": TWO, "new": ONE}, NOW + timedelta(minutes=1))
    store.branches.replace("shop", {"main": TWO, "new": ONE}, NOW + timedelta(minutes=2))
    assert store.branches.of("shop") == {"main": TWO, "new": ONE}
    assert store.branches.at("shop") == NOW + timedelta(minutes=2)
    assert store.branches.of("blog") == {"main": TWO}


def test_a_request_is_new_only_once_until_it_is_forgotten(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: store.seen.remember("d", NOW), range(8)))
    assert sorted(answers) == [False] * 7 + [True]
    assert not store.seen.remember("d", NOW + timedelta(seconds=599))
    assert store.seen.remember("d", NOW + timedelta(seconds=600))


# --- the file


def test_a_failed_transaction_leaves_nothing_behind(store: Store) -> None:
    def fail_halfway() -> None:
        with store.transaction():
            create(store)
            store.events.add("asked", caller="a", text="t", now=NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert (store.environments.all(), store.events.list()) == ((), ())
    create(store)


def test_what_need_not_be_flushed_leaves_the_next_write_as_durable_as_ever(store: Store) -> None:
    def level() -> int:
        return int(store._database.read("PRAGMA synchronous")[0][0])

    with store.transaction(durable=False):
        assert level() == 1
        with store.transaction():
            assert level() == 1
    assert level() == 2
    with pytest.raises(ZeroDivisionError), store.transaction(durable=False):
        1 / 0  # noqa: B018
    assert level() == 2
    with store.transaction():
        assert store.seen.remember("inside another", NOW)
        assert level() == 2


def test_a_transaction_in_another_thread_is_not_seen_before_its_end(store: Store) -> None:
    with ThreadPoolExecutor(1) as other, store.transaction():
        create(store)
        assert other.submit(store.environments.all).result() == ()
    assert len(store.environments.all()) == 1


@pytest.mark.parametrize("holder", ["thread", "process"])
def test_a_lock_that_somebody_keeps_is_an_outside_error_and_not_a_hang(
    store: Store, path: Path, holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.store.database._BUSY_TIMEOUT_S", 0.1)
    other = store if holder == "thread" else Store.open(path)
    with ThreadPoolExecutor(1) as pool, other.transaction():
        failed = pool.submit(create, store).exception()
    assert isinstance(failed, OutsideError)
    assert "cannot be used" in failed.message
    create(store)


KILLED_IN_TRANSACTION = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from agent.store import Store
store = Store.open(Path(sys.argv[1]))
now = datetime.now(UTC)
store.events.add("before", caller="a", text="t", now=now)
with store.transaction():
    for _ in range(5000):
        store.events.add("never", caller="a", text="t" * 100, now=now)
    print("now", flush=True)
    sys.stdin.read()
"""


def test_kill_9_in_mid_transaction_keeps_what_was_committed_and_nothing_else(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_IN_TRANSACTION, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == b"now\n"
        os.kill(child.pid, signal.SIGKILL)
    store = Store.open(path)
    assert [event.kind for event in store.events.list()] == ["before"]
    create(store)
    store.close()


def test_a_database_of_a_newer_agent_is_refused_and_left_alone(store: Store, path: Path) -> None:
    create(store)
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StateError) as caught:
        Store.open(path)
    assert caught.value.code == "database-newer"
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)


def test_a_migration_that_fails_is_undone_whole_and_can_run_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (*MIGRATIONS, ("CREATE TABLE half (x TEXT)", "INSERT INTO nowhere VALUES (1)"))
    monkeypatch.setattr("agent.store.database.MIGRATIONS", broken)
    with pytest.raises(StateError):
        Store.open(path)
    with sqlite3.connect(path) as raw:
        tables = {row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "half" not in tables
        assert raw.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    monkeypatch.setattr("agent.store.database.MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE half (x TEXT)",)))
    store = Store.open(path)
    create(store)
    store.close()


def test_two_agents_that_start_at_once_migrate_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for store in pool.map(lambda _: Store.open(path), range(8)):
            store.close()


@pytest.mark.parametrize("damage", ["rubbish", "pages"])
def test_a_damaged_database_is_refused_with_the_command_that_repairs_it(store: Store, path: Path, damage: str) -> None:
    for number in range(200):
        store.events.add("k", caller="a", text="t" * 500, now=NOW, data={"n": number})
    store.close()
    if damage == "rubbish":
        path.write_bytes(b"not a database" * 1000)
    else:
        content = bytearray(path.read_bytes())
        content[4096:] = os.urandom(len(content) - 4096)
        path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        Store.open(path)
    assert caught.value.code == "database-damaged"
    assert "rebuild-database" in caught.value.hint


def test_a_directory_that_is_missing_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutsideError) as caught:
        Store.open(tmp_path / "nowhere" / "butai.db")
    assert "nowhere" in caught.value.message


def test_a_full_database_is_nobodys_fault_and_keeps_what_it_has(store: Store) -> None:
    store.events.add("before", caller="a", text="t", now=NOW)
    store._database.read("PRAGMA max_page_count = 40")
    with pytest.raises(OutsideError) as caught:
        store.events.add("k", caller="a", text="t" * 4096 * 50, now=NOW)
    assert "full" in caught.value.message
    store._database.read("PRAGMA max_page_count = 100000")
    assert store.events.list(after=0, limit=9999)[0].kind == "before"
    create(store)


def test_the_file_is_readable_by_the_agent_alone(store: Store, path: Path) -> None:
    create(store)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("butai.db*")}
    assert modes == {0o600}


def test_every_commit_is_durable_and_every_thread_checks_foreign_keys(store: Store) -> None:
    def settings() -> tuple[object, ...]:
        return tuple(
            store._database.read(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")
        )

    with ThreadPoolExecutor(1) as other:
        assert settings() == other.submit(settings).result() == ("wal", 2, 1)


def test_connections_of_ended_threads_are_closed(store: Store) -> None:
    for _ in range(20):
        thread = threading.Thread(target=store.environments.all)
        thread.start()
        thread.join()
    gc.collect()  # a connection and its cache of statements refer to each other
    assert len(list(store._database._connections)) <= 2


def test_times_without_a_zone_are_refused_and_others_are_kept_in_utc(store: Store) -> None:
    with pytest.raises(ValueError):
        store.events.add("k", caller="a", text="t", now=datetime(2026, 1, 1))  # noqa: DTZ001
    tokyo = datetime.fromisoformat("2026-01-01T09:00:00+09:00")
    store.events.add("k", caller="a", text="t", now=tokyo)
    assert store.events.list()[0].at.isoformat() == "2026-01-01T00:00:00+00:00"


# -- copies --------------------------------------------------------------------------------------------------------


def test_a_copy_holds_what_was_there_and_only_its_owner_may_read_it(store: Store, tmp_path: Path) -> None:
    create(store, "main")
    old_umask = os.umask(0)
    try:
        store.copy_to(tmp_path / "copy.db")
    finally:
        os.umask(old_umask)
    create(store, "later")
    copy = tmp_path / "copy.db"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir() if "copy" in path.name} == {"copy.db"}
    restored = Store.open(copy)
    assert [each.branch for each in restored.environments.all()] == ["main"]
    restored.close()


def test_a_copy_is_whole_while_others_write_and_holds_none_of_them_up(store: Store, tmp_path: Path) -> None:
    environment = create(store)
    stop = threading.Event()
    written = count()

    def write() -> None:
        while not stop.is_set():
            with store.transaction(durable=False):  # both or neither
                store.environments.update(environment.slug, repairs=(number := next(written)))
                store.environments.update(environment.slug, missing=number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(20):
            store.copy_to(tmp_path / f"{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(20):
        [row] = sqlite3.connect(tmp_path / f"{number}.db").execute("SELECT repairs, missing FROM environments")
        assert row[0] == row[1]
    assert next(written) > 20


def test_a_copy_that_cannot_be_written_leaves_the_one_before(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.copy_to(tmp_path / "copy.db")
    before = (tmp_path / "copy.db").read_bytes()
    create(store)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutsideError, match=r"copy\.db: No space left on device") as caught:
        store.copy_to(tmp_path / "copy.db")
    assert caught.value.hint
    assert (tmp_path / "copy.db").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(OutsideError, match="nowhere"):
        store.copy_to(tmp_path / "nowhere" / "copy.db")


def test_a_file_that_somebody_laid_ready_does_not_get_the_copy(store: Store, tmp_path: Path) -> None:
    """Whoever made it could read it, whatever its mode becomes."""
    ready = tmp_path / ".copy.db.new"
    with ready.open("w+b") as theirs:
        store.copy_to(tmp_path / "copy.db")
        assert theirs.read() == b""
    Store.open(tmp_path / "copy.db").close()


def test_a_link_in_the_place_of_a_copy_leads_nowhere(store: Store, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "copy.db").symlink_to(victim)
    (tmp_path / ".copy.db.new").symlink_to(victim)
    store.copy_to(tmp_path / "copy.db")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "copy.db").is_symlink()


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no database"):
        Store.existing(tmp_path / "butai.db")
    assert not list(tmp_path.iterdir())
