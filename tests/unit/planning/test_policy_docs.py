"""The reference page names every field that the policy knows, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from agent.planning import policy_build, policy_services

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "compose.md").read_text()


def named(heading: str) -> set[str]:
    """The fields in the first column of the table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {field for row in rows for field in re.findall(r"`([a-z_]+)`", row)}


def test_every_field_of_a_service_is_on_the_page() -> None:
    known = {
        *policy_services._KEPT,
        *policy_services._SILENT,
        *policy_services._DROPPED,
        *policy_services._NEVER,
        *policy_services._NAMESPACES,
        *policy_services._LISTED,
        *policy_services._CHECKED,
    }
    assert named("Fields of a service") == known


def test_every_field_of_a_build_is_on_the_page() -> None:
    known = {*policy_build._KEPT, *policy_build._SILENT, *policy_build._DROPPED, *policy_build._NEVER}
    assert named("Fields of `build`") == known | {"network", "labels"}
