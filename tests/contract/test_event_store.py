"""What every event store promises. Another one is one more line in STORES."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gateway.adapters.esdb_options import EsdbOptions
from gateway.adapters.eventstoredb import open_eventstoredb
from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.errors import WrongExpectedRevision
from gateway.messages import NO_STREAM, Appended, NewEvent, RecordedEvent
from gateway.ports import EventStore
from tests.support.chosen_store import CHOSEN, EMBEDDED, STAND_IN
from tests.support.eventstoredb.server import settling
from tests.support.eventstoredb_process import stand_in
from tests.support.memory_store import MemoryStore
from tests.support.new_events import new_event, new_events


@asynccontextmanager
async def sqlite_store(directory: Path) -> AsyncIterator[EventStore]:
    async with open_database(directory / "gateway.db") as database:
        yield SqliteLog(database)


@asynccontextmanager
async def memory_store(_directory: Path) -> AsyncIterator[EventStore]:
    """What other tests use in place of a store has to keep the same promises."""
    yield MemoryStore()


@asynccontextmanager
async def eventstoredb_store(_directory: Path) -> AsyncIterator[EventStore]:
    """The stand-in server, or the one that the tests are told to use."""
    async with AsyncExitStack() as stack:
        of_its_own = CHOSEN in {EMBEDDED, STAND_IN}
        url = (await stack.enter_async_context(stand_in())).url if of_its_own else CHOSEN
        yield await stack.enter_async_context(eventstoredb_at(url))


@asynccontextmanager
async def eventstoredb_at(url: str) -> AsyncIterator[EventStore]:
    """A log of its own on a running server."""
    async with settling(), AsyncExitStack() as stack:
        options = EsdbOptions(url, ("device",), prefix=f"test-{uuid4().hex}.")
        store, follower = await stack.enter_async_context(open_eventstoredb(options))
        following = asyncio.create_task(follower.run())
        try:
            yield store
        finally:
            following.cancel()
            await asyncio.wait([following])


Factory = Callable[[Path], AbstractAsyncContextManager[EventStore]]
STORES: dict[str, Factory] = {"sqlite": sqlite_store, "memory": memory_store, "eventstoredb": eventstoredb_store}


@pytest.fixture(params=STORES)
async def event_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventStore]:
    async with STORES[request.param](tmp_path) as store:
        yield store


def ids(events: Sequence[NewEvent | RecordedEvent]) -> list[Any]:
    return [event.id for event in events]


async def everything(store: EventStore) -> Sequence[RecordedEvent]:
    return await store.read_all(after=0)


async def follow(store: EventStore, *, after: int, count: int) -> list[RecordedEvent]:
    """The first events that a subscriber is given."""
    seen: list[RecordedEvent] = []
    subscription = store.subscribe(after=after)
    async for events in subscription:
        seen += events
        if len(seen) >= count:
            break
    return seen


async def test_an_event_comes_back_exactly_as_it_was_appended(event_store: EventStore) -> None:
    event = NewEvent(new_event().id, "PumpStarted", '{"name": "Grüße"}'.encode(), b'{"v":1}')
    before = datetime.now(UTC)

    appended = await event_store.append("device-pump-7", NO_STREAM, [event])

    (recorded,) = await event_store.read_stream("device-pump-7")
    assert recorded == RecordedEvent(
        position=appended.positions[0],
        stream="device-pump-7",
        revision=0,
        recorded_at=appended.recorded_at,
        id=event.id,
        type="PumpStarted",
        data=event.data,
        metadata=event.metadata,
    )
    assert before - timedelta(milliseconds=1) <= recorded.recorded_at <= datetime.now(UTC)


async def test_positions_start_at_one_or_above_and_rise_over_all_streams(event_store: EventStore) -> None:
    first = await event_store.append("device-a", NO_STREAM, new_events(2))
    second = await event_store.append("device-b", NO_STREAM, new_events(1))
    third = await event_store.append("device-a", 1, new_events(2))

    positions = first.positions + second.positions + third.positions
    assert positions[0] >= 1
    assert list(positions) == sorted(set(positions))
    assert [event.position for event in await everything(event_store)] == list(positions)


async def test_every_append_is_told_the_position_that_its_event_has(event_store: EventStore) -> None:
    await event_store.read_stream("device-a")  # who reads first is known to be at the stream's end
    told = [(await event_store.append("device-a", revision, new_events(1))).positions for revision in range(-1, 4)]

    assert [position for positions in told for position in positions] == [
        event.position for event in await everything(event_store)
    ]


async def test_revisions_count_from_zero_in_each_stream(event_store: EventStore) -> None:
    await event_store.append("device-a", NO_STREAM, new_events(2))
    await event_store.append("device-b", NO_STREAM, new_events(1))
    await event_store.append("device-a", 1, new_events(1))

    assert [event.revision for event in await event_store.read_stream("device-a")] == [0, 1, 2]
    assert [event.revision for event in await event_store.read_stream("device-b")] == [0]


@pytest.mark.parametrize("expected", [NO_STREAM, 0, 2, 7])
async def test_an_append_that_expects_another_revision_fails_and_writes_nothing(
    event_store: EventStore, expected: int
) -> None:
    await event_store.append("device-a", NO_STREAM, new_events(2))
    before = await everything(event_store)

    with pytest.raises(WrongExpectedRevision) as conflict:
        await event_store.append("device-a", expected, new_events(1))

    assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == ("device-a", expected, 1)
    assert await everything(event_store) == before


async def test_an_append_to_a_stream_that_does_not_exist_has_to_say_so(event_store: EventStore) -> None:
    with pytest.raises(WrongExpectedRevision) as conflict:
        await event_store.append("device-a", 0, new_events(1))

    assert conflict.value.actual == NO_STREAM
    assert await everything(event_store) == []


async def test_an_append_without_events_is_a_mistake(event_store: EventStore) -> None:
    with pytest.raises(ValueError, match="at least one event"):
        await event_store.append("device-a", NO_STREAM, [])


async def test_the_same_append_again_is_answered_as_the_first_time(event_store: EventStore) -> None:
    events = new_events(3)
    first = await event_store.append("device-a", NO_STREAM, events)
    await event_store.append("device-a", 2, new_events(2))

    assert await event_store.append("device-a", NO_STREAM, events) == first
    assert len(await everything(event_store)) == 5


async def test_the_same_append_twice_at_once_is_written_once(event_store: EventStore) -> None:
    events = new_events(2)

    first, second = await asyncio.gather(
        event_store.append("device-a", NO_STREAM, events), event_store.append("device-a", NO_STREAM, events)
    )

    assert first == second
    assert ids(await everything(event_store)) == ids(events)


async def test_events_that_stand_at_another_revision_are_not_appended_again(event_store: EventStore) -> None:
    events = new_events(3)
    await event_store.append("device-a", NO_STREAM, events)

    with pytest.raises(WrongExpectedRevision) as conflict:
        await event_store.append("device-a", 0, events)

    assert conflict.value.actual == 2
    assert ids(await everything(event_store)) == ids(events)


async def test_an_append_of_which_only_the_beginning_is_known_fails_and_writes_nothing(
    event_store: EventStore,
) -> None:
    known = new_events(1)
    await event_store.append("device-a", NO_STREAM, known)

    with pytest.raises(WrongExpectedRevision):
        await event_store.append("device-a", NO_STREAM, [*known, new_event()])

    assert ids(await everything(event_store)) == ids(known)


async def test_of_appends_that_compete_for_a_revision_exactly_one_wins(event_store: EventStore) -> None:
    contenders = [new_events(2) for _ in range(20)]

    results = await asyncio.gather(
        *(event_store.append("device-a", NO_STREAM, events) for events in contenders), return_exceptions=True
    )

    (winner,) = [events for events, result in zip(contenders, results, strict=True) if isinstance(result, Appended)]
    losers = [result for result in results if isinstance(result, WrongExpectedRevision)]
    assert len(losers) == 19
    assert {loser.actual for loser in losers} == {1}
    assert ids(await everything(event_store)) == ids(winner)


async def test_a_conflict_spoils_none_of_the_appends_beside_it(event_store: EventStore) -> None:
    results = await asyncio.gather(
        *(event_store.append(f"device-{n}", 5 if n % 3 == 0 else NO_STREAM, new_events(1)) for n in range(30)),
        return_exceptions=True,
    )

    assert [isinstance(result, WrongExpectedRevision) for result in results] == [n % 3 == 0 for n in range(30)]
    assert {event.stream for event in await everything(event_store)} == {f"device-{n}" for n in range(30) if n % 3}


async def test_an_append_that_nobody_waits_for_any_more_is_written_whole_or_not_at_all(event_store: EventStore) -> None:
    abandoned = [new_events(3) for _ in range(8)]
    tasks = [
        asyncio.create_task(event_store.append(f"device-{n}", NO_STREAM, events)) for n, events in enumerate(abandoned)
    ]
    beside = asyncio.create_task(event_store.append("device-beside", NO_STREAM, new_events(1)))
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert len((await beside).positions) == 1
    for n, events in enumerate(abandoned):
        await event_store.append(f"device-{n}", NO_STREAM, events)
        assert ids(await event_store.read_stream(f"device-{n}")) == ids(events)


async def test_an_unknown_stream_has_no_events(event_store: EventStore) -> None:
    assert list(await event_store.read_stream("device-nobody")) == []


async def test_a_stream_is_read_in_pages(event_store: EventStore) -> None:
    await event_store.append("device-b", NO_STREAM, new_events(3))
    await event_store.append("device-a", NO_STREAM, new_events(7))

    async def revisions(after: int, limit: int) -> list[int]:
        return [event.revision for event in await event_store.read_stream("device-a", after=after, limit=limit)]

    assert await revisions(NO_STREAM, 3) == [0, 1, 2]
    assert await revisions(2, 3) == [3, 4, 5]
    assert await revisions(5, 3) == [6]
    assert await revisions(6, 3) == []


async def test_the_log_is_read_in_pages(event_store: EventStore) -> None:
    events = new_events(7)
    await event_store.append("device-a", NO_STREAM, events[:4])
    await event_store.append("device-b", NO_STREAM, events[4:])

    first = await event_store.read_all(after=0, limit=5)
    second = await event_store.read_all(after=first[-1].position, limit=5)

    assert (ids(first), ids(second)) == (ids(events[:5]), ids(events[5:]))
    assert list(await event_store.read_all(after=second[-1].position)) == []


async def test_the_head_is_the_last_events_position(event_store: EventStore) -> None:
    assert await event_store.head() == 0
    appended = await event_store.append("device-a", NO_STREAM, new_events(3))
    assert await event_store.head() == appended.positions[-1]


async def test_what_was_appended_is_known_without_asking(event_store: EventStore) -> None:
    """At the end, the read side is waited for up to there: an acknowledged event must not lie beyond."""
    await event_store.read_stream("device-a")
    for revision in range(-1, 9):
        appended = await event_store.append("device-a", revision, new_events(1))
        assert event_store.newest == appended.positions[-1] == await event_store.head()


async def test_the_log_has_an_identity(event_store: EventStore) -> None:
    log_id = await event_store.identify()
    assert len(log_id) >= 16
    assert await event_store.identify() == log_id


async def test_a_subscriber_gets_what_is_there_and_then_what_comes(event_store: EventStore) -> None:
    old, new = new_events(3), new_events(2)
    await event_store.append("device-a", NO_STREAM, old)

    following = asyncio.create_task(follow(event_store, after=0, count=5))
    await follow(event_store, after=0, count=3)
    await event_store.append("device-a", 2, new)

    assert ids(await following) == ids(old + new)


async def test_a_subscriber_starts_behind_the_position_it_names(event_store: EventStore) -> None:
    events = new_events(4)
    appended = await event_store.append("device-a", NO_STREAM, events)

    assert ids(await follow(event_store, after=appended.positions[1], count=2)) == ids(events[2:])


async def test_a_subscriber_at_the_head_gets_only_what_comes(event_store: EventStore) -> None:
    await event_store.append("device-a", NO_STREAM, new_events(3))
    new = new_events(2)

    following = asyncio.create_task(follow(event_store, after=await event_store.head(), count=2))
    await asyncio.sleep(0)
    await event_store.append("device-a", 2, new)

    assert ids(await following) == ids(new)


async def test_every_subscriber_gets_every_event_at_its_own_pace(event_store: EventStore) -> None:
    async def slow_follow() -> list[RecordedEvent]:
        seen: list[RecordedEvent] = []
        async for events in event_store.subscribe(after=0):
            seen += events
            await event_store.read_all(after=0, limit=1)
            if len(seen) == 60:
                return seen
        raise AssertionError("a subscription has no end")

    followers = [asyncio.create_task(follow(event_store, after=0, count=60)) for _ in range(5)]
    slow = asyncio.create_task(slow_follow())
    for revision in range(NO_STREAM, 59, 3):
        await event_store.append("device-a", revision, new_events(3))

    log = ids(await everything(event_store))
    assert all(ids(seen) == log for seen in [*await asyncio.gather(*followers), await slow])


async def test_a_subscriber_is_never_given_more_than_five_hundred_events_at_once(event_store: EventStore) -> None:
    await event_store.append("device-a", NO_STREAM, new_events(1_100))
    sizes: list[int] = []

    async for events in event_store.subscribe(after=0):
        sizes.append(len(events))
        if sum(sizes) == 1_100:
            break

    assert max(sizes) <= 500


async def test_a_subscriber_that_leaves_disturbs_nobody(event_store: EventStore) -> None:
    leaving = asyncio.create_task(follow(event_store, after=0, count=1))
    staying = asyncio.create_task(follow(event_store, after=0, count=1))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    events = new_events(1)
    await event_store.append("device-a", NO_STREAM, events)
    assert ids(await staying) == ids(events)
