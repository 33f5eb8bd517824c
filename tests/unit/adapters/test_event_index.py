"""The index beside a store that has none, here one in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from gateway.adapters.event_index import EventIndex, Place
from gateway.adapters.indexed_store import IndexedOutcomes, IndexedStore
from gateway.adapters.sqlite import Database, open_database
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.errors import StoreUnavailable
from gateway.messages import NO_STREAM, NewEvent
from tests.support.memory_store import MemoryStore
from tests.support.new_events import events_of_command, new_events

STREAM = "device-pump-7"


class Counting(MemoryStore):
    """Counts how often a stream is read, and may be another log than it was."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.log_id = "a log"

    async def identify(self) -> str:
        return self.log_id

    async def read_stream(self, *args: Any, **options: Any) -> Any:
        self.reads += 1
        return await super().read_stream(*args, **options)


@dataclass
class Bench:
    """A gateway's index and outcomes on a store that others write to as well."""

    store: Counting
    database: Database

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all that is not in the database."""
        self.index = EventIndex(self.database, self.store)
        self.indexed = IndexedStore(self.store, self.index)
        self.outcomes = IndexedOutcomes(self.store, self.index, SqliteOutcomes(self.database))

    async def known(self, revision: int, *ids: UUID) -> set[UUID]:
        return set(await self.outcomes.find(STREAM, revision, ids))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_database(tmp_path / "gateway.db") as database:
        yield Bench(Counting(), database)


def command(number: int) -> list[NewEvent]:
    return list(events_of_command(f"c{number}"))


def key(number: int) -> UUID:
    return command(number)[0].id


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
    await bench.indexed.append(STREAM, NO_STREAM, [event for number in range(50) for event in command(number)])
    await bench.index.flush()
    bench.restart()
    await bench.index.cover(STREAM, 49)
    assert bench.store.reads == 0
    assert len(await bench.index.locate([key(number) for number in range(60)])) == 50


async def test_a_gap_is_never_taken_for_complete(bench: Bench) -> None:
    for number in range(4):
        await bench.store.append(STREAM, number - 1, command(number))
    bench.index.add(STREAM, 1, [(key(2), 2), (key(3), 3)])
    assert await bench.known(3, key(0), key(1), key(2), key(3)) == {key(0), key(1), key(2), key(3)}


async def test_everything_that_the_subscription_brings_is_indexed(bench: Bench) -> None:
    await bench.store.append(STREAM, NO_STREAM, [*command(1), *command(2)])
    async for page in bench.indexed.subscribe(after=0):
        assert bench.index.reached == page[-1].position == 2
        break
    await bench.index.cover(STREAM, 1)
    assert bench.store.reads == 0


async def test_an_entry_is_found_at_every_moment_of_its_writing(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    async for _ in _each_step(bench.index.flush()):
        assert await bench.index.locate([key(1)])
    assert await bench.index.locate([key(1)])


async def _each_step(work: Any) -> AsyncIterator[None]:
    import asyncio

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


async def test_the_index_of_another_log_is_emptied(bench: Bench) -> None:
    await bench.indexed.append(STREAM, NO_STREAM, command(1))
    await bench.index.cover(STREAM, 0)
    await bench.index.flush()
    bench.store = Counting()
    bench.store.log_id = "another log"
    bench.restart()
    assert await bench.known(NO_STREAM, key(1)) == set()


async def test_an_index_that_is_wrong_is_made_anew(bench: Bench) -> None:
    await bench.store.append(STREAM, NO_STREAM, [*new_events(1), *command(1)])
    bench.index.add(STREAM, NO_STREAM, [(key(1), 0), (key(2), 1)])
    assert await bench.known(1, key(1), key(2)) == {key(1)}
    assert await bench.index.locate([key(1)]) == {key(1): Place(STREAM, 1)}
