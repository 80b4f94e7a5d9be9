"""The step log: what a build prints, without what nobody may read."""

from __future__ import annotations

from pathlib import Path

from agent.logs import Redactor
from agent.runtime.steplog import StepLog, log_path


def test_a_build_that_prints_a_secret_does_not_write_it_down(tmp_path: Path) -> None:
    path = log_path(tmp_path, 7)
    log = StepLog(path, redact=Redactor(["swordfish"]))
    log.line("web", "#5 token=swordfish")
    log.close()
    assert path.read_text() == "web          #5 token=***\n"
