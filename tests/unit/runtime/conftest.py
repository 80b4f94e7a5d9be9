"""A desk of its own for each test: a real store in a folder of the test's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desk import Desk
from tests.support.desk import desk as build


@pytest.fixture(name="desk")
def desk_fixture(tmp_path: Path) -> Iterator[Desk]:
    made = build(tmp_path)
    yield made
    made.store.close()
