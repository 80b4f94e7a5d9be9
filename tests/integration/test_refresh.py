"""What a fetch of the real git writes down, and that a wish which came while it ran is not overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters.git import GitMirrors
from agent.adapters.slack import Slack
from agent.errors import DeployError
from agent.model.deployment import Phase
from agent.model.environment import Environment
from agent.model.names import Revision, Slug
from agent.runtime.notifier import Notifier
from agent.runtime.refresh import Refresher
from tests.support.desk import ANNA, BROKEN, Desk
from tests.support.desk import desk as build
from tests.support.gitworld import GitWorld, git_world


class Interrupted(GitMirrors):
    """The real git, and somebody who asks for something in the middle of a fetch."""

    meanwhile: list[str]

    def fetch(self, project: str, branch: str) -> Revision | None:
        found = super().fetch(project, branch)
        for wish in self.meanwhile:
            getattr(self.desk.operations, wish)(self.desk.store.environments.all()[0].slug, caller=ANNA)
        self.meanwhile.clear()
        return found

    desk: Desk


class Scene:
    def __init__(self, world: GitWorld, desk: Desk) -> None:
        self.world, self.desk = world, desk
        self.git = Interrupted(lambda: world.settings, reclaim=None)
        self.git.desk, self.git.meanwhile = desk, []
        notifier = Notifier(
            store=desk.store, slack=Slack(lambda: desk.settings), settings=lambda: desk.settings, clock=desk.clock
        )
        self.poked: list[str] = []
        self.refresher = Refresher(
            git=self.git, store=desk.store, clock=desk.clock, notifier=notifier, poke=self.poked.append
        )

    def refresh(self, environment: Environment) -> bool:
        return self.refresher.refresh(environment.slug)

    def on_stage(self) -> Environment:
        environment = self.desk.deploy("main")
        assert self.refresh(environment)
        self.desk.record.live(self.desk.row(environment), self.desk.current(environment))
        return self.desk.row(environment)


@pytest.fixture(name="scene")
def scene_fixture(tmp_path: Path) -> Iterator[Scene]:
    with git_world() as world:
        desk = build(tmp_path)
        yield Scene(world, desk)
        desk.store.close()


def test_the_first_fetch_gives_the_request_its_revision(scene: Scene) -> None:
    environment = scene.desk.deploy("main")
    assert scene.refresh(environment)
    current = scene.desk.current(environment)
    assert current.revision == scene.world.repository.head()
    assert current.commit is not None
    assert current.cause == "asked by unix:anna"
    assert not scene.desk.row(environment).needs_fetch


def test_a_push_begins_a_deployment_and_supersedes_an_older_one(scene: Scene) -> None:
    environment = scene.on_stage()
    heads = [scene.world.repository.commit("main", {"a": text}) for text in "xy"]
    scene.desk.operations.push("shop", "main", deleted=False, caller="github")
    scene.world.repository.point("refs/heads/main", heads[0])
    assert scene.refresh(environment)
    first = scene.desk.current(environment)
    assert first.cause.startswith("push of ")

    scene.world.repository.point("refs/heads/main", heads[1])
    assert scene.refresh(environment)

    assert scene.desk.current(environment).revision == heads[1]
    superseded = scene.desk.store.deployments.get(first.id)
    assert superseded is not None
    assert superseded.phase is Phase.SUPERSEDED


def test_a_hint_without_news_begins_nothing(scene: Scene) -> None:
    environment = scene.on_stage()
    scene.desk.operations.push("shop", "main", deleted=False, caller="github")
    assert not scene.refresh(environment)
    assert scene.desk.store.deployments.current(environment.slug) is None
    assert not scene.desk.row(environment).needs_fetch


@pytest.mark.parametrize("wish", ["sleep", "destroy"])
def test_a_push_that_arrives_while_somebody_ends_the_environment_begins_nothing(scene: Scene, wish: str) -> None:
    """A deployment of something that sleeps would be called ready without ever having run."""
    environment = scene.on_stage()
    scene.world.repository.commit("main", {"a": "x"})
    scene.desk.operations.push("shop", "main", deleted=False, caller="github")
    scene.git.meanwhile = [wish]

    assert not scene.refresh(environment)

    assert scene.desk.store.deployments.current(environment.slug) is None
    assert scene.desk.row(environment).needs_fetch, "it is fetched when it is woken"


def test_a_request_that_came_during_a_fetch_is_fetched_again(scene: Scene) -> None:
    environment = scene.on_stage()
    scene.git.meanwhile = ["redeploy"]
    scene.refresh(environment)
    assert scene.desk.row(environment).needs_fetch


def test_a_branch_that_never_was_is_refused_with_the_nearest(scene: Scene) -> None:
    environment = scene.desk.deploy("mian")
    with pytest.raises(DeployError) as refused:
        scene.refresh(environment)
    assert refused.value.code == "no-such-branch"
    assert "`main`" in refused.value.hint


def test_a_branch_that_went_is_left_to_the_poller(scene: Scene) -> None:
    environment = scene.on_stage()
    scene.world.repository.point("refs/heads/other", scene.world.repository.head())
    scene.world.repository.delete("main")
    scene.desk.operations.push("shop", "main", deleted=False, caller="github")
    assert not scene.refresh(environment)
    assert scene.poked == ["shop"]
    assert scene.desk.row(environment).revision == environment.revision


def test_a_push_while_a_failed_one_goes_back_takes_its_place(scene: Scene) -> None:
    environment = scene.on_stage()
    scene.world.repository.commit("main", {"a": "broken"})
    scene.refresh(environment)
    scene.desk.fails(environment, BROKEN)
    fixed = scene.world.repository.commit("main", {"a": "fixed"})

    assert scene.refresh(environment)

    current = scene.desk.current(environment)
    assert (current.revision, current.failure) == (fixed, None)


EDITED = Revision("e" * 40)


def test_a_push_takes_the_place_of_what_was_edited_on_the_host(scene: Scene) -> None:
    environment = scene.on_stage()
    scene.desk.store.environments.update(environment.slug, edited=EDITED, edited_by="anna", edited_files=2)
    pushed = scene.world.repository.commit("main", {"a": "pushed"})

    assert scene.refresh(environment)

    row = scene.desk.row(environment)
    assert (row.edited, row.edited_by, row.edited_files) == (None, "", 0)
    assert row.target("") == scene.desk.current(environment).revision == pushed


def test_a_look_at_the_remote_without_news_keeps_what_was_edited_on_the_host(scene: Scene) -> None:
    environment = scene.on_stage()
    folder = scene.world.checkout()
    (folder / "src/app.py").write_text("edited")
    head = scene.desk.row(environment).revision
    assert head is not None
    edit = scene.world.git.snapshot("shop", Slug("main"), head, apart=(), user="anna")
    assert edit is not None
    scene.desk.store.environments.update(environment.slug, edited=edit.revision, edited_by="anna", edited_files=1)

    again = scene.desk.deploy("main")
    assert not scene.refresh(again)

    assert scene.desk.row(environment).edited == edit.revision
    current = scene.desk.current(environment)
    assert current.revision == edit.revision
    assert current.commit is not None
    assert current.commit.author == "anna"


def test_an_edit_that_went_away_with_its_mirror_gives_way_to_the_branch(scene: Scene) -> None:
    """No remote has it: to wait for it would be to wait for ever."""
    environment = scene.on_stage()
    scene.desk.store.environments.update(environment.slug, edited=EDITED, edited_by="anna", edited_files=2)

    assert not scene.refresh(scene.desk.deploy("main"))

    row = scene.desk.row(environment)
    assert (row.edited, row.edited_by) == (None, "")
    assert row.target("") == row.revision
