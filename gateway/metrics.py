"""The figures of health as Prometheus metrics, made when somebody asks; between two scrapes they cost nothing."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from gateway.latency import Latencies
from gateway.queries.parameters import QUERIES

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
PREFIX: Final = "edge_gateway_"

COUNTERS: Final[Mapping[str, str]] = {
    "received": "Commands that the broker delivered",
    "duplicates": "Answers to copies of commands that were settled before",
    "answers_refused_by_broker": "Acknowledgements that the broker refused: look at its ACL",
    "answers_not_confirmed": "Acknowledgements whose connection ended first; their commands come again",
    "connections": "Connections to the broker",
    "sessions_lost": "Broker sessions that were lost, with all that waited in them",
}
"""The counters of health that are there from the start, at 0: an alert needs something to rise from."""

REFUSALS: Final = (
    "refused_429_too-fast",
    "refused_500_gateway-fault",
    "refused_500_device-degraded",
    "refused_503_store-unavailable",
)
"""Those of them that nobody but the gateway or its load is to blame for."""

DEAD_LETTERS: Final = ("unreadable-topic", "not-json", "too-deep", "bad-envelope", "too-large", "gateway-fault")
"""Every reason for a dead letter."""

_STATUSES: Final = ("accepted", "deferred", "rejected")
_STATUS_COUNTER: Final = "commands_"
_REFUSAL_COUNTER: Final = "refused_"
_QUERY_COUNTER: Final = "queries_"
_DEAD_LETTERS: Final = "dead_letters"

_FROM_THE_START: Final = (
    *REFUSALS,
    *(f"{_QUERY_COUNTER}{query}_{code}" for query in QUERIES for code in (200, 500)),
    *(f"{_DEAD_LETTERS}_{reason}" for reason in DEAD_LETTERS),
)

_GAUGES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "broker_connected": (("broker", "connected"), "Whether there is a connection to the broker"),
    "in_flight_commands": (("in_flight",), "Commands accepted and not acknowledged yet"),
    "event_store_available": (("event_store", "available"), "Whether the event store takes commands"),
    "event_store_head": (("event_store", "head"), "Position of the newest event"),
    "parked_commands": (("parked", "commands"), "Commands that wait for the event store"),
    "parked_devices": (("parked", "devices"), "Devices with such commands"),
    "read_cache_lag_events": (("read_cache", "lag"), "Events that the read cache does not show yet"),
    "read_cache_rebuilding": (("read_cache", "rebuilding"), "Whether the read cache is catching up"),
    "feed_lag_events": (("feed", "lag"), "Events that are not published yet"),
    "retained_waiting": (("retained", "waiting"), "Retained messages that wait for the broker"),
}
"""Name of each gauge: where its value stands in health, and what it says."""

_OUTAGE_GAUGES: Final = {
    "open": "Outages that go on",
    "unacknowledged": "Lost sessions that no operator has acknowledged yet",
}


class Metrics(Collector):
    """Tells the counters, the figures and the latencies; no label comes from a sender."""

    def __init__(self, counters: "Counter[str]", probe: Callable[[], Mapping[str, Any]], latencies: Latencies) -> None:
        """Tell of these counters, of what ``probe`` finds, and of these latencies."""
        self._counters = counters
        self._probe = probe
        self._latencies = latencies
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """Everything, in the text format of Prometheus."""
        return generate_latest(self._registry)

    def unready(self) -> list[str]:
        """Why commands are not settled at once; empty where they are."""
        figures = self._probe()
        reasons = {
            "no connection to the broker": not figures["broker"]["connected"],
            "the event store is away": not figures["event_store"]["available"],
            "the read cache is catching up": figures["read_cache"]["rebuilding"],
        }
        return [reason for reason, holds in reasons.items() if holds]

    def collect(self) -> Iterator[Metric]:
        """Every metric with its current value."""
        figures = self._probe()
        about = {"gateway": figures["gateway"], "version": figures["version"]}
        info = GaugeMetricFamily(f"{PREFIX}info", "Which gateway this is", labels=list(about))
        info.add_metric(list(about.values()), 1)
        yield info
        for name, (path, documentation) in _GAUGES.items():
            value: Any = figures
            for key in path:
                value = value[key]
            yield GaugeMetricFamily(f"{PREFIX}{name}", documentation, value=value)
        for name, documentation in _OUTAGE_GAUGES.items():
            yield GaugeMetricFamily(f"{PREFIX}outages_{name}", documentation, value=len(figures["outages"][name]))
        dropped = figures["broker"]["dropped"]
        yield CounterMetricFamily(
            f"{PREFIX}broker_dropped_messages",
            "Messages that the broker has dropped since its start, of all clients; NaN where it does not tell",
            value=math.nan if dropped is None else dropped,
        )
        yield from self._counted()
        yield self._steps()

    def _counted(self) -> Iterator[Metric]:
        counters = {**dict.fromkeys(_FROM_THE_START, 0), **self._counters}
        statuses = CounterMetricFamily(f"{PREFIX}commands", "Answers to commands, by their status", labels=["status"])
        for status in _STATUSES:
            statuses.add_metric([status], counters.pop(_STATUS_COUNTER + status, 0))
        yield statuses
        refusals = CounterMetricFamily(
            f"{PREFIX}refusals", "Commands that were refused or deferred, by code and reason", labels=["code", "type"]
        )
        for name, count in _taken_out(counters, _REFUSAL_COUNTER):
            code, _, reason = name.partition("_")
            refusals.add_metric([code, reason], count)
        yield refusals
        queries = CounterMetricFamily(
            f"{PREFIX}queries", "Answers to queries, by query and code", labels=["query", "code"]
        )
        for name, count in _taken_out(counters, _QUERY_COUNTER):
            query, _, code = name.rpartition("_")
            queries.add_metric([query, code], count)
        yield queries
        letters = CounterMetricFamily(
            f"{PREFIX}{_DEAD_LETTERS}", "Messages that went to the dead-letter topic, by reason", labels=["reason"]
        )
        for reason, count in _taken_out(counters, f"{_DEAD_LETTERS}_"):
            letters.add_metric([reason], count)
        yield letters
        counters.pop(_DEAD_LETTERS, None)  # their sum, for people who read health
        for name in sorted({*COUNTERS, *counters}):
            documentation = COUNTERS.get(name, "A counter of health")
            yield CounterMetricFamily(f"{PREFIX}{name}", documentation, value=counters.get(name, 0))

    def _steps(self) -> Metric:
        family = HistogramMetricFamily(
            f"{PREFIX}step_seconds", "How long the steps from receipt to acknowledgement take", labels=["step"]
        )
        for step, histogram in self._latencies.histograms.items():
            family.add_metric([step], histogram.cumulative(), histogram.seconds)
        return family


def _taken_out(counters: dict[str, int], prefix: str) -> list[tuple[str, int]]:
    """The counters whose names begin so, without that, and no longer among the others."""
    return [(name.removeprefix(prefix), counters.pop(name)) for name in list(counters) if name.startswith(prefix)]
