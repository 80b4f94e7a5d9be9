"""The figures in Prometheus' own words, as its own parser reads them."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.model.deployment import Failure, Phase
from agent.model.environment import Wanted
from agent.planning import metrics
from agent.planning.metrics import BUCKETS_S, CATALOGUE, DURATION, Histogram, Type, kind_of, render, state_of
from tests.support.plans import deployment, environment

NASTY = 'a"b\\c\nd{é}'


def parsed(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(text)
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def test_values_and_labels_arrive_as_they_are() -> None:
    text = render(
        {"butai_engine_up": {(): 1}, "butai_info": {(NASTY,): 0.25}, "process_cpu_seconds_total": {(): 1e16 / 3}}, {}
    )
    assert parsed(text) == {
        ("butai_engine_up", ()): 1.0,
        ("butai_info", (NASTY,)): 0.25,
        ("process_cpu_seconds_total", ()): 1e16 / 3,
    }
    assert text.endswith("\n")


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    histogram = Histogram()
    for value in (0.05, 0.1, 0.3, 7.0, 99_999.0):
        histogram.add(value)
    found = parsed(render({}, {("build", "ready"): histogram}))
    buckets = [found[f"{DURATION}_bucket", ("build", "ready", str(most))] for most in ("0.1", "0.25", "0.5", "10")]
    assert buckets == [2, 2, 3, 4]
    assert found[f"{DURATION}_bucket", ("build", "ready", "+Inf")] == 5
    assert found[f"{DURATION}_count", ("build", "ready")] == 5
    assert found[f"{DURATION}_sum", ("build", "ready")] == pytest.approx(100_006.45)
    assert sum(name.endswith("_bucket") for name, _ in found) == len(BUCKETS_S) + 1


def test_a_figure_that_is_not_in_the_catalogue_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="butai_other"):
        render({"butai_other": {(): 1}}, {})
    with pytest.raises(ValueError):
        render({"butai_engine_up": {("label",): 1}}, {})


def test_every_figure_says_what_it_is_and_has_a_name_as_prometheus_wants_it() -> None:
    for name, metric in CATALOGUE.items():
        assert name.startswith(("butai_", "process_"))
        assert metric.help.endswith(".")
        assert name.endswith("_total") == (metric.type is Type.COUNTER), name
        assert "_bytes" in name or "size" not in name


@pytest.mark.parametrize(
    ("timings", "kind"),
    [
        ({"fetch": 1.0, "build": 2.0, "start": 1.0}, "build"),
        ({"pull": 1.0}, "build"),
        ({"delta": 0.1, "start": 0.2}, "restart"),
        ({"restart": 0.1, "sync": 0.2}, "restart"),
        ({"fetch": 0.1, "sync": 0.1, "look": 0.1}, "sync"),
        ({"fetch": 0.1, "adopt": 0.1}, "nothing"),
        ({}, "nothing"),
    ],
)
def test_a_deployment_is_of_the_kind_of_its_most_expensive_step(timings: dict[str, float], kind: str) -> None:
    assert kind_of(deployment(timings=timings)) == kind


def test_an_environment_is_in_one_state() -> None:
    ready = deployment(phase=Phase.READY)
    failed = deployment(phase=Phase.FAILED, failure=Failure("x", "x"))
    assert state_of(environment(), None) == "deploying"
    assert state_of(environment(), deployment(phase=Phase.BUILDING)) == "deploying"
    assert state_of(environment(), ready) == "ready"
    assert state_of(environment(), failed) == "failed"
    assert state_of(environment(wanted=Wanted.ASLEEP), ready) == "asleep"
    assert state_of(environment(wanted=Wanted.ABSENT), failed) == "removing"


def test_the_page_is_of_the_type_that_prometheus_asks_for() -> None:
    assert metrics.CONTENT_TYPE.startswith("text/plain; version=0.0.4")
