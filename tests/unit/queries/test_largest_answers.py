"""However much there is to tell, no answer is larger than an answer may be; and whoever pages gets past it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import JsonValue

from gateway.access import Access, OperatorRule
from gateway.adapters.tinydb_cache import ReadCache
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.device_events import AlarmRaised, ConfigurationRequested, DeviceRegistered, PropertiesReported
from gateway.domain.outages import GATEWAY, KEPT, Outage
from gateway.ids import event_id
from gateway.messages import EventRef, Outcome, RecordedEvent, Verdict
from gateway.projection import Projection
from gateway.queries.answers import MAX_BYTES
from gateway.queries.desk import QueryDesk, ReadSide
from gateway.queries.documents import DocumentQueries
from gateway.queries.feed import FeedQueries
from gateway.queries.history import HistoryQueries
from gateway.queries.outcomes import OutcomeQueries
from gateway.queries.parameters import QUERIES
from gateway.queries.table import Queries
from gateway.queries.trace import TraceQueries
from gateway.rate import RateLimit
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery
from tests.support.fixed_clock import FixedClock
from tests.support.histories import History
from tests.support.memory_store import MemoryStore
from tests.support.recording_publisher import RecordingPublisher
from tests.support.requests import NOW

CATALOGUE = Catalogue((*DECIDERS, GATEWAY))
CODEC = EventCodec(CATALOGUE)
LARGEST = MAX_BYTES + 40 * 1024
"""With what stands around the result: a cursor holds the value that is sorted by."""

PROPERTIES: list[dict[str, JsonValue]] = [
    {f"p{page * 16 + number}": "x" * 4_000 for number in range(16)} for page in range(16)
]


def _log() -> MemoryStore:
    """A device that reports, and is asked for, all that a device may; and others, each with an alarm."""
    log = History(CODEC)
    happened: list[Event] = [DeviceRegistered(at=NOW, model="T-1000")]
    for number, properties in enumerate(PROPERTIES):
        happened.append(PropertiesReported(at=NOW, properties=properties))
        happened.append(ConfigurationRequested(at=NOW, configuration=number + 1, properties=properties))
    log.add("device-a-big-one", happened)
    for number in range(600):
        alarm = AlarmRaised(at=NOW, code="hot", severity="info", message="m" * 500)
        log.add(f"device-pump-{number}", [DeviceRegistered(at=NOW, model="m" * 120 + str(number)), alarm])
    store = MemoryStore()
    store.events = list(log.events)
    return store


class ManyOutcomes:
    """Commands without end under any id, each with many events."""

    async def find_by_command_id(
        self, command_id: str, *, after: UUID | None = None, limit: int = 100, **_scope: Any
    ) -> tuple[Sequence[Verdict], UUID | None]:
        events = tuple(EventRef(UUID(int=number), "PropertiesReported", number) for number in range(50))
        outcome = Outcome(200, bytes(16), NOW, revision=1, position=1, events=events, persisted_at=NOW)
        begin = 0 if after is None else after.int - 1_000
        verdicts = [
            Verdict(UUID(int=1_000 + begin + number), command_id, "alice", f"pump-{number}", "report", outcome)
            for number in range(1, limit + 1)
        ]
        return verdicts, verdicts[-1].key

    async def find_by_event_id(self, _id: UUID) -> None:
        return None


def _ledger() -> dict[str, Any]:
    line = asdict(Outage("session", NOW, NOW, 1, "c" * 200, "a" * 200, "alice", NOW, "n" * 256))
    lines = {f"{number:064}": line for number in range(KEPT)}
    return {
        "gateway": "gw1",
        "pending": [],
        "unacknowledged": lines,
        "outages": lines,
        "unacknowledged_older": 7,
        "counts": {},
    }


async def _at_once(*_what: Any) -> None:
    """The read cache has everything."""


class Bench:
    def __init__(self, directory: Path) -> None:
        self._store = _log()
        self._cache = ReadCache(directory / "readmodel.json", "log")
        Projection(self._cache, CATALOGUE, CODEC).apply(self._store.events)

    @asynccontextmanager
    async def desk(self, broker: RecordingPublisher) -> AsyncIterator[QueryDesk]:
        outcomes = ManyOutcomes()
        queries = Queries(
            DocumentQueries(self._cache, CATALOGUE, GATEWAY.collection),
            HistoryQueries(self._store, CATALOGUE, CODEC),
            TraceQueries(self._store, CATALOGUE, outcomes),
            FeedQueries(self._store, CATALOGUE, _at_once),
            OutcomeQueries(outcomes),
            "gw1",
            _ledger,
            {"commands": {"report": "x" * 50_000}},
        )
        async with asyncio.TaskGroup() as group:
            yield QueryDesk(
                queries.table(),
                ReadSide(lambda: self._cache.position, lambda: False, _at_once),
                broker,
                group,
                topics=Topics(ROOT),
                access=Access([OperatorRule(("alice",))]),
                rate=RateLimit(0, 1),
                clock=FixedClock(NOW),
                max_payload=65_536,
                counters=Counter(),
            )

    async def ask(self, name: str, **parameters: Any) -> dict[str, Any]:
        broker = RecordingPublisher()
        async with self.desk(broker) as desk:
            desk.accept(FakeDelivery(f"{ROOT}/query/alice/{name}", orjson.dumps(parameters)))
        [answer] = broker.published
        assert len(answer.payload) <= LARGEST, f"{len(answer.payload)} bytes"
        body: dict[str, Any] = orjson.loads(answer.payload)
        return body


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("cache"))


BIG = {"device": "a-big-one"}
LARGE: dict[str, list[tuple[int, dict[str, Any]]]] = {
    "get": [(413, BIG), (200, {**BIG, "fields": ["reported.p1", "model"]}), (413, {**BIG, "fields": ["reported"]})],
    "list": [(200, {"limit": 500}), (200, {"limit": 500, "sort": "-reported.p7"})],
    "alarms": [(200, {"limit": 500})],
    "summary": [(200, {})],
    "history": [(200, {**BIG, "limit": 500}), (200, {**BIG, "limit": 500, "order": "newest"})],
    "state_at": [(413, {**BIG, "at": 40}), (200, {**BIG, "at": 40, "fields": ["desired.p1"]})],
    "diff": [(413, {**BIG, "from": -1, "to": 40}), (200, {**BIG, "from": 31, "to": 32})],
    "feed": [(200, {"limit": 500})],
    "outcome": [(200, {"command_id": "1", "limit": 500})],
    "trace": [(200, {"command_id": "1", "limit": 500})],
    "outages": [(200, {})],
    "commands": [(200, {})],
}


@pytest.mark.parametrize("query", QUERIES)
async def test_no_answer_is_larger_than_an_answer_may_be(bench: Bench, query: str) -> None:
    for code, parameters in LARGE[query]:
        answer = await bench.ask(query, **parameters)
        assert (answer["code"], "result" in answer) == (code, code == 200), answer.get("error")
        if code == 413:
            assert answer["error"]["type"] == "answer-too-large"


@pytest.mark.parametrize("sort", ["id", "-id", "reported.p7", "-reported.p7"])
async def test_a_document_that_is_too_large_ends_no_list(bench: Bench, sort: str) -> None:
    seen: list[str] = []
    following: dict[str, Any] = {}
    while True:
        answer = await bench.ask("list", sort=sort, limit=200, **following)
        seen += [document["id"] for document in answer["result"]]
        for document in answer["result"]:
            if document["id"] == "a-big-one":
                assert document["omitted"] == ["desired", "reported"]
                assert document["model"] == "T-1000"
        if "next" not in answer:
            break
        following = answer["next"]
    assert len(seen) == len(set(seen)) == 601


def test_a_key_of_a_command_is_no_number_of_a_page() -> None:
    # the places of what is found by key are small numbers
    assert event_id("a", "a", "1", 0).int > 1_000_000


def test_the_events_are_as_large_as_events_may_be(bench: Bench) -> None:
    assert max(len(event.data) for event in _events(bench)) > 60_000


def _events(bench: Bench) -> Sequence[RecordedEvent]:
    return bench._store.events
