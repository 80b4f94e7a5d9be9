"""What is sent to a container's shell: paths arrive as they are, whatever bytes they have."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.adapters.docker.dictated import MOST_BYTES, MOST_FILES, dictated
from agent.adapters.docker.shell import _FUNCTIONS, command, quoted
from agent.adapters.docker.staging import Staged

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


def file(data: bytes, mode: int = 0o644, **more: int) -> Staged:
    return Staged(mode, more.get("uid", os.getuid()), more.get("gid", os.getgid()), data, changed_s=more.get("at", 0))


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(NAMES | st.just(b""), min_size=1, max_size=MOST_FILES),
    mode=st.sampled_from([0o644, 0o755, 0o600]),
)
def test_every_shell_writes_what_it_is_told(shell: str, contents: list[bytes], mode: int, tmp_path: Path) -> None:
    stage = tmp_path / f"{shell} it's {len(list(tmp_path.iterdir()))}"
    staged = {f"{number % 2}/file {number}": file(data, mode) for number, data in enumerate(contents)}
    functions = _FUNCTIONS.replace("butai_forget /", "# butai_forget /")
    script = functions.encode() + b" &&\n".join(dictated(str(stage), staged, now_s=1))
    subprocess.run([shell], input=script + b"\n", env={**os.environ, "LC_ALL": "C"}, check=True)
    found = {str(path.relative_to(stage)): path for path in stage.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {name: one.data for name, one in staged.items()}
    assert {path.stat().st_mode & 0o7777 for path in found.values()} == {mode}
    assert stage.stat().st_mode & 0o7777 == 0o700


def test_owners_and_modes_that_are_not_a_new_files_are_named() -> None:
    said = dictated("/s", {"0/a": file(b"x", 0o4755, uid=1000, gid=7)}, now_s=1)
    assert said == (
        b"butai_stage '/s' '/s/0'",
        b"butai_write '/s/0/a' 'x'",
        b"butai_own '1000:7' '/s/0/a'",
        b"butai_mode '4755' '/s/0/a'",
    )
    assert dictated("/s", {"0/a": file(b"it's", uid=0, gid=0)}, now_s=1)[1:] == (b"butai_write '/s/0/a' 'it'\\''s'",)


@pytest.mark.parametrize(
    "staged",
    [
        {"0/a": file(b"no\0 text")},
        {"0/a": file(b"x" * (MOST_BYTES + 1))},
        {f"0/{number}": file(b"x") for number in range(MOST_FILES + 1)},
        {"0/a": file(b"x"), "0/new": Staged(0o755, 0, 0, is_folder=True)},
        {"0/a": Staged(0o777, 0, 0, b"elsewhere", is_link=True)},
        {"0/a": file(b"x", at=5)},
    ],
    ids=["a zero byte", "much", "many", "a folder", "a link", "changed in this second"],
)
def test_what_a_shell_cannot_be_told_comes_as_an_archive(staged: dict[str, Staged]) -> None:
    assert dictated("/s", staged, now_s=5) == ()
