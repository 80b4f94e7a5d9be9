"""When a build may begin: never while a disk is nearly full."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from agent import config
from agent.errors import OutsideError
from agent.model.care import Shortage
from agent.model.release import BuildSpec
from agent.runtime.build import Builder
from agent.runtime.cancel import CancelToken
from agent.runtime.ports import Compose, Engine, Git
from agent.runtime.reader import Reader
from tests.support.careworld import SETTINGS
from tests.support.plans import environment, release, service

SHORTAGE = Shortage("The disk of /var/lib/docker is nearly full.", "1 GB are free, less than 10 GB.")


def test_nothing_is_built_or_pulled_while_a_disk_is_nearly_full(tmp_path: Path) -> None:
    """They wait and go on by themselves: a failed deployment would need a person."""
    settings = config.parse(SETTINGS.format(directory=tmp_path), tmp_path)
    builder = Builder(
        settings=lambda: settings,
        git=cast("Git", None),
        engine=cast("Engine", None),
        compose=cast("Compose", None),
        reader=cast("Reader", None),
        shortage=lambda: SHORTAGE,
    )
    web = service("web", build=BuildSpec(context=".", dockerfile="Dockerfile"))
    with pytest.raises(OutsideError) as built:
        builder.build(environment(), release(web), web, None, cancel=CancelToken())
    with pytest.raises(OutsideError) as pulled:
        builder.pull(release(web), web, None, cancel=CancelToken())
    for caught in (built, pulled):
        assert (caught.value.message, caught.value.code) == (SHORTAGE.what, "disk-nearly-full")
        assert "1 GB are free" in caught.value.hint, "in the message it would be told anew at each try"
