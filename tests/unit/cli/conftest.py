"""A real agent's API on a real Unix socket, and a CLI that talks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli.main import butai
from tests.support.fakes_api import House, build_house

Run = Callable[..., Result]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = build_house(tmp_path)
    house.serve()
    yield house
    house.close()


@pytest.fixture
def run(house: House) -> Run:
    """`run("deploy", "main")`; the result holds stdout, stderr and the exit code."""

    def run(*arguments: str, **options: object) -> Result:
        result = CliRunner().invoke(butai, ["--socket", str(house.socket), *arguments], **options)  # type: ignore[arg-type]
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run
