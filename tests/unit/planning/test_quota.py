"""What one container may use, whatever its compose file asks for."""

from typing import Any

from agent.config import Limits
from agent.planning.quota import apply_quota


def bounds(service: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    notes: list[str] = []
    return apply_quota(service, Limits(), notes.append), notes


def test_open_files_are_the_engines_where_none_are_asked_for() -> None:
    """An engine with a lower hard limit than ours refuses to start every container that is given ours."""
    assert bounds({})[0]["ulimits"] == {}


def test_open_files_that_are_asked_for_are_bounded() -> None:
    assert bounds({"ulimits": {"nofile": 1024}})[0]["ulimits"] == {"nofile": {"soft": 1024, "hard": 1024}}
    assert bounds({"ulimits": {"nofile": {"soft": 10**9, "hard": -1}}})[0]["ulimits"] == {
        "nofile": {"soft": 65536, "hard": 65536}
    }


def test_a_limit_that_takes_from_other_containers_is_removed_and_said() -> None:
    found, notes = bounds({"ulimits": {"rtprio": 99}})

    assert found["ulimits"] == {}
    assert notes == ["`ulimits.rtprio` was removed: it takes from other containers."]
