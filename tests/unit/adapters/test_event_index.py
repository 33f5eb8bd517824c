"""The index beside a store that has none, here one in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters import event_index
from gateway.adapters.event_index import FLUSHED_AT, EventIndex, Place
from gateway.adapters.sqlite import open_database
from gateway.errors import StoreUnavailable
from gateway.messages import NO_STREAM
from tests.support.index_bench import OTHER, STREAM, Bench, Counting, command, key
from tests.support.new_events import new_events


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_database(tmp_path / "gateway.db") as database:
        yield Bench(Counting(), database)


async def test_what_this_gateway_appended_is_found_without_reading_the_stream(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.index.cover(STREAM, 0)
    assert bench.store.reads == 0
    assert await bench.index.locate([key(1)]) == {key(1): Place(STREAM, 0)}


async def test_what_another_gateway_appended_is_found_as_of_the_revision_that_is_decided_on(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.store.append(STREAM, 0, command(2))
    assert await bench.known(1, key(1), key(2), key(3)) == {key(1), key(2)}


@pytest.mark.parametrize("flushed", [True, False])
async def test_after_a_crash_what_the_index_lacks_is_read_again(bench: Bench, flushed: bool) -> None:  # noqa: FBT001
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    if flushed:
        await bench.index.flush()
    await bench.indexed.append(STREAM, 0, command(2))
    bench.restart()
    assert await bench.known(1, key(1), key(2)) == {key(1), key(2)}


async def test_what_is_in_the_database_is_not_read_again(bench: Bench) -> None:
    for first in (0, 25):
        events = [event for number in range(first, first + 25) for event in command(number)]
        await bench.indexed.append(STREAM, first - 1, events)
        await bench.index.flush()
    bench.restart()
    await bench.index.cover(STREAM, 49)
    assert bench.store.reads == 0
    assert len(await bench.index.locate([key(number) for number in range(60)])) == 50


async def test_reading_a_part_of_what_is_known_again_makes_nothing_unknown(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, [*command(1), *command(2)])
    await bench.indexed.read_stream(STREAM, limit=1)
    await bench.index.cover(STREAM, 1)
    assert bench.store.reads == 1


async def test_a_gap_is_never_taken_for_complete(bench: Bench) -> None:
    for number in range(4):
        await bench.store.append(STREAM, number - 1, command(number))
    bench.index.add(STREAM, 1, [(key(2), 2), (key(3), 3)])
    assert await bench.known(3, key(0), key(1), key(2), key(3)) == {key(0), key(1), key(2), key(3)}


async def test_everything_that_the_subscription_brings_is_indexed(bench: Bench) -> None:
    await bench.store.append(STREAM, NO_STREAM, [*command(1), *command(2)])
    await bench.followed(0)
    await bench.index.cover(STREAM, 1)
    assert bench.store.reads == 0


async def test_a_subscription_indexes_what_a_crash_took_away_and_gives_what_was_asked_for(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, [*command(1), *command(2)])
    await bench.followed(0)
    await bench.index.flush()
    await bench.indexed.append(STREAM, 1, command(3))
    await bench.store.append(OTHER, NO_STREAM, new_events(1))
    bench.restart()
    assert [event.position for event in await bench.followed(3)] == [4]
    await bench.index.flush()
    assert await bench.written_up_to() == 4
    assert await bench.index.locate([key(3)]) == {key(3): Place(STREAM, 2)}


async def test_events_that_nobody_told_the_index_of_are_never_said_to_be_in_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> int:
        raise StoreUnavailable("away")

    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.followed(0)
    await bench.index.flush()
    await bench.store.append(STREAM, 0, [*command(2), *command(3)])
    await bench.store.append(OTHER, NO_STREAM, new_events(1))
    bench.restart()
    monkeypatch.setattr(EventIndex, "follow_from", away)
    assert [event.position for event in await bench.followed(2)] == [3, 4]
    await bench.index.flush()
    assert await bench.written_up_to() == 1


@pytest.mark.parametrize("interruption", ["the store is away", "the index is emptied"])
async def test_a_page_that_could_not_be_indexed_in_full_is_passed_on_and_not_said_to_be(
    bench: Bench, interruption: str
) -> None:
    async def interrupted(*_: Any, **__: Any) -> Any:
        if interruption == "the store is away":
            raise StoreUnavailable("away")
        await bench.index.forget_all()
        return ()

    await bench.store.append(STREAM, NO_STREAM, command(1))
    await bench.followed(0)
    await bench.index.flush()
    bench.restart()
    await bench.store.append(OTHER, NO_STREAM, new_events(1))
    await bench.store.append(STREAM, 0, command(2))
    bench.store.read_stream = interrupted  # type: ignore[method-assign]
    assert [event.position for event in await bench.followed(1)] == [2, 3]
    await bench.indexed.append("device-pump-9", NO_STREAM, new_events(1))
    await bench.index.flush()
    assert await bench.written_up_to() <= 1


async def test_a_log_that_does_not_tell_who_it_is_can_be_followed_and_counts_as_read_up_to_nowhere(
    bench: Bench,
) -> None:
    await bench.store.append(STREAM, NO_STREAM, command(1))
    bench.store.log_id = None
    assert [event.id for event in await bench.followed(0)] == [key(1)]
    bench.store.log_id = "a log"
    await bench.index.flush()
    assert await bench.written_up_to() == 0


async def test_an_entry_is_found_at_every_moment_of_its_writing(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    async for _ in _each_step(bench.index.flush()):
        assert await bench.index.locate([key(1)])
    assert await bench.index.locate([key(1)])


async def _each_step(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    while not task.done():
        yield
        await asyncio.sleep(0)
    task.result()


async def test_a_flush_that_fails_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_work: object) -> None:
        raise StoreUnavailable("disk broken")

    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.index.cover(STREAM, 0)
    with monkeypatch.context() as patch:
        patch.setattr(type(bench.database.writer), "call", lambda _self, work: broken(work))
        with pytest.raises(StoreUnavailable):
            await bench.index.flush()
    assert await bench.index.locate([key(1)])
    await bench.index.flush()
    bench.restart()
    assert await bench.index.locate([key(1)])


@asynccontextmanager
async def kept_flushed(index: EventIndex, interval: float) -> AsyncIterator[None]:
    task = asyncio.create_task(index.keep_flushed(interval))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def written(bench: Bench) -> int:
    rows = await bench.database.reader.call(
        lambda connection: connection.execute("SELECT 1 FROM event_index").fetchall()
    )
    return len(rows)


async def test_entries_are_written_by_themselves(bench: Bench) -> None:
    async with kept_flushed(bench.index, 0.001):
        for number in range(3):
            await bench.indexed.append(STREAM, number - 1, command(number))
            while await written(bench) <= number:
                await asyncio.sleep(0)


async def test_many_entries_do_not_wait_to_be_written(bench: Bench) -> None:
    async with kept_flushed(bench.index, 3_600):
        await bench.indexed.append(STREAM, NO_STREAM, new_events(FLUSHED_AT))
        while await written(bench) < FLUSHED_AT:
            await asyncio.sleep(0)


async def test_entries_that_can_not_be_written_do_not_pile_up_and_are_read_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_work: object) -> None:
        raise StoreUnavailable("disk full")

    await bench.index.cover(STREAM, NO_STREAM)
    monkeypatch.setattr(event_index, "MOST_PENDING", 5)
    monkeypatch.setattr(bench.database.writer, "call", full)
    async with kept_flushed(bench.index, 0.001):
        await bench.indexed.append(STREAM, NO_STREAM, [*command(1), *new_events(5)])
        while await bench.index.locate([key(1)]):
            await asyncio.sleep(0)
        assert await bench.known(5, key(1)) == {key(1)}
