"""What every floor shares: the label of this run. What one floor alone needs lives in that floor."""

import pytest

from tests.support.run import run_id


@pytest.fixture(scope="session", name="run_id")
def run_id_fixture() -> str:
    """Return the name of this run; what it makes carries the label `butai.run=<name>`."""
    return run_id()


def pytest_report_header() -> str:
    """Say the run's name at the top, for whoever looks for what it left."""
    return f"butai run: {run_id()}"
