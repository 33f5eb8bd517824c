"""Whatever a sender thinks of, it ends in one answer or one dead letter, and harms nobody."""

import asyncio
import gc
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.access import Access, OperatorRule
from gateway.adapters.tinydb_cache import ReadCache
from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.handler import Handler
from gateway.intake import Intake
from gateway.messages import MessageProperties, Request
from gateway.parking import Parking, ParkingLimits
from gateway.pipeline import Pipeline, PipelineParts
from gateway.projection import Projection
from gateway.rate import RateLimit
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery, command
from tests.support.fixed_clock import FixedClock
from tests.support.hostile import LEVELS, PAYLOADS
from tests.support.memory_inbox import MemoryInbox
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemorySnapshots, MemoryStore
from tests.support.recording_publisher import RecordingPublisher

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue(DECIDERS)
CODEC = EventCodec(CATALOGUE)
NAMES = [name for decider in CATALOGUE for name in (one.name for one in decider.commands)]

TEXTS = st.text(max_size=20) | st.sampled_from(["\ud800", "\x00", "a" * 300, "\u202e", "$SYS/#", "+"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXTS
    | st.sampled_from(["2026-03-01T12:00:00Z", "9999-12-31T23:59:59Z", "critical", "T-1000"])
)
KEYS = TEXTS | st.sampled_from(
    [
        "properties",
        "data",
        "command_id",
        "expires_at",
        "model",
        "code",
        "severity",
        "version",
        "reason",
        "dry_run",
        "wait_for",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)


def _as_json(value: object) -> bytes:
    """As lax as senders are: with NaN, and with half of a surrogate pair."""
    return json.dumps(value, ensure_ascii=True).encode()


BODIES = (
    st.dictionaries(KEYS, VALUES, max_size=5).map(_as_json)
    | VALUES.map(_as_json)
    | st.binary(max_size=60)
    | st.sampled_from(list(PAYLOADS.values()))
)
PROPERTIES = st.builds(
    MessageProperties,
    response_topic=st.none()
    | st.sampled_from([f"{ROOT}/ack/pump/x", f"{ROOT}/ack/pump/#", f"{ROOT}/ack/pump/", "$SYS/x", "", "a" * 70_000])
    | TEXTS.map(lambda below: f"{ROOT}/ack/pump/{below}"),
    correlation_data=st.none() | st.binary(max_size=80),
    content_type=st.none() | TEXTS,
    expiry=st.none() | st.integers(0, 2**32 - 1),
    user=st.lists(st.tuples(TEXTS | st.sampled_from(["correlation_id", "traceparent"]), TEXTS), max_size=3).map(tuple),
    complete=st.sampled_from([True, True, True, False]),
)
DELIVERIES = st.builds(
    lambda actor, device, name, body, properties, retain: FakeDelivery(
        f"{ROOT}/cmd/{actor}/{device}/{name}", body, retain, properties=properties
    ),
    st.sampled_from(["pump", "pump", "alice", *LEVELS]),
    st.sampled_from(["pump", "pump", "pump", *LEVELS]),
    st.sampled_from([*NAMES, "explode", "", "report/more"]),
    BODIES,
    PROPERTIES,
    st.booleans(),
)


class Bench:
    """A pipeline with all that is pure in it, on stores in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.broker = RecordingPublisher()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Pipeline]:
        clock = FixedClock(NOW)
        aggregates = Aggregates(self.store, MemorySnapshots(), CODEC, capacity=10, snapshot_every=100)
        async with asyncio.TaskGroup() as group:
            parts = PipelineParts(
                intake=Intake(Topics(ROOT), CATALOGUE, Access([OperatorRule(("alice",))]), 65_536, "gw1"),
                rate=RateLimit(0, 1),
                handler=Handler(
                    self.store, MemoryOutcomes(self.store), aggregates, partial(CODEC.encode, gateway="gw1"), clock
                ),
                parking=Parking(MemoryInbox(), self.store, clock, ParkingLimits(10, 10)),
                publisher=self.broker,
                clock=clock,
                reached=self._reached,
                epoch=lambda: 1,
                gateway="gw1",
                deadletter_topic=f"{ROOT}/deadletter",
                patience=1.0,
                batch=10,
            )
            yield Pipeline(parts, group, Counter())

    async def take(self, deliveries: list[FakeDelivery]) -> None:
        async with self.running() as pipeline:
            for delivery in deliveries:
                pipeline.accept(delivery)
            await pipeline.drained()

    def answers(self) -> list[dict[str, Any]]:
        """All acknowledgements, each of them valid JSON on a topic that a broker takes."""
        found = []
        for one in self.broker.published:
            assert not set(one.topic) & {"+", "#", "\x00"}
            body = orjson.loads(one.payload)
            if one.topic != f"{ROOT}/deadletter":
                found.append(body)
        return found

    @staticmethod
    async def _reached(_position: int, _patience: float) -> None:
        """At once."""


REGISTERED = command("pump", "pump", "register", {"model": "T-1000"})


def _take(*deliveries: FakeDelivery) -> Bench:
    bench = Bench()
    first = FakeDelivery(REGISTERED.topic, REGISTERED.payload)
    last = command("pump", "pump", "report", {"properties": {"still": "alive"}})
    with capture_logs() as lines:
        asyncio.run(bench.take([first, *deliveries, last]))
    faults = [line["event"] for line in lines if line["log_level"] == "error"]
    assert faults == [], "nothing that comes from outside is a fault of ours"
    assert [delivery.acknowledged for delivery in (first, *deliveries, last)] == [1] * (len(deliveries) + 2)
    codes = [answer["code"] for answer in bench.answers()]
    assert 500 not in codes
    dead = bench.broker.payloads(f"{ROOT}/deadletter")
    unreadable = sum(orjson.loads(letter)["reason"] == "unreadable-topic" for letter in dead)
    assert len(codes) + unreadable == len(deliveries) + 2, "one answer each, or a dead letter where nobody can be told"
    with tempfile.TemporaryDirectory() as directory:
        cache = ReadCache(Path(directory) / "readmodel.json", "log")
        projection = Projection(cache, CATALOGUE, CODEC)
        projection.apply(bench.store.events)
        assert projection.is_readable()
        assert not any(document["degraded"] for document in cache.documents("devices"))
    return bench


def test_nothing_is_kept_of_what_was_refused() -> None:
    _take(*(FakeDelivery(f"{ROOT}/cmd/pump/pump/report", payload) for payload in PAYLOADS.values()))
    gc.collect()
    assert [kept for kept in gc.get_objects() if isinstance(kept, Request) and kept.refusal is not None] == []


@settings(deadline=None, max_examples=300)
@given(st.lists(DELIVERIES, min_size=1, max_size=4))
def test_whatever_comes_is_answered_once_and_harms_nobody(deliveries: list[FakeDelivery]) -> None:
    _take(*deliveries)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("name", ["report", "configure", "raise-alarm", "annotate", "record-outage"])
def test_every_known_nastiness_is_answered_once_and_harms_nobody(payload: bytes, name: str) -> None:
    actor = "pump" if name == "report" else "alice"
    _take(FakeDelivery(f"{ROOT}/cmd/{actor}/pump/{name}", payload))


@pytest.mark.parametrize("level", LEVELS)
def test_every_odd_topic_is_answered_or_buried(level: str) -> None:
    _take(
        *(
            FakeDelivery(f"{ROOT}/cmd/{topic}")
            for topic in (f"{level}/pump/report", f"pump/{level}/report", f"pump/pump/{level}")
        )
    )
