"""Theatres as in the end-to-end tests, with agents that the tests harm, and evidence when one of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import (  # noqa: F401 - fixtures and a hook of this folder now, too
    _open,
    another_theatre_fixture,
    git_fixture,
    pytest_runtest_makereport,
)
from tests.support.gitserver import GitServer
from tests.support.theatre import Theatre


@pytest.fixture(scope="module", name="stricken")
def stricken_fixture(git: GitServer) -> Iterator[Theatre]:
    """One agent for all tests of a file. It notices by itself within two seconds what no event tells it."""
    limits = {"poll_interval_s": 0.3, "repair_interval_s": 2, "fetch_timeout_s": 3}
    with ExitStack() as stack:
        yield _open(stack, git, {"projects": ("tiny",), "limits": limits})
