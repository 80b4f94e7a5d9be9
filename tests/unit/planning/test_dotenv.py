"""A `.env` means here what it means to Compose, and never steers a program."""

from __future__ import annotations

import pytest

from agent.planning.dotenv import Unset, parse, steers, substitute


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB=two words # comment\n", {"A": "1", "B": "two words"}),
        ("export A = 1\n  B: 2\n", {"A": "1", "B": "2"}),
        ("A=\nB=#c\nC=a#b\n", {"A": "", "B": "", "C": "a#b"}),
        ("A='$X \\n # not a comment'\n", {"A": "$X \\n # not a comment"}),
        ('A="a\\nb\\"c\\\\ \\$X"\n', {"A": 'a\nb"c\\ $X'}),
        ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
        ("A=1\nB=${A}-$A-${X:-x}\n", {"A": "1", "B": "1-1-x"}),
        ("G=$GIVEN\n", {"G": "given"}),
        ("# A=1\n\nBARE\n=x\n", {}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ],
)
def test_values_are_read_as_compose_reads_them(text: str, expected: dict[str, str]) -> None:
    assert parse(text, {"GIVEN": "given"}) == expected


def test_an_error_says_its_line() -> None:
    with pytest.raises(Unset, match="line 2: a quoted value has no closing quote"):
        parse('A=1\nB="open\n', {})


@pytest.mark.parametrize("name", ["COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "DOCKER_HOST", "PATH", "LD_PRELOAD", "HOME"])
def test_variables_that_steer_programs_are_told_from_others(name: str) -> None:
    assert steers(name)
    assert not steers(f"MY_{name}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a$A-${A}b", "a1-1b"),
        ("$$A $ $1", "$A $ $1"),
        ("${E-x}|${E:-x}|${N-x}|${N:-x}", "|x|x|x"),
        ("${A+y}|${E+y}|${E:+y}|${N+y}", "y|y||"),
        ("${N:-${A}}", "1"),
        ("${A:?must be set}", "1"),
    ],
)
def test_substitutions_are_those_of_compose(text: str, expected: str) -> None:
    assert substitute(text, {"A": "1", "E": ""}) == expected


@pytest.mark.parametrize("text", ["${N:?must be set}", "${N?}", "${A", "${}", "${A!x}"])
def test_what_cannot_be_substituted_is_an_error(text: str) -> None:
    with pytest.raises(Unset):
        substitute(text, {"A": "1"})
