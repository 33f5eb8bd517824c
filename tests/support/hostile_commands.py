"""Whatever a sender thinks of, through a whole pipeline: what must hold of it."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from structlog.testing import capture_logs

from gateway.access import Access, OperatorRule
from gateway.adapters.tinydb_cache import ReadCache
from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.handler import Handler
from gateway.intake import Intake
from gateway.parking import Parking, ParkingLimits
from gateway.pipeline import Pipeline, PipelineParts
from gateway.projection import Projection
from gateway.rate import RateLimit
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery, command
from tests.support.fixed_clock import FixedClock
from tests.support.memory_inbox import MemoryInbox
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemorySnapshots, MemoryStore
from tests.support.recording_publisher import RecordingPublisher

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue(DECIDERS)
CODEC = EventCodec(CATALOGUE)


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


def take(*deliveries: FakeDelivery) -> None:
    """Between a registration and a report: each gets one answer or one dead letter, none is a fault, none does harm."""
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
