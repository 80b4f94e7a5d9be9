"""The reference pages are generated: what they say of commands and calls is what the code does."""

import click
import pytest

from tools import docs


@pytest.mark.parametrize("name", ["cli.md", "api.md", "doctor.md"])
def test_the_reference_is_up_to_date(name: str) -> None:
    path = docs.REFERENCE_DIR / name
    assert path.read_text(encoding="utf-8") == docs.pages()[name], "run `python -m tools.docs`"


def test_every_command_and_every_call_is_documented() -> None:
    pages = docs.pages()
    every = list(docs.commands(docs.cli.butai, click.Context(docs.cli.butai)))
    assert pages["cli.md"].count("## `butai ") == len(every) > len(docs.cli.butai.commands)
    assert pages["api.md"].count("### `") == sum(len(item) for item in docs.document()["paths"].values())
