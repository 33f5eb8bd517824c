"""However long a query works, others get on meanwhile; and of all queries only one works at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.tinydb_cache import ReadCache
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.outages import GATEWAY
from gateway.messages import Verdict
from gateway.queries import turns as module
from gateway.queries.answers import Result
from gateway.queries.documents import DocumentQueries
from gateway.queries.feed import FeedQueries
from gateway.queries.history import HistoryQueries
from gateway.queries.parameters import Diff, Feed, History, List, StateAt, Trace
from gateway.queries.trace import TraceQueries
from gateway.queries.turns import PASSES, Turns
from tests.support.counter_decider import COUNTER, Counted
from tests.support.histories import History as Log
from tests.support.memory_store import MemoryStore
from tests.support.requests import NOW

pytestmark = pytest.mark.embedded

CATALOGUE = Catalogue([COUNTER])
CODEC = EventCodec(CATALOGUE)
COUNT = 30

Ask = Callable[[], Awaitable[Result]]


class NoVerdicts:
    async def find_by_command_id(self, *_of: Any, **_scope: Any) -> tuple[list[Verdict], None]:
        return [], None

    async def find_by_event_id(self, _id: object) -> None:
        return None


def everybody(_device: str) -> bool:
    return True


async def projected(_position: int) -> None:
    """The read cache has everything."""


def asking(directory: Path, store: MemoryStore, turns: Turns) -> dict[str, Ask]:
    """Every query that has much to do, on so many documents and events."""
    log = Log(CODEC)
    log.add("counter-a", [Counted(at=NOW)] * COUNT)
    store.events = [replace(event, metadata=b'{"$correlationId": "course"}') for event in log.events]
    cache = ReadCache(directory / "readmodel.json", "log")
    for number in range(COUNT):
        cache.put(COUNTER.collection, f"p-{number}", {"id": f"p-{number}"})
    documents = DocumentQueries(cache, CATALOGUE, GATEWAY.collection, turns)
    history = HistoryQueries(store, CATALOGUE, CODEC, turns)
    feeds = FeedQueries(store, CATALOGUE, projected, turns)
    traces = TraceQueries(store, CATALOGUE, NoVerdicts(), turns)
    return {
        "list": lambda: documents.list(List(filter={"id": "none"}), everybody),
        "list shown": lambda: documents.list(List(limit=COUNT), everybody),
        "history": lambda: history.history(History(device="a", limit=COUNT)),
        "state_at": lambda: history.state_at(StateAt(device="a", at=COUNT)),
        "diff": lambda: history.diff(Diff(device="a", before=0, after=COUNT)),
        "feed": lambda: feeds.feed(Feed(after=0, limit=COUNT), everybody),
        "trace": lambda: traces.trace(Trace(correlation_id="course"), everybody),
    }


@pytest.mark.parametrize("query", ["list", "list shown", "history", "state_at", "diff", "feed", "trace"])
async def test_others_get_on_whenever_a_query_has_worked_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    working = asyncio.ensure_future(asking(tmp_path, MemoryStore(), Turns())[query]())
    passes = 0
    while not working.done():
        await asyncio.sleep(0)
        passes += 1
    assert working.exception() is None
    assert passes > COUNT * PASSES


async def test_only_one_query_works_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    turns, steps = Turns(), list[str]()

    async def work(name: str) -> None:
        async with turns.turn() as turn:
            for _ in range(3):
                steps.append(name)
                await turn.pause()

    await asyncio.gather(work("a"), work("b"))
    assert steps == ["a", "b"] * 3


async def test_a_short_query_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 3_600.0)
    turns, woken = Turns(), list[str]()
    async with turns.turn() as turn:
        asyncio.get_running_loop().call_soon(woken.append, "others")
        await turn.pause()
        assert not woken


@pytest.mark.parametrize("passes", range(2 * PASSES + 2))
async def test_who_is_cut_off_in_the_middle_leaves_the_turn_to_others(
    monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    turns = Turns()

    async def work(times: int) -> None:
        async with turns.turn() as turn:
            for _ in range(times):
                await turn.pause()

    cut_off, other = asyncio.create_task(work(100)), asyncio.create_task(work(5))
    for _ in range(passes):
        await asyncio.sleep(0)
    cut_off.cancel()
    await asyncio.wait_for(other, 5)
    await asyncio.wait_for(work(5), 5)
    assert cut_off.cancelled()


async def test_who_waits_for_the_store_does_not_have_the_turn(tmp_path: Path) -> None:
    class Stuck(MemoryStore):
        is_asked = asyncio.Event()

        async def read_stream(self, stream: str, *, after: int = -1, limit: int = 1_000) -> list[object]:  # type: ignore[override]
            del stream, after, limit
            self.is_asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    store = Stuck()
    ask = asking(tmp_path, store, Turns())
    stuck = asyncio.ensure_future(ask["history"]())
    await store.is_asked.wait()
    assert (await asyncio.wait_for(ask["list shown"](), 5)).next is None
    stuck.cancel()
