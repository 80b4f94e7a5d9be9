"""An edit in a few words, and what it means for what is wanted."""

from __future__ import annotations

import os

import pytest

from agent.model.edit import described
from tests.support.plans import R1, R2, environment


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("app.py",), "app.py"),
        (("src/app.py",), "app.py"),
        (("a/one", "two", "three"), "one and 2 more"),
        ((), "nothing"),
    ],
)
def test_an_edit_is_described_by_its_first_file(files: tuple[str, ...], words: str) -> None:
    assert described(files) == words


def test_an_edit_is_what_is_wanted_while_there_is_one() -> None:
    assert environment(revision=R1).target("c") == R1
    assert environment(revision=R1, edited=R2).target("c") == R2


def test_an_edit_that_failed_gives_way_to_the_last_good_one_and_a_failed_push_does_not_hold_it_up() -> None:
    assert environment(revision=R1, deployed_revision=R1, edited=R2, failed_revision=R2, failed_config="c").target(
        "c"
    ) == (R1)
    assert environment(revision=R1, edited=R2, failed_revision=R1, failed_config="c").target("c") == R2


def test_a_name_that_is_no_text_is_described_by_text() -> None:
    described((os.fsdecode(b"src/caf\xe9.py"),)).encode()
