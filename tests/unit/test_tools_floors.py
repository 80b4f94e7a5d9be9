"""The result of `make test` must be a failure whenever something failed or was never run."""

from pathlib import Path

import pytest

from tools.console import SetupError
from tools.floors import NO_TESTS_COLLECTED, PARTS, Result, chosen, closing_line, existing, in_turn, parts_of, whole


def test_floors_run_from_the_lowest_and_only_where_there_are_tests(tmp_path: Path) -> None:
    for floor in ("e2e", "unit", "faults"):
        (tmp_path / "tests" / floor).mkdir(parents=True)
    (tmp_path / "tests" / "e2e" / "test_a.py").touch()
    (tmp_path / "tests" / "unit" / "deep").mkdir()
    (tmp_path / "tests" / "unit" / "deep" / "test_b.py").touch()
    assert existing(tmp_path) == ("unit", "e2e")


def test_floors_are_chosen_by_name_and_keep_their_order() -> None:
    assert chosen("", ("unit", "e2e")) == ("unit", "e2e")
    assert chosen("e2e, unit", ("unit", "contract", "e2e")) == ("unit", "e2e")


def test_the_longest_floors_begin_first_and_the_others_follow_from_the_lowest() -> None:
    assert in_turn(("unit", "integration", "faults", "e2e")) == ("e2e", "faults", "integration", "unit")
    assert in_turn(()) == ()


def test_a_floor_in_parts_has_every_file_in_one_of_them_and_no_part_is_empty(tmp_path: Path) -> None:
    names = [f"tests/e2e/test_{letter}.py" for letter in "abc"]
    (tmp_path / "tests" / "e2e").mkdir(parents=True)
    for count, name in enumerate(names, start=1):
        (tmp_path / name).touch()
        parts = parts_of("e2e", tmp_path)
        assert sorted(file for part in parts for file in part) == names[:count]
        assert len(parts) == min(count, PARTS["e2e"])
    assert parts_of("unit", tmp_path) == (("tests/unit",),)


def test_a_floor_in_parts_is_as_good_as_its_worst_part() -> None:
    good, none = Result("e2e", 0, passed=3, seconds=2.0), Result("e2e", NO_TESTS_COLLECTED, seconds=1.0)
    bad = Result("e2e", 1, passed=1, failed=2, skipped=1, seconds=4.0)
    assert whole([good, bad]) == Result("e2e", 1, passed=4, failed=2, skipped=1, seconds=4.0)
    assert whole([none, good]) == good
    assert whole([none, none]).status == NO_TESTS_COLLECTED
    assert whole([Result("e2e", -9), good]).status == -9


def test_an_unknown_floor_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(SetupError, match="no floor is called attic; there are unit, e2e"):
        chosen("attic", ("unit", "e2e"))


@pytest.mark.parametrize(
    ("result", "in_ci", "narrowed", "problem"),
    [
        (Result("unit", 0, passed=3), True, False, None),
        (Result("unit", 0, passed=3, skipped=1), True, False, None),
        (Result("unit", 1, passed=3, failed=1), False, False, "1 failed"),
        (Result("unit", 3), False, False, "pytest ended with status 3"),
        (Result("unit", -9), False, True, "pytest ended with status -9"),
        (Result("e2e", 0, skipped=4), True, False, "ran no test, which is a failure in CI"),
        (Result("e2e", 0, skipped=4), False, False, None),
        (Result("e2e", NO_TESTS_COLLECTED), False, False, "has no tests"),
        (Result("e2e", NO_TESTS_COLLECTED), False, True, None),
    ],
)
def test_a_floor_that_failed_or_ran_nothing_in_ci_is_a_problem(
    result: Result, in_ci: bool, narrowed: bool, problem: str | None
) -> None:
    assert result.problem(in_ci=in_ci, narrowed=narrowed) == problem


def test_the_closing_line_adds_up_all_floors() -> None:
    results = [Result("unit", 0, passed=3, seconds=1.5), Result("e2e", 1, passed=1, failed=2, skipped=1, seconds=2)]
    assert closing_line(results, 2.25).strip("= ") == "2 failed, 4 passed, 1 skipped in 2.25s"
    assert closing_line([], 0).strip("= ") == "no tests ran in 0.00s"
