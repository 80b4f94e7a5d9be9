"""What is remembered of a container that was brought up to date, and of one that was not, on a real store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from agent.errors import DeployError, NeedsRebuild, OutsideError
from agent.model.change import Action, Decision, FileSync, Verdict
from agent.model.release import ExecHook, WatchAction, WatchRule
from agent.model.sync import FileContent, SyncReport
from agent.planning.identity import current
from agent.planning.update import Way, moves
from agent.runtime.cancel import CancelToken
from agent.runtime.livesync import Livesync
from agent.runtime.ports import Cancel, Engine, Git
from agent.store.synced import MIXED
from tests.support.changing import built
from tests.support.desk import Desk
from tests.support.plans import R1, R2, container, observed, release, service

WEB = service("web", watch=(WatchRule("app", WatchAction.SYNC, target="/srv"),))
HOOK = ExecHook(("npm", "run", "css"))
COPY = Verdict("web", Action.SYNC, files=(FileSync("app/a.py", "/srv/a.py", "100644", "b" * 40),), execs=(HOOK,))


@dataclass
class Containers:
    """`put` is which container got how many files, in order; `status` is what every command ends with."""

    status: int = 0
    refusal: Exception | None = None
    put: list[tuple[str, int]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def delta(self, base: str, files: Iterable[FileContent], *, tag: str, cancel: Cancel, timeout_s: float) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.made.append(f"{base} + {len(tuple(files))} file = {tag}")
        return "sha-delta"

    def sync(self, container: str, files: Iterable[FileContent]) -> SyncReport:
        if self.refusal is not None:
            raise self.refusal
        self.put.append((container, len(tuple(files))))
        return SyncReport()

    def execute(self, container: str, hook: ExecHook) -> tuple[int, list[str]]:
        return self.status, ["css/a.scss: line 3"]

    def blobs(self, project: str, ids: Iterable[str], *, limit: int) -> Mapping[str, bytes]:
        return dict.fromkeys(ids, b"new")


def livesync(desk: Desk, containers: Containers) -> Livesync:
    world = cast("Engine", containers)
    git = cast("Git", containers)
    return Livesync(git=git, engine=world, store=desk.store, attempts=desk.attempts, clock=desk.clock)


def test_what_a_container_was_brought_up_to_is_remembered(desk: Desk) -> None:
    environment, containers = desk.live(), Containers()
    said = livesync(desk, containers).apply(environment, WEB, COPY, ["web-1"], revision=R2)
    assert said == "synced 1 file to web and ran `npm run css`"
    assert containers.put == [("web-1", 1)]
    assert desk.store.synced.of(environment.slug) == {"web-1": R2}


def test_a_container_that_cannot_take_the_files_is_left_to_a_build(desk: Desk) -> None:
    environment = desk.live()
    subject = livesync(desk, Containers(refusal=NeedsRebuild("It is read-only.")))
    assert subject.apply(environment, WEB, COPY, ["web-1"], revision=R2) == ""
    assert subject.unfit(environment.slug, R2) == {"web"}
    assert desk.store.synced.of(environment.slug) == {"web-1": MIXED}


def test_an_image_that_cannot_take_the_files_is_left_to_a_build(desk: Desk) -> None:
    environment, containers = desk.live(), Containers()
    subject = livesync(desk, containers)
    subject.delta(environment, COPY, "web:1", "web:2-delta", revision=R2, cancel=CancelToken())
    assert containers.made == ["web:1 + 1 file = web:2-delta"]
    assert not subject.unfit(environment.slug, R2)
    subject = livesync(desk, Containers(refusal=NeedsRebuild("It has triggers.")))
    subject.delta(environment, COPY, "web:1", "web:2-delta", revision=R2, cancel=CancelToken())
    assert subject.unfit(environment.slug, R2) == {"web"}


def test_a_container_that_went_away_meanwhile_may_hold_anything(desk: Desk) -> None:
    environment = desk.live()
    with pytest.raises(OutsideError):
        livesync(desk, Containers(refusal=OutsideError("gone"))).apply(environment, WEB, COPY, ["web-1"], revision=R2)
    assert desk.store.synced.of(environment.slug) == {"web-1": MIXED}


def test_after_a_command_failed_the_container_holds_neither_revision(desk: Desk) -> None:
    """It is not what served before, and to do the same once more must run the command again.

    The next push may take back what was copied: its differences from what serves would say that there is nothing to do.
    """
    environment = desk.live()
    with pytest.raises(DeployError, match="ended with status 2") as caught:
        livesync(desk, Containers(status=2)).apply(environment, WEB, COPY, ["web-1"], revision=R2)
    assert caught.value.log_tail == ("css/a.scss: line 3",)
    assert desk.store.synced.of(environment.slug) == {"web-1": MIXED}


def test_what_holds_files_of_two_revisions_is_current_for_none_and_nothing_is_copied_to_it() -> None:
    web = built("web")
    before, after = release(web), release(web, revision=R2)
    files_of = {"web-1": R1}
    world = observed(after, container(web), previous=before, decision=Decision((COPY,)), images={}, synced=files_of)
    mixed = replace(world, synced={"web-1": MIXED})
    assert [move.way for move in moves(after, world)] == [Way.IN_PLACE]
    assert [move.way for move in moves(after, mixed)] == [Way.IMAGE]
    assert not current(web, mixed)
    assert not current(web, replace(mixed, release=before))


def test_only_running_containers_whose_rules_copy_files_are_warmed_and_trouble_is_for_later(desk: Desk) -> None:
    plain = service("db")
    found = (container(WEB), container(plain), container(WEB, "exited", number=2))
    containers = Containers()
    livesync(desk, containers).warm(release(WEB, plain), found)
    assert containers.put == [("web-1", 0)]
    livesync(desk, Containers(refusal=OutsideError("gone"))).warm(release(WEB, plain), found)
