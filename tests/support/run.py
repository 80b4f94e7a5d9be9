"""Whose things these are: every container, image, network and volume that a test makes carries this run's label.

Clean-up filters on exactly that label, so that two runs on one machine never touch each other's things.
"""

import functools
import os
import secrets

RUN_LABEL = "butai.run"
RUN_VARIABLE = "BUTAI_RUN_ID"


@functools.cache
def run_id() -> str:
    """Return this run's name, fit for a DNS label; child processes inherit it through the environment."""
    return os.environ.setdefault(RUN_VARIABLE, f"t{os.getpid()}-{secrets.token_hex(3)}")


def run_labels() -> dict[str, str]:
    """Return the label that everything of this run carries."""
    return {RUN_LABEL: run_id()}


def run_filter() -> dict[str, list[str]]:
    """Return the Engine API filter for everything of this run."""
    return {"label": [f"{RUN_LABEL}={run_id()}"]}
