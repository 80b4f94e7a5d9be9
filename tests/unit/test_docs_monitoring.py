"""Dashboard, alerts and documents name figures that there are, and leave none of them out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.planning.metrics import CATALOGUE, DURATION

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "monitoring" / "grafana.json").read_text("utf-8"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
TARGETS: list[dict[str, Any]] = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*(target["expr"] for target in TARGETS), *(rule["expr"] for rule in RULES)]
OF_EVERY_TARGET = {"job", "instance"}
PARTS_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


def figures_in(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each figure with the labels that it is chosen by."""
    for name, braces in re.findall(r"\b((?:butai|process|up)\w*)\{([^}]*)\}", expression):
        for suffix in PARTS_OF_A_HISTOGRAM:
            if name.removesuffix(suffix) == DURATION:
                name = DURATION
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", braces))


def documented(page: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_figure_of_dashboard_and_alerts_exists_with_its_labels(expression: str) -> None:
    found = list(figures_in(expression))
    assert found
    assert len(found) == len(re.findall(r"\b(?:butai_|process_|up\{)", expression)), "each is chosen by its job"
    for name, labels in found:
        assert name in CATALOGUE or name == "up", name
        assert "job" in labels, "other programs have figures of these names"
        if name != "up":
            assert labels <= OF_EVERY_TARGET | set(CATALOGUE[name].labels), name
    assert expression.count("(") == expression.count(")")


def test_every_figure_is_on_the_dashboard() -> None:
    shown = {name for target in TARGETS for name, _ in figures_in(target["expr"])}
    assert set(CATALOGUE) <= shown


def test_no_label_is_called_as_prometheus_calls_its_own() -> None:
    assert not {label for metric in CATALOGUE.values() for label in metric.labels} & OF_EVERY_TARGET


def test_a_legend_names_labels_that_the_figure_has() -> None:
    for target in TARGETS:
        asked = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        known = {label for name, _ in figures_in(target["expr"]) if name != "up" for label in CATALOGUE[name].labels}
        assert asked <= known, target


def test_panels_have_places_and_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_page_on_monitoring_lists_every_figure_and_says_of_it_what_the_agent_says() -> None:
    assert documented("how-to/monitor.md") == {name: metric.help for name, metric in CATALOGUE.items()}


def test_every_alert_has_an_entry_that_says_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    page = (DOCS / "reference" / "alerts.md").read_text("utf-8")
    assert re.findall(r"^## (\w+)$", page, flags=re.MULTILINE) == names
    for rule in RULES:
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
