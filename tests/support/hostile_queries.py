"""Whatever somebody asks, at a desk with one device behind it: what must hold of the answer."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from pydantic import JsonValue
from structlog.testing import capture_logs

from gateway.access import Access, OperatorRule
from gateway.adapters.tinydb_cache import ReadCache
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.device_events import AlarmRaised, DeviceRegistered, PropertiesReported
from gateway.domain.outages import GATEWAY
from gateway.messages import Verdict
from gateway.projection import Projection
from gateway.queries.desk import QueryDesk, ReadSide
from gateway.queries.documents import DocumentQueries
from gateway.queries.feed import FeedQueries
from gateway.queries.history import HistoryQueries
from gateway.queries.table import Queries
from gateway.queries.trace import TraceQueries
from gateway.rate import RateLimit
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery
from tests.support.fixed_clock import FixedClock
from tests.support.histories import History
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemoryStore
from tests.support.recording_publisher import RecordingPublisher

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue((*DECIDERS, GATEWAY))
CODEC = EventCodec(CATALOGUE)
TOPICS = Topics(ROOT)


def _store() -> MemoryStore:
    log = History(CODEC)
    log.add("device-pump", [DeviceRegistered(at=NOW, model="T-1000")])
    values: list[JsonValue] = [1, 1.5, True, None, "text", [1, None], {"b": {"c": 1}, "b.c": 2}]
    for value in values:
        log.add("device-pump", [PropertiesReported(at=NOW, properties={"a": value, "a.b": value})])
    log.add("device-pump", [AlarmRaised(at=NOW, code="hot", severity="critical")])
    store = MemoryStore()
    store.events = list(log.events)
    return store


STORE = _store()


class NoOutcomes(MemoryOutcomes):
    async def find_by_command_id(self, _command_id: str) -> Sequence[Verdict]:
        return []

    async def find_by_event_id(self, _id: UUID) -> Verdict | None:
        return None


async def _at_once(*_what: Any) -> None:
    """The read cache has everything."""


@asynccontextmanager
async def _desk(broker: RecordingPublisher, directory: str) -> AsyncIterator[QueryDesk]:
    cache = ReadCache(Path(directory) / "readmodel.json", "log")
    Projection(cache, CATALOGUE, CODEC).apply(STORE.events)
    queries = Queries(
        DocumentQueries(cache, CATALOGUE, GATEWAY.collection),
        HistoryQueries(STORE, CATALOGUE, CODEC),
        TraceQueries(STORE, CATALOGUE, NoOutcomes(STORE)),
        FeedQueries(STORE, CATALOGUE, _at_once),
        NoOutcomes(STORE),
        "gw1",
        dict,
        {"commands": {}},
    )
    async with asyncio.TaskGroup() as group:
        yield QueryDesk(
            queries.table(),
            ReadSide(lambda: cache.position, lambda: False, _at_once),
            broker,
            group,
            topics=TOPICS,
            access=Access([OperatorRule(("alice",))]),
            rate=RateLimit(0, 1),
            clock=FixedClock(NOW),
            counters=Counter(),
            max_payload=65_536,
        )


async def _ask(asker: str, name: str, payload: bytes) -> RecordingPublisher:
    broker = RecordingPublisher()
    delivery = FakeDelivery(f"{ROOT}/query/{asker}/{name}", payload)
    with tempfile.TemporaryDirectory() as directory:
        async with asyncio.timeout(20), _desk(broker, directory) as desk:
            desk.accept(delivery)
    assert delivery.acknowledged == 1
    return broker


def code_of_answer(asker: str, name: str, payload: bytes) -> int:
    """The code of the one answer, which is one that the protocol knows, and no fault of ours."""
    with capture_logs() as lines:
        broker = asyncio.run(_ask(asker, name, payload))
    assert [line for line in lines if line["log_level"] == "error"] == []
    [answer] = [one for one in broker.published if one.topic != TOPICS.deadletter]
    body = orjson.loads(answer.payload)
    assert answer.topic == f"{ROOT}/answer/{asker}/{name}"
    assert ("result" in body) == (body["code"] == 200)
    assert body["code"] in {200, 400, 403, 404, 408, 413, 422}
    assert len(broker.payloads(TOPICS.deadletter)) == (body["code"] in {400, 413})
    return int(body["code"])
