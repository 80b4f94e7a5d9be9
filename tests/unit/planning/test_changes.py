"""What a decision carries beside its text, and what a model that is read again adds to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model.change import Action, FileSync
from agent.model.release import ServiceSpec
from agent.planning.changes import decide, reread
from tests.support.changing import API, DB, DEV, FILE, NODE, PHP, PROGRAM, WEB, built, change, facts, rule, stack


def files(*texts: str, of: ServiceSpec) -> tuple[FileSync, ...]:
    return decide([change(text) for text in texts], stack(of), facts(*texts)).verdict(of.name).files


def test_deletions_come_first_and_every_file_knows_its_place_and_mode() -> None:
    added, deleted, mode = change("A app/a/b.py"), change("D app/old.py"), change("x app/run")
    assert files("A app/a/b.py", "D app/old.py", "x app/run", of=WEB) == (
        FileSync(deleted.path, "/srv/app/old.py", "", ""),
        FileSync(added.path, "/srv/app/a/b.py", FILE, added.blob),
        FileSync(mode.path, "/srv/app/run", PROGRAM, mode.blob),
    )


@pytest.mark.parametrize(
    ("text", "path", "target"),
    [
        ("sync ./a.json -> /srv/b.json", "a.json", "/srv/b.json"),
        ("sync ./a.json -> /srv/", "a.json", "/srv/a.json"),
        ("sync ./a -> /srv/", "a/x", "/srv/x"),
        ("sync ./a -> /", "a/x", "/x"),
        ("sync . -> /srv", "a/x", "/srv/a/x"),
    ],
)
def test_a_path_goes_below_the_target_as_it_lies_below_the_rules_path(text: str, path: str, target: str) -> None:
    (copied,) = files(f"M {path}", of=built("web", rule(text)))
    assert copied.target == target


def test_a_rebuild_carries_no_files_and_remembers_that_a_restart_was_asked_for() -> None:
    verdict = decide(map(change, ["M motd", "M app/a", "M css/a"]), stack(WEB), facts()).verdict("web")
    assert (verdict.action, verdict.files, verdict.execs, verdict.restart) == (Action.REBUILD, (), (), True)


def test_what_nobody_sees_yet_is_to_be_built_when_there_is_time() -> None:
    synced = decide([change("M app/a")], stack(WEB), facts())
    assert synced.verdict("web").behind
    covered = decide([change("M src/a")], stack(DEV), facts(dockerfiles={"dev": NODE}))
    assert covered.verdict("dev").behind
    unread = decide([change("M src/a")], stack(DEV), facts(dockerfiles={"dev": "FROM a"}))
    assert not unread.verdict("dev").behind
    rebuilt = decide([change("M x")], stack(WEB), facts())
    assert not rebuilt.verdict("web").behind


def test_the_summary_says_what_was_done() -> None:
    texts = ["M app/a", "M config/b", "M api/x", "M php.ini"]
    web = replace(WEB, build=replace(WEB.build, context="web"))  # type: ignore[type-var]
    decision = decide(map(change, texts), stack(web, API, DB, PHP), facts())
    assert decision.summary == "synced 2 files to web and restarted it, rebuilt api, recreated php"
    assert decision.verdict("db").summary == "nothing for db"
    assert decide([], stack(WEB), facts()).summary == "nothing to do"
    assert decide([change("M .env")], stack(API), facts()).summary == "the compose model is read again"


@pytest.mark.parametrize(
    ("before", "after", "plan"),
    [
        ((API,), (API, DB), "recreate db\n  it is new"),
        ((API,), (API, WEB), "rebuild web\n  .env: left out by .dockerignore\n  it is new"),
        ((DB,), (replace(DB, config_hash="other"),), "recreate db\n  its configuration changed"),
        ((DB, PHP), (DB,), "nothing to do"),
        (
            (DEV,),
            (replace(DEV, binds=()),),
            "rebuild dev\n  .env: left out by .dockerignore\n  other parts of its image are seen now",
        ),
        (
            (DB,),
            (replace(DB, binds=(), config_hash="x"),),
            "recreate db\n  its configuration changed",
        ),
        ((API,), (built("api", context="api", build={"args": {"A": "2"}}),), "rebuild api\n  its `build:` changed"),
        ((DB,), (DB,), "nothing to do"),
    ],
)
def test_a_model_that_was_read_again_replaces_only_what_changed(
    before: tuple[ServiceSpec, ...], after: tuple[ServiceSpec, ...], plan: str
) -> None:
    assert str(reread([change("M .env")], stack(*before), stack(*after), facts(dockerignore=".env"))) == plan
