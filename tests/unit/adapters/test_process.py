"""Programs end when they must, leave nothing behind, and say what they said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.adapters import process
from agent.errors import CancelledError, OutsideError
from tests.support.eventually import eventually

ENV = process.short_environment()


class FakeCancel:
    """A cancel that a test pulls."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._acts: list[Callable[[], None]] = []

    def cancelled(self) -> bool:
        return self._event.is_set()

    def on_cancel(self, act: Callable[[], None]) -> Callable[[], None]:
        self._acts.append(act)
        if self._event.is_set():
            act()
        return lambda: self._acts.remove(act)

    def cancel(self) -> None:
        self._event.set()
        for act in list(self._acts):
            act()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be reaped by init does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_both_streams_and_the_exit_code_come_back() -> None:
    done = process.run(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), env=ENV, timeout_s=20
    )
    assert (done.exit_code, done.text, done.complaint, done.ok) == (3, "out\n", "err", False)


def test_megabytes_on_all_three_pipes_do_not_deadlock() -> None:
    code = (
        "import sys; data = sys.stdin.buffer.read(); sys.stderr.buffer.write(data[:3000000]);"
        "sys.stdout.buffer.write(data); sys.stderr.write('the end')"
    )
    data = os.urandom(1 << 20) * 5
    done = process.run(python(code), env=ENV, timeout_s=30, input=data)
    assert done.stdout == data
    assert done.stderr.endswith(b"the end")
    assert len(done.stderr) == process.TAIL


def test_input_that_nobody_reads_is_no_error() -> None:
    assert process.run(["true"], env=ENV, timeout_s=20, input=b"x" * 5_000_000).ok


def test_only_the_given_environment_reaches_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    done = process.run(["env"], env=process.short_environment(A="1"), timeout_s=20)
    names = {line.partition("=")[0] for line in done.text.splitlines()}
    assert names == {"PATH", "LC_ALL", "A"}


def test_arguments_are_never_read_by_a_shell() -> None:
    hostile = ["$(id)", "`id`", "a;b", "a|b", "${HOME}", "a b", "*", "'", '"']
    done = process.run(python("import sys; print('\\n'.join(sys.argv[1:]))") + hostile, env=ENV, timeout_s=20)
    assert done.text.splitlines() == hostile


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(OutsideError) as caught:
        process.run(["no-such-program"], env=ENV, timeout_s=5)
    assert caught.value.code == "program-missing"
    assert "no-such-program" in caught.value.message


def test_a_deadline_names_the_program_and_the_seconds() -> None:
    with pytest.raises(process.DeadlineError) as caught:
        process.run(["sleep", "60"], env=ENV, timeout_s=0.2)
    assert caught.value.message == "sleep did not finish within 0.2 s."


def test_silence_ends_a_program_and_talking_keeps_it_alive() -> None:
    talker = python("import time\nfor _ in range(8): print('.', flush=True); time.sleep(0.1)")
    assert process.run(talker, env=ENV, timeout_s=20, silence_s=5).ok
    with pytest.raises(process.DeadlineError):
        process.run(python("import time; print('.', flush=True); time.sleep(60)"), env=ENV, timeout_s=50, silence_s=0.5)


@pytest.mark.parametrize("ignores", [False, True], ids=["polite", "ignores SIGTERM"])
def test_a_deadline_ends_the_whole_group(tmp_path: Path, ignores: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    pids = tmp_path / "pids"
    code = (
        "import os, signal, time\n"
        + ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if ignores else "")
        + f"os.fork()\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(60)"
    )
    with pytest.raises(process.DeadlineError):
        process.run(python(code), env=ENV, timeout_s=1)
    started = [int(line) for line in pids.read_text().split()]
    assert len(started) == 2
    eventually(lambda: not any(alive(pid) for pid in started), 5)


def test_what_a_program_leaves_in_its_group_ends_with_it(tmp_path: Path) -> None:
    code = "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\nelse: time.sleep(60)"
    started = time.monotonic()
    done = process.run(python(code), env=ENV, timeout_s=30)
    assert done.ok
    assert time.monotonic() - started < 20
    eventually(lambda: not alive(int(done.text)), 5)


def test_a_daemon_that_keeps_the_pipe_open_does_not_hold_us_up() -> None:
    code = "import os, time\nif os.fork(): print('done', flush=True)\nelse: os.setsid(); time.sleep(6)"
    started = time.monotonic()
    assert process.run(python(code), env=ENV, timeout_s=30).text == "done\n"
    assert time.monotonic() - started < 5


def test_cancelling_ends_a_silent_program_at_once() -> None:
    cancel = FakeCancel()
    threading.Timer(0.2, cancel.cancel).start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        process.run(["sleep", "60"], env=ENV, timeout_s=60, cancel=cancel)
    assert time.monotonic() - started < 10
    assert not cancel._acts


def test_cancelled_work_never_starts() -> None:
    cancel = FakeCancel()
    cancel.cancel()
    with pytest.raises(CancelledError):
        process.run(["no-such-program"], env=ENV, timeout_s=60, cancel=cancel)


def test_a_flood_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(process.OutputLimitError):
        process.run(["yes"], env=ENV, timeout_s=30, output_limit=1 << 20)


def test_lines_arrive_while_the_program_runs() -> None:
    lines: list[str] = []
    code = "import sys; print('one\\r\\ntwo', flush=True); sys.stderr.write('three'); print('four', end='')"
    done = process.run(python(code), env=ENV, timeout_s=20, on_line=lines.append)
    assert sorted(lines) == ["four", "one", "three", "two"]
    assert done.ok


def test_a_line_without_an_end_is_not_hoarded() -> None:
    lengths: list[int] = []
    done = process.run(
        python("print('x' * 1000000)"), env=ENV, timeout_s=20, on_line=lambda line: lengths.append(len(line))
    )
    assert sum(lengths) == 1_000_000
    assert max(lengths) <= 2 * process.TAIL
    assert len(done.stdout) <= process.TAIL


def test_a_stream_is_complete_or_an_error() -> None:
    data = b"".join(process.stream(python("print('x' * 1000000)"), env=ENV, timeout_s=20))
    assert len(data) == 1_000_001
    with pytest.raises(process.ProgramError) as caught:
        list(process.stream(python("print('half'); exit('gone')"), env=ENV, timeout_s=20))
    assert caught.value.completed.complaint == "gone"


def test_closing_a_stream_ends_the_program() -> None:
    chunks = process.stream(python("import os\nwhile True: print(os.getpid())"), env=ENV, timeout_s=60)
    pid = int(next(iter(chunks)).split()[0])
    assert alive(pid)
    chunks.close()  # type: ignore[attr-defined]
    eventually(lambda: not alive(pid), 5)


@pytest.mark.skipif(not process._leash(keeps_capabilities=True), reason="setpriv is not installed")
def test_programs_die_with_a_killed_agent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    agent = (
        "import sys; from agent.adapters import process;"
        f"process.run([sys.executable, '-c', {child!r}], env=process.short_environment(), timeout_s=60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", agent], cwd=Path(__file__).parents[3])
    eventually(lambda: pid_file.exists() and pid_file.read_text() != "", 10)
    pid = int(pid_file.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    eventually(lambda: not alive(pid), 5)


def test_no_descriptor_is_left_open() -> None:
    process.run(["true"], env=ENV, timeout_s=20)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        process.run(["true"], env=ENV, timeout_s=20, input=b"x")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
