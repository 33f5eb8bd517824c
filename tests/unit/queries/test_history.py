import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.errors import NotFound
from gateway.messages import RecordedEvent
from gateway.queries import history as module
from gateway.queries.answers import Result
from gateway.queries.feed import FeedQueries
from gateway.queries.history import HistoryQueries
from gateway.queries.parameters import MAX_PLACE, Diff, Feed, History, StateAt
from gateway.queries.passed import KEPT, Passed, PassedStates
from tests.support.counter_decider import COUNTER, Counted
from tests.support.histories import History as Log
from tests.support.memory_store import MemoryStore
from tests.support.requests import NOW, REQUEST

CATALOGUE = Catalogue([COUNTER])
CODEC = EventCodec(CATALOGUE)
LENGTH = 25


async def _projected(_position: int) -> None:
    """The read cache has everything."""


def _at(event: RecordedEvent) -> RecordedEvent:
    return replace(event, recorded_at=NOW + timedelta(seconds=event.position))


@pytest.fixture
def store() -> MemoryStore:
    """Counter a counts to 25, a second apart; b once in between."""
    log = Log(CODEC)
    for number in range(LENGTH):
        log.add("counter-a", [Counted(at=NOW)])
        if number == 9:
            log.add("counter-b", [Counted(at=NOW)])
    store = MemoryStore()
    store.events = [_at(event) for event in log.events]
    return store


@pytest.fixture
def queries(store: MemoryStore) -> HistoryQueries:
    return HistoryQueries(store, CATALOGUE, CODEC)


@pytest.fixture
def feeds(store: MemoryStore) -> FeedQueries:
    return FeedQueries(store, CATALOGUE, _projected)


def items(result: Result) -> list[dict[str, Any]]:
    return [orjson.loads(orjson.dumps(item)) for item in result.value]


def revisions(result: Result) -> list[int]:
    return [item["revision"] for item in items(result)]


async def test_a_history_is_told_oldest_first_with_who_did_what(queries: HistoryQueries) -> None:
    result = await queries.history(History(device="a", limit=2))
    first, second = items(result)
    assert (first["revision"], first["type"], first["device"], first["command_id"]) == (0, "Counted", "a", "1")
    assert (second["revision"], result.next) == (1, {"after": 1})


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("limit", [1, 4, 25, 100])
async def test_page_by_page_the_whole_history_is_told_once(queries: HistoryQueries, order: str, limit: int) -> None:
    seen: list[int] = []
    parameters: dict[str, Any] = {"device": "a", "order": order, "limit": limit}
    while True:
        result = await queries.history(History(**parameters))
        seen += revisions(result)
        if result.next is None:
            break
        parameters |= result.next
    assert seen == (list(range(LENGTH)) if order == "oldest" else list(reversed(range(LENGTH))))


