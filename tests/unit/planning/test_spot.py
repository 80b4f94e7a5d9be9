"""What AWS's announcements mean, and what waits because of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.model.deployment import Phase
from agent.model.environment import Wanted
from agent.model.spot import REBALANCE, SpotNotice
from agent.planning import spot
from tests.support.plans import deployment, environment

AT = datetime(2026, 11, 23, 12, 8, 17, tzinfo=UTC)
ENDS = SpotNotice("terminate", AT)
LIKELIER = SpotNotice(REBALANCE, AT)
PUSHED = environment(request=2)


@pytest.mark.parametrize(
    ("action", "rebalance", "notice"),
    [
        ("", "", None),
        ('{"action": "terminate", "time": "2026-11-23T12:08:17Z"}', "", ENDS),
        ("", '{"noticeTime": "2026-11-23T12:08:17Z"}', LIKELIER),
        ('{"action": "stop", "time": "2026-11-23T12:08:17Z"}', '{"noticeTime": ""}', SpotNotice("stop", AT)),
        ('{"action": "hibernate"}', "", SpotNotice("hibernate", None)),
        ("<html>", "", SpotNotice("take back", None)),
        ('["terminate"]', "", SpotNotice("take back", None)),
    ],
)
def test_an_interruption_counts_more_than_a_rebalance_and_no_warning_is_lost(
    action: str, rebalance: str, notice: SpotNotice | None
) -> None:
    assert spot.read(action, rebalance) == notice


@pytest.mark.parametrize(
    ("notice", "says"),
    [
        (ENDS, "AWS ends this Spot instance at 12:08:17 UTC."),
        (SpotNotice("hibernate", None), "AWS hibernates this Spot instance."),
        (SpotNotice("take back", None), "AWS takes back this Spot instance."),
        (LIKELIER, "AWS says that this Spot instance is more likely than before to be taken back."),
    ],
)
def test_it_is_told_in_one_sentence(notice: SpotNotice, says: str) -> None:
    assert spot.says(notice) == says


def test_what_has_not_begun_waits_and_is_told_why() -> None:
    for new, current in ((PUSHED, None), (environment(), deployment(phase=Phase.QUEUED))):
        refusal = spot.refusal(ENDS, new, current)
        assert refusal is not None
        assert "12:08:17 UTC" in refusal.message
        assert refusal.code == "host-leaves"


def test_what_has_begun_goes_on_and_what_runs_is_looked_after() -> None:
    assert spot.refusal(ENDS, PUSHED, deployment(phase=Phase.BUILDING)) is None
    assert spot.refusal(ENDS, environment(), None) is None
    assert spot.refusal(ENDS, environment(wanted=Wanted.ASLEEP, request=2), None) is None
    assert spot.refusal(ENDS, environment(wanted=Wanted.ABSENT, request=2), None) is None


def test_nothing_waits_for_a_recommendation() -> None:
    assert spot.refusal(LIKELIER, PUSHED, None) is None
    assert spot.refusal(None, PUSHED, None) is None
