from collections import Counter
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.latency import Histogram, Latencies, Step
from gateway.metrics import COUNTERS, DEAD_LETTERS, Metrics
from gateway.queries.parameters import QUERIES
from tests.support.figures import figures


def scraped(counters: Counter[str], latencies: Latencies | None = None, **changed: Any) -> dict[str, float]:
    """Each sample of ours with its labels, as Prometheus itself would read it."""
    text = Metrics(counters, lambda: figures(**changed), latencies or Latencies()).exposition().decode()
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            samples[f"{sample.name.removeprefix('edge_gateway_')}{{{labels}}}"] = sample.value
    return samples


def test_the_figures_of_health_are_gauges() -> None:
    samples = scraped(Counter())
    told = {name: samples[f"{name}{{}}"] for name in ("in_flight_commands", "event_store_head", "parked_commands")}
    assert told == {"in_flight_commands": 7, "event_store_head": 12, "parked_commands": 4}
    assert (samples["read_cache_lag_events{}"], samples["outages_open{}"], samples["broker_connected{}"]) == (2, 1, 1)
    assert samples["info{gateway=gw1,version=0.1.0}"] == 1


def test_every_counter_that_can_rise_is_there_from_the_start() -> None:
    samples = scraped(Counter())
    assert {samples[f"{name}_total{{}}"] for name in COUNTERS} == {0}
    assert samples["commands_total{status=deferred}"] == 0
    assert {samples[f"queries_total{{code=500,query={query}}}"] for query in QUERIES} == {0}
    assert {samples[f"dead_letters_total{{reason={reason}}}"] for reason in DEAD_LETTERS} == {0}


def test_each_reason_for_a_refusal_is_counted_on_its_own() -> None:
    samples = scraped(Counter({"refused_409_wrong-revision": 2, "refused_422_suspended": 3, "commands_rejected": 5}))
    assert samples["refusals_total{code=409,type=wrong-revision}"] == 2
    assert samples["refusals_total{code=422,type=suspended}"] == 3
    assert samples["commands_total{status=rejected}"] == 5


def test_queries_are_counted_by_query_and_code_and_dead_letters_by_reason() -> None:
    counters = Counter({"queries_state_at_429": 3, "queries_unknown_404": 2})
    samples = scraped(counters + Counter({"dead_letters": 4, "dead_letters_not-json": 4}))
    assert samples["queries_total{code=429,query=state_at}"] == 3
    assert samples["queries_total{code=404,query=unknown}"] == 2
    assert samples["dead_letters_total{reason=not-json}"] == 4
    assert "dead_letters_total{}" not in samples


def test_a_counter_that_is_new_to_the_metrics_is_told_all_the_same() -> None:
    assert scraped(Counter(surprises=2))["surprises_total{}"] == 2


def test_the_gateways_memory_is_told() -> None:
    assert scraped(Counter())["process_resident_memory_bytes{}"] > 1_000_000


def test_a_step_is_a_histogram_with_cumulative_buckets() -> None:
    latencies = Latencies()
    latencies.observe(Step.SETTLE, 0.003, 5)
    latencies.observe(Step.SETTLE, 99.0)
    samples = scraped(Counter(), latencies)
    told = {bound: samples[f"step_seconds_bucket{{le={bound},step=settle}}"] for bound in ("0.0025", "0.005", "10.0")}
    assert told == {"0.0025": 0, "0.005": 5, "10.0": 5}
    assert samples["step_seconds_bucket{le=+Inf,step=settle}"] == 6
    assert samples["step_seconds_count{step=settle}"] == 6
    assert samples["step_seconds_sum{step=settle}"] == pytest.approx(99.015)


def test_what_takes_as_long_as_a_bound_belongs_to_it() -> None:
    latencies = Latencies()
    latencies.observe(Step.TOTAL, 0.01)
    histogram: Histogram = latencies.histograms[Step.TOTAL]
    assert dict(histogram.cumulative())["0.01"] == 1
    assert dict(histogram.cumulative())["0.005"] == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"broker": {"connected": False}}, "no connection to the broker"),
        ({"event_store": {"available": False}}, "the event store is away"),
        ({"read_cache": {"rebuilding": True}}, "the read cache is catching up"),
    ],
)
def test_whatever_holds_commands_up_makes_the_gateway_unready(changed: dict[str, Any], reason: str) -> None:
    assert Metrics(Counter(), lambda: figures(**changed), Latencies()).unready() == [reason]
    assert not Metrics(Counter(), figures, Latencies()).unready()
