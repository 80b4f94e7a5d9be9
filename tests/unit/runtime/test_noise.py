"""What git ignores is found out once and then costs nothing; what decides about folders is never passed over."""

from __future__ import annotations

from agent.runtime.noise import Noise


def noise(*folders: str) -> Noise:
    made = Noise()
    made.learn(("", *folders))
    return made


def test_a_worktree_is_learnt_before_it_is_listened_to() -> None:
    assert Noise().is_stale
    assert not noise().is_stale


def test_a_worktree_that_had_no_folders_yet_is_learnt_again() -> None:
    here = Noise()
    here.learn(())
    assert here.is_stale


def test_what_was_ignored_is_heard_again_when_that_may_be_something_else() -> None:
    here = noise("src")
    here.ignore(["src/cache"])
    here.forget()
    assert here.is_stale
    assert here.hears("src/cache", is_folder=False)


def test_a_file_is_heard_and_changes_nothing_about_the_folders() -> None:
    here = noise("src")
    assert here.hears("src/app.py", is_folder=False)
    assert not here.is_stale


def test_a_folder_that_comes_or_goes_or_is_another_one_now_is_learnt_again() -> None:
    for path, is_folder in (("new", True), ("src", False), ("src", True)):
        here = noise("src")
        assert here.hears(path, is_folder=is_folder)
        assert here.is_stale, (path, is_folder)


def test_what_is_ignored_is_not_heard_again_nor_what_lies_below_it() -> None:
    here = noise()
    here.ignore(["cache", "app.log"])
    assert not here.hears("app.log", is_folder=False)
    assert not here.hears("cache/a/b", is_folder=False)
    assert not here.hears("cache", is_folder=True)
    assert not here.is_stale
    assert here.hears("cached", is_folder=False)


def test_the_link_to_the_repository_is_never_an_edit() -> None:
    assert not noise().hears(".git", is_folder=False)


def test_another_gitignore_means_that_everything_is_learnt_again() -> None:
    here = noise("web")
    here.ignore(["cache"])
    assert here.hears("web/.gitignore", is_folder=False)
    assert here.is_stale
    assert here.hears("cache/x", is_folder=False)


def test_a_path_is_asked_about_with_the_folders_it_is_in() -> None:
    assert noise().unknown(["a/b/c", "a/d"]) == ("a", "a/b", "a/b/c", "a/d")
