"""Documents are checked like code: they hold what they promise, and one that does not is found out."""

from pathlib import Path

import pytest

from tools import docs_check

PAGE = docs_check.ROOT / "README.md"
COMMANDS = frozenset({"demo", "test"})


def test_the_documents_hold_what_they_promise() -> None:
    assert docs_check.main() == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[there](docs/nowhere.md)", "the link docs/nowhere.md leads nowhere"),
        ("[there](CHANGELOG.md#nothing-of-it)", "the link CHANGELOG.md#nothing-of-it names no heading there"),
        ("Say `make everything`.", "there is no `make everything`"),
        ("Say `butai deplyo main`.", "there is no `butai deplyo`"),
        ("Say `/butai deplyo main`.", "there is no `/butai deplyo`"),
        ("`butai deploy main --forever`", "`butai deploy` has no option --forever"),
        ("```\n$ sudo butai --config x.toml logs main --lines 5\n```", "`butai logs` has no option --lines"),
        ("Raise `limits.builders`.", "there is no setting `limits.builders`"),
        ("See `projects.shop.allow.everything`.", "there is no setting `projects.shop.allow.everything`"),
        ("See `allow.everything`.", "there is no setting `allow.everything`"),
        ("```toml\n[limits]\nbuilders = 2\n```", "there is no setting `limits.builders`"),
    ],
)
def test_a_document_that_promises_what_is_not_there_is_found_out(text: str, problem: str) -> None:
    assert [line.partition(": ")[2] for line in docs_check.problems(PAGE, text, COMMANDS)] == [problem]


@pytest.mark.parametrize(
    "text",
    [
        "[up](README.md), [elsewhere](https://example.com/x), [here](#butai)",
        "`make demo ONCE=1` and `butai logs main -f -n 5` and `/butai status main`",
        "`butai exec main web -- ls --all`",
        "`limits.builds`, `projects.NAME.allow.bind_mounts`, `allow.dns` and `compose.yaml`",
        "```\nusermod --append --groups butai anna\n```",
        "```toml\n[projects.shop]\nremote = '/srv/shop'\nenvironment = { ANY = 'thing' }\n```",
    ],
)
def test_what_is_there_may_be_said(text: str) -> None:
    assert docs_check.problems(PAGE, text, COMMANDS) == ()


def test_a_problem_says_where_it_stands() -> None:
    assert docs_check.problems(Path("/x.md"), "one\n\n`make nothing`", COMMANDS) == (
        "/x.md:3: there is no `make nothing`",
    )
