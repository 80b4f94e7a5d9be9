"""The step log: what a build prints, without what nobody may read."""

from __future__ import annotations

from pathlib import Path

from agent.logs import Redactor
from agent.model.deployment import Phase
from agent.runtime.steplog import StepLog, log_path, prune
from tests.support.desk import Desk


def test_a_build_that_prints_a_secret_does_not_write_it_down(tmp_path: Path) -> None:
    path = log_path(tmp_path, 7)
    log = StepLog(path, redact=Redactor(["swordfish"]))
    log.line("web", "#5 token=swordfish")
    log.close()
    assert path.read_text() == "web          #5 token=***\n"


def test_old_logs_go_and_those_of_an_environment_that_is_gone(desk: Desk) -> None:
    store = desk.store
    kept, gone = desk.live("main"), desk.live("feature/gone")
    for environment in (kept, gone, kept, kept):
        begun = store.deployments.begin(environment, cause="c", caller="a", now=desk.clock.now())
        store.deployments.finish(begun.id, Phase.FAILED, now=desk.clock.now())
    for number in range(7):
        StepLog(log_path(desk.directory, number), redact=str).close()
    store.environments.delete(gone.slug)

    def newest() -> frozenset[int]:
        StepLog(log_path(desk.directory, 99), redact=str).close()  # of a deployment that begins just now
        return store.deployments.newest(2)

    prune(desk.directory, newest)

    left = {path.stem for path in (desk.directory / "logs").iterdir()}
    mine = [str(one.id) for one in store.deployments.history(kept.slug)]
    assert left == {*mine[:2], "99"}
    prune(desk.directory / "nowhere", newest)
