"""Whatever somebody asks is answered once, and never with a fault."""

import asyncio
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from gateway.queries.parameters import QUERIES
from gateway.queries.table import Queries
from gateway.queries.trace import TraceQueries
from gateway.rate import RateLimit
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery
from tests.support.fixed_clock import FixedClock
from tests.support.histories import History
from tests.support.hostile import PAYLOADS
from tests.support.hostile import QUERIES as NASTY
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemoryStore
from tests.support.recording_publisher import RecordingPublisher

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue((*DECIDERS, GATEWAY))
CODEC = EventCodec(CATALOGUE)

SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5, 1e300])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(
        ["pump", "reported.a.b", "-reported", "newest", "2026-03-01T12:00:00Z", "9999-12-31T23:59:59-12:00", "WzEsMl0="]
    )
)
OPERANDS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
FILTERS = st.dictionaries(
    st.sampled_from(["id", "status", "reported", "reported.a", "reported.a.b", "...", "nothing"]),
    st.dictionaries(st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "exists", "like"]), OPERANDS)
    | OPERANDS,
)
CURSORS = st.tuples(st.integers(-1, 5) | OPERANDS, OPERANDS, st.text("ap", max_size=2) | OPERANDS).map(
    lambda key: urlsafe_b64encode(orjson.dumps(key)).decode()
)
FIELDS = sorted({field.alias or name for one in QUERIES.values() for name, field in one.model_fields.items()})
PARAMETERS = st.fixed_dictionaries(
    {"device": st.sampled_from(["pump", "pump", "pump", "gw1", "x/y"])},
    optional={
        **{name: OPERANDS for name in FIELDS if name not in {"device", "timeout_ms", "wait_ms"}},
        "filter": FILTERS,
        "cursor": CURSORS | OPERANDS,
        "limit": st.integers(-1, 501),
        "timeout_ms": st.just(1),
    },
)
NAMES = st.sampled_from([*QUERIES, *QUERIES, "drop"])
ASKERS = st.sampled_from(["alice", "pump", "gw1", "nobody"])


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
            topics=Topics(ROOT),
            access=Access([OperatorRule(("alice",))]),
            rate=RateLimit(0, 1),
            clock=FixedClock(NOW),
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


def _answer(asker: str, name: str, payload: bytes) -> int:
    """The code of the one answer, which is one that the protocol knows, and no fault of ours."""
    with capture_logs() as lines:
        broker = asyncio.run(_ask(asker, name, payload))
    assert [line for line in lines if line["log_level"] == "error"] == []
    [answer] = broker.published
    body = orjson.loads(answer.payload)
    assert answer.topic == f"{ROOT}/answer/{asker}/{name}"
    assert ("result" in body) == (body["code"] == 200)
    assert body["code"] in {200, 400, 403, 404, 408, 422}
    return int(body["code"])


@settings(deadline=None, max_examples=200)
@given(ASKERS, NAMES, PARAMETERS)
def test_whatever_is_asked_is_answered_once_and_is_no_fault(asker: str, name: str, parameters: dict[str, Any]) -> None:
    _answer(asker, name, orjson.dumps(parameters))


@pytest.mark.parametrize(("name", "payload"), NASTY.values(), ids=NASTY)
def test_every_known_nasty_query_is_answered_once_and_is_no_fault(name: str, payload: bytes) -> None:
    _answer("alice", name, payload)


@pytest.mark.parametrize("name", QUERIES)
def test_every_known_nasty_payload_is_answered_once_and_is_no_fault(name: str) -> None:
    assert {_answer("alice", name, payload) for payload in PAYLOADS.values()} >= {400, 422}
