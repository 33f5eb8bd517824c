"""The index is of another log or wrong, and begins anew while others use it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.adapters.event_index import EventIndex, Place
from gateway.adapters.sqlite import open_database
from gateway.messages import NO_STREAM
from tests.support.index_bench import OTHER, STREAM, Bench, Counting, command, key
from tests.support.new_events import new_events


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_database(tmp_path / "gateway.db") as database:
        yield Bench(Counting(), database)


async def test_the_index_of_another_log_is_emptied(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.followed(0)
    await bench.index.flush()
    bench.store = Counting()
    bench.store.log_id = "another log"
    bench.restart()
    await bench.index.cover(STREAM, NO_STREAM)
    assert await bench.index.locate([key(1)]) == {}
    assert await bench.written_up_to() == 0


@pytest.mark.parametrize("flushed", [True, False])
async def test_an_index_that_is_wrong_is_made_anew(bench: Bench, flushed: bool) -> None:  # noqa: FBT001
    await bench.store.append(STREAM, NO_STREAM, [*new_events(1), *command(1)])
    bench.index.add(STREAM, NO_STREAM, [(key(1), 0), (key(2), 1)])
    if flushed:
        await bench.index.flush()
    assert await bench.known(1, key(1), key(2)) == {key(1)}
    assert await bench.index.locate([key(1)]) == {key(1): Place(STREAM, 1)}


async def test_a_command_stays_known_while_others_find_the_index_wrong(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.index.flush()
    await bench.index.cover(STREAM, 0)
    asked, may_look = asyncio.Event(), asyncio.Event()
    locate = EventIndex.locate

    async def slowly(index: EventIndex, ids: Sequence[UUID]) -> Any:
        asked.set()
        await may_look.wait()
        return await locate(index, ids)

    monkeypatch.setattr(EventIndex, "locate", slowly)
    known = asyncio.create_task(bench.known(0, key(1)))
    await asked.wait()
    await bench.index.forget_all()
    may_look.set()
    assert await known == {key(1)}


async def test_a_revision_that_was_looked_up_before_the_index_was_emptied_counts_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.index.flush()
    bench.restart()
    looked_up, may_tell = asyncio.Event(), asyncio.Event()
    call = bench.database.reader.call

    async def slowly(work: Any) -> Any:
        found = await call(work)
        looked_up.set()
        await may_tell.wait()
        return found

    monkeypatch.setattr(bench.database.reader, "call", slowly)
    covering = asyncio.create_task(bench.index.cover(STREAM, 0))
    await looked_up.wait()
    await bench.index.forget_all()
    may_tell.set()
    await covering
    assert await bench.index.locate([key(1)]) == {key(1): Place(STREAM, 0)}


async def test_a_revision_that_was_looked_up_while_the_index_was_emptied_counts_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.index.flush()
    bench.restart()
    await bench.index.cover(OTHER, NO_STREAM)
    may_empty = asyncio.Event()
    call = bench.database.writer.call

    async def slowly(work: Any) -> Any:
        await may_empty.wait()
        return await call(work)

    monkeypatch.setattr(bench.database.writer, "call", slowly)
    covering = asyncio.create_task(bench.index.cover(STREAM, 0))
    await asyncio.sleep(0)
    emptying = asyncio.create_task(bench.index.forget_all())
    await covering
    may_empty.set()
    await emptying
    assert await bench.known(0, key(1)) == {key(1)}


async def test_what_is_forgotten_while_a_stream_is_read_is_read_again(bench: Bench) -> None:
    async def forget_on_the_second_page(*args: Any, **options: Any) -> Any:
        if bench.store.reads == 1:
            await bench.index.forget_all()
        return await Counting.read_stream(bench.store, *args, **options)

    await bench.store.append(STREAM, NO_STREAM, [*command(1), *new_events(1_500)])
    bench.store.read_stream = forget_on_the_second_page  # type: ignore[method-assign]
    await bench.index.cover(STREAM, 1_500)
    assert await bench.index.locate([key(1)]) == {key(1): Place(STREAM, 0)}


async def test_nothing_that_follows_wrong_entries_is_written_once_they_are_forgotten(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.index.flush()
    await bench.indexed.append(STREAM, 0, command(2))
    async with asyncio.TaskGroup() as both:
        both.create_task(bench.index.forget_all())
        both.create_task(bench.index.flush())
    bench.restart()
    assert await bench.known(1, key(1), key(2)) == {key(1), key(2)}
