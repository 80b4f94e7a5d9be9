"""What is sent to a container's shell: paths arrive as they are, whatever bytes they have."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.docker.shell import command, quoted

SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
NAMES = st.lists(st.integers(1, 255), min_size=1, max_size=40).map(lambda codes: bytes(codes))


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=25, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=20))
def test_every_shell_reads_a_quoted_path_as_it_is(shell: str, names: list[bytes]) -> None:
    words = b" ".join(quoted(name.decode(errors="surrogateescape")) for name in names)
    script = b"show() { printf '%s\\0' \"$@\"; }\nshow " + words + b"\n"
    said = subprocess.run([shell], input=script, env={"LC_ALL": "C"}, capture_output=True, check=True).stdout
    assert said.split(b"\0")[:-1] == names


def test_many_paths_become_several_commands_that_together_name_each_once() -> None:
    paths = [f"/srv/{at:05d}/{'x' * 90}" for at in range(2000)]
    commands = list(command("place", *paths, first="/to/."))
    assert len(commands) > 1
    assert all(one.startswith(b"butai_place '/to/.' ") and len(one) < 64 * 1024 for one in commands)
    assert [word.decode() for one in commands for word in one.split(b"'")[3::2]] == paths


def test_nothing_to_name_is_no_command() -> None:
    assert list(command("drop")) == []
