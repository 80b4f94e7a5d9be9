"""What the composition root does itself: it says what the doctor found where operators look."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.daemon import parts
from agent.model.finding import Finding, Verdict
from agent.runtime.doctor import Examination

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def test_systemctl_status_shows_what_the_doctor_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        findings = (Finding(Verdict.FAILURE, "x", check="disk-space"), Finding(Verdict.OK, "x", check="git"))
        parts._tell_of_host(Examination(NOW, findings))
        assert manager.recv(4096) == b"STATUS=doctor: 1 failure (disk-space), 1 ok; see `butai doctor`"