async def test_a_history_can_be_narrowed_by_type_and_time(queries: HistoryQueries) -> None:
    since, until = NOW + timedelta(seconds=5), NOW + timedelta(seconds=8)
    assert revisions(await queries.history(History(device="a", since=since, until=until))) == [4, 5, 6]
    assert revisions(await queries.history(History(device="a", types=["Emptied"]))) == []
    assert len(revisions(await queries.history(History(device="a", types=["Emptied", "Counted"])))) == LENGTH


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_an_answer_looks_at_no_more_than_so_many_events_and_says_where_it_goes_on(
    queries: HistoryQueries, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(module, "MOST_SCANNED", 10)
    wanted: dict[str, Any] = {"device": "a", "order": order, "since": NOW + timedelta(days=1)}
    places: list[int] = []
    following: dict[str, Any] = {}
    for _ in range(10):
        result = await queries.history(History(**wanted, **following))
        assert items(result) == []
        if result.next is None:
            break
        following = result.next
        places.append(int(str(following["after"])))
    assert places == ([9, 19] if order == "oldest" else [15, 5])


async def test_the_newest_events_below_a_revision_that_is_far_away_are_the_newest(queries: HistoryQueries) -> None:
    async with asyncio.timeout(5):
        result = await queries.history(History(device="a", order="newest", after=MAX_PLACE, limit=2))
    assert revisions(result) == [LENGTH - 1, LENGTH - 2]


@pytest.mark.parametrize("place", [2**63, 2**64 - 1])
def test_a_place_that_no_store_can_be_asked_for_is_refused(place: int) -> None:
    for ask in (
        lambda: Feed(after=place),
        lambda: History(device="a", after=place),
        lambda: StateAt(device="a", at=place),
    ):
        with pytest.raises(ValidationError, match=r"after|at"):
            ask()


@pytest.mark.parametrize("length", [1, 2, 199, 200, 201, 399, 400, 401, 1_000])
async def test_the_newest_events_of_a_history_of_any_length_are_found(length: int) -> None:
    log = Log(CODEC)
    log.add("counter-a", [Counted(at=NOW)] * length)
    store = MemoryStore()
    store.events = log.events
    queries = HistoryQueries(store, CATALOGUE, CODEC)
    assert revisions(await queries.history(History(device="a", order="newest", limit=1))) == [length - 1]


@pytest.mark.parametrize(
    ("at", "revision"),
    [(0, 0), (24, 24), (99, 24), (NOW + timedelta(seconds=3.5), 2), (NOW + timedelta(days=9), 24)],
)
async def test_the_state_is_told_as_it_was(queries: HistoryQueries, at: Any, revision: int) -> None:
    answer = (await queries.state_at(StateAt(device="a", at=at))).value
    assert (answer["revision"], answer["state"]) == (revision, {"total": revision + 1})


@pytest.mark.parametrize("at", [-1, NOW - timedelta(days=1)])
async def test_before_its_first_event_a_device_did_not_exist(queries: HistoryQueries, at: Any) -> None:
    with pytest.raises(NotFound, match="did not exist then"):
        await queries.state_at(StateAt(device="a", at=at))


async def test_a_difference_names_both_ends(queries: HistoryQueries) -> None:
    answer = (await queries.diff(Diff(device="a", before=3, after=NOW + timedelta(days=1)))).value
    assert (answer["from"]["revision"], answer["to"]["revision"]) == (3, 24)
    assert answer["patch"] == [{"op": "replace", "path": "/total", "value": 25}]


async def test_an_unknown_device_is_not_found(queries: HistoryQueries) -> None:
    for asked in (queries.history(History(device="x")), queries.diff(Diff(device="x", before=0, after=1))):
        with pytest.raises(NotFound, match="there is no device x"):
            await asked


async def follow(feeds: FeedQueries, allowed: Sequence[str], **parameters: Any) -> list[int]:
    """The positions that a consumer is told, page by page, until there are none."""
    positions: list[int] = []
    after = 0
    while True:
        result = await feeds.feed(Feed(after=after, **parameters), lambda device: device in allowed)
        assert result.next is not None
        page = [item["position"] for item in items(result)]
        if not page and result.next["after"] == after:
            return positions
        positions += page
        after = int(str(result.next["after"]))


async def test_the_feed_tells_every_event_after_a_position_once_and_in_order(feeds: FeedQueries) -> None:
    assert await follow(feeds, ["a", "b"], limit=4) == list(range(1, LENGTH + 2))


async def test_the_feed_tells_only_what_whoever_asks_may_know(feeds: FeedQueries) -> None:
    assert await follow(feeds, ["b"]) == [11]
    assert await follow(feeds, ["a", "b"], device="b") == [11]
    assert await follow(feeds, ["a", "b"], types=["Emptied"]) == []


async def test_the_feed_waits_for_the_next_event(feeds: FeedQueries, store: MemoryStore) -> None:
    waiting = asyncio.create_task(feeds.feed(Feed(after=LENGTH + 1, wait_ms=20_000), lambda _device: True))
    await asyncio.sleep(0)
    new = CODEC.encode([Counted(at=NOW)], REQUEST, "gw1")
    await store.append("counter-a", LENGTH - 1, new)
    result = await waiting
    assert [item["revision"] for item in items(result)] == [LENGTH]
    assert result.next == {"after": LENGTH + 2}


class CountingStore(MemoryStore):
    """Counts the events that are read from it."""

    told = 0

    async def read_stream(self, stream: str, *, after: int = -1, limit: int = 1_000) -> Sequence[RecordedEvent]:
        found = await super().read_stream(stream, after=after, limit=limit)
        self.told += len(found)
        return found


async def test_a_state_near_one_that_was_passed_is_not_folded_from_the_beginning(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 10)
    counting = CountingStore()
    counting.events = store.events
    queries = HistoryQueries(counting, CATALOGUE, CODEC)
    await queries.state_at(StateAt(device="a", at=24))
    for at, most in ((24, 3), (20, 8), (12, 16)):
        counting.told = 0
        assert (await queries.state_at(StateAt(device="a", at=at))).value["state"] == {"total": at + 1}
        assert counting.told <= most


async def test_a_state_that_was_passed_in_another_log_is_of_no_use(store: MemoryStore) -> None:
    queries = HistoryQueries(store, CATALOGUE, CODEC)
    await queries.state_at(StateAt(device="a", at=20))
    log = Log(CODEC)
    log.add("counter-z", [Counted(at=NOW)] * 3)  # all behind them have other ids
    log.add("counter-a", [Counted(at=NOW, by=2)] * LENGTH)
    store.events = log.events
    assert (await queries.state_at(StateAt(device="a", at=20))).value["state"] == {"total": 42}


async def test_where_clocks_were_set_back_a_state_that_was_passed_is_the_same_one(store: MemoryStore) -> None:
    first, second, third = store.events[:3]
    store.events = [first, replace(second, recorded_at=NOW + timedelta(hours=1)), third]
    queries, moment = HistoryQueries(store, CATALOGUE, CODEC), NOW + timedelta(seconds=10)
    before = (await queries.state_at(StateAt(device="a", at=moment))).value
    await queries.state_at(StateAt(device="a", at=2))
    assert (await queries.state_at(StateAt(device="a", at=moment))).value == before
    assert before["revision"] == 0


async def test_states_that_were_passed_are_kept_in_bounded_number(store: MemoryStore) -> None:
    kept = PassedStates()
    event = store.events[0]
    for revision in range(KEPT + 5):
        kept.keep("counter-a", Passed.by(replace(event, revision=revision), revision, None))
    assert kept.nearest("counter-a", 4) is None
    assert kept.nearest("counter-a", 5) == Passed.by(replace(event, revision=5), 5, None)
    assert kept.nearest("counter-b", 5) is None
