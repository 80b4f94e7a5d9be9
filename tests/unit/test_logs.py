"""Logs: one line each, for people or for machines, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from agent import logs

CANARY = 'ca"nary/123é'


@dataclass(frozen=True)
class Known:
    values: tuple[str, ...] = (CANARY,)

    @property
    def hidden(self) -> tuple[str, ...]:
        return self.values


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    yield
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(params=[io.StringIO, Terminal], ids=["machine", "terminal"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    stream: io.StringIO = request.param()
    logs.configure(Known(), stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def leak() -> None:
    local = CANARY
    raise RuntimeError(f"cannot use {local}")


def test_a_machine_gets_one_json_object_per_line() -> None:
    stream = io.StringIO()
    logs.configure(Known(), stream=stream)
    structlog.get_logger("agent.test").info("ready", slug="main", path=Path("/x"))
    logging.getLogger("waitress").warning("queue is %d", 3)
    ours, theirs = lines(stream)
    assert (ours["event"], ours["slug"], ours["level"], ours["path"]) == ("ready", "main", "info", "/x")
    assert str(ours["timestamp"]).endswith("Z")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("queue is 3", "waitress", "warning")


def test_a_terminal_gets_text() -> None:
    stream = Terminal()
    logs.configure(Known(), stream=stream)
    structlog.get_logger().info("ready", slug="main")
    [line] = stream.getvalue().splitlines()
    assert not line.startswith("{")
    assert "ready" in line


def test_no_secret_is_logged_whatever_way_it_comes(stream: io.StringIO) -> None:
    log = structlog.get_logger()
    log.info(f"text {CANARY}")
    log.info("value", token=CANARY, nested={"a": [CANARY, {"b": (CANARY,)}]}, other=Exception(CANARY))
    log.info("url", url="https://x/?t=ca%22nary%2F123%C3%A9", escaped=json.dumps(CANARY), shown=repr({"k": CANARY}))
    log.info("bytes-like %s", CANARY)
    logging.getLogger("urllib3").error("foreign %s", CANARY)
    try:
        leak()
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("foreign").exception("failed too")
    written = stream.getvalue()
    assert len(written) > 300
    assert "nary" not in written
    assert logs.STARS in written


def test_no_traceback_of_an_uncaught_error_holds_a_secret(stream: io.StringIO) -> None:
    thread = threading.Thread(target=leak, name="poller")
    thread.start()
    thread.join()
    try:
        leak()
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
    written = stream.getvalue()
    assert written.count("uncaught error") == 2
    assert "poller" in written
    assert "Traceback" in written
    assert "nary" not in written


def test_secrets_that_a_reload_brought_are_hidden_from_then_on() -> None:
    stream = io.StringIO()
    logs.configure(Known(()), stream=stream)
    log = structlog.get_logger()
    log.info("plain", text=CANARY)
    logs.configure(Known(), stream=stream)
    log.info("hidden", text=CANARY)
    plain, hidden = lines(stream)
    assert (plain["text"], hidden["text"]) == (CANARY, logs.STARS)


def test_a_secret_that_begins_like_another_hides_neither_in_part() -> None:
    redact = logs.Redactor(["password", "password-long"])
    assert redact("password-long password") == "*** ***"
    assert logs.Redactor([])("nothing to hide") == "nothing to hide"


def test_no_log_line_controls_the_terminal_or_pretends_to_be_two() -> None:
    stream = Terminal()
    logs.configure(Known(()), stream=stream)
    structlog.get_logger().info("build\x1b[2Joutput\nfake line", line="a\x1b]0;title\x07\r\n\u202eb")
    [line] = stream.getvalue().splitlines()
    for hostile in ("\x1b[2J", "\x1b]0;", "\x07", "\r", "\u202e"):
        assert hostile not in line


def test_a_lone_surrogate_is_logged_and_not_an_error(stream: io.StringIO) -> None:
    structlog.get_logger().info("branch", name="caf\udce9")
    stream.getvalue().encode()


def test_libraries_that_talk_too_much_are_quiet() -> None:
    stream = io.StringIO()
    logs.configure(Known(), stream=stream)
    logging.getLogger("watchfiles.main").info("3 changes detected")
    structlog.get_logger().debug("detail")
    assert stream.getvalue() == ""


def test_the_journal_gets_the_priority_of_each_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        about = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        logs.configure(Known(), stream=stream)
        log = structlog.get_logger("agent.test")
        log.info("ready")
        log.warning("slow")
        log.error(f"broken {CANARY}\nsecond line")
        log.critical("uncaught error")
        logging.getLogger("foreign").error("theirs")
        stream.flush()
        priorities = [line[:3] for line in path.read_text().splitlines()]
    assert priorities == ["<6>", "<4>", "<3>", "<2>", "<3>"]
    written = path.read_text().splitlines()[2]
    assert json.loads(written[3:])["event"] == f"broken {logs.STARS}\nsecond line"


def test_only_the_stream_that_systemd_named_is_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    path = tmp_path / "log"
    with path.open("w") as stream:
        logs.configure(Known(), stream=stream)
        structlog.get_logger().info("ready")
    assert path.read_text().startswith("{")


def test_no_line_is_longer_than_the_journal_takes() -> None:
    stream = io.StringIO()
    logs.configure(Known(), stream=stream)
    structlog.get_logger().info("begins" + "\n" * 100_000 + "ends")
    [line] = stream.getvalue().splitlines()
    assert len(line) < 48 * 1024
    event = json.loads(line)["event"]
    assert (event[:6], event[-4:]) == ("begins", "ends")
