import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from blockbuster import blockbuster_ctx

from gateway.adapters.recent_events import RecentEvents, RecentLimits
from gateway.adapters.sqlite import Database, open_database
from gateway.adapters.sqlite_append import Append, AppendWriter
from gateway.adapters.sqlite_file import connect_writer, prepare
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.sqlite_reader import open_read_only
from gateway.adapters.sqlite_snapshots import SqliteSnapshots
from gateway.errors import StateError, StorageFull, StoreUnavailable, WrongExpectedRevision
from gateway.messages import NO_STREAM, Appended, Outcome, RecordedEvent, Snapshot, Verdict
from tests.support.new_events import RECEIVED_AT, events_of_command, new_event, new_events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with open_database(path) as database:
        yield database


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """A disk that takes no more, as far as a file's end goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def positions(log: SqliteLog) -> list[int]:
    return [event.position for event in await log.read_all(after=0)]


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    events = new_events(5)
    async with open_database(path) as database:
        log = SqliteLog(database)
        first = await log.append("device-a", NO_STREAM, events)
        await SqliteSnapshots(database).save_snapshot("device-a", Snapshot(4, UUID(int=4), b"state"))
        before, log_id = await log.read_all(after=0), await log.identify()

    async with open_database(path) as database:
        log = SqliteLog(database)
        assert await log.read_all(after=0) == before
        assert (await log.identify(), await log.head()) == (log_id, 5)
        assert await SqliteSnapshots(database).load_snapshot("device-a") == Snapshot(4, UUID(int=4), b"state")
        assert await log.append("device-a", NO_STREAM, events) == first
        assert (await log.append("device-a", 4, new_events(1))).positions == (6,)


async def test_positions_have_no_gaps_whatever_fails_between(database: Database) -> None:
    log = SqliteLog(database)
    results = await asyncio.gather(
        *(log.append(f"device-{n % 7}", n // 7 - 1 if n % 5 else 99, new_events(2)) for n in range(60)),
        return_exceptions=True,
    )
    assert {type(result) for result in results} == {Appended, WrongExpectedRevision}
    head = await log.head()
    assert await positions(log) == list(range(1, head + 1))


def test_revisions_go_on_where_a_stream_ended_even_if_few_heads_are_remembered(path: Path) -> None:
    prepare(path)
    connection = connect_writer(path)
    writer = AppendWriter(remembered_heads=2)
    for revision in range(-1, 4):
        appends = [Append(f"device-{n}", revision, new_events(1)) for n in range(6)]
        assert all(isinstance(result, Appended) for result in writer.write(connection, appends))
        assert len(writer._heads) == 2
    connection.close()


async def test_an_append_that_cannot_be_written_spoils_none_beside_it(database: Database) -> None:
    log = SqliteLog(database)
    twice = new_event()
    results = await asyncio.gather(
        log.append("device-a", NO_STREAM, new_events(1)),
        log.append("device-\ud800", NO_STREAM, new_events(1)),
        log.append("device-b", NO_STREAM, [twice, twice]),
        log.append("device-c", NO_STREAM, new_events(1)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Appended, UnicodeEncodeError, sqlite3.IntegrityError, Appended]
    assert await positions(log) == [1, 2]
    assert (await log.append("device-a", 0, new_events(1))).positions == (3,)


async def test_a_disk_that_fills_up_fails_the_commit_and_heals(path: Path, database: Database) -> None:
    log = SqliteLog(database)
    await log.append("device-a", NO_STREAM, new_events(1))
    retried, others = new_events(3), [new_events(2) for _ in range(5)]

    with files_no_longer_than(path.with_name("gateway.db-wal").stat().st_size):
        results = await asyncio.gather(
            log.append("device-a", 0, retried),
            *(log.append(f"device-{n}", NO_STREAM, events) for n, events in enumerate(others)),
            SqliteSnapshots(database).save_snapshot("device-a", Snapshot(0, UUID(int=4), b"state")),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {StorageFull}
        assert await positions(log) == [1]

    assert (await log.append("device-a", 0, retried)).positions == (2, 3, 4)
    assert await log.head() == 4
    async with aclosing(log.subscribe(after=0)) as subscription:
        assert [event.position for event in await anext(subscription)] == [1, 2, 3, 4]


async def test_a_statement_that_finds_the_disk_full_fails_its_batch(database: Database) -> None:
    log = SqliteLog(database)
    await log.append("device-a", NO_STREAM, new_events(1))

    def limit_pages(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1").fetchall()

    await database.writer.call(limit_pages)
    results = await asyncio.gather(
        *(log.append(f"device-{n}", NO_STREAM, new_events(100)) for n in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [StorageFull] * 3
    # the limit went with the connection
    assert (await log.append("device-b", NO_STREAM, new_events(100))).positions == tuple(range(2, 102))


async def test_events_whose_commit_was_reported_as_failed_still_reach_subscribers(database: Database) -> None:
    log = SqliteLog(database)
    await log.append("device-a", NO_STREAM, new_events(1))
    lost = AppendWriter()
    await database.writer.call(lambda connection: lost.write(connection, [Append("device-b", -1, new_events(2))]))
    log._append.undone()
    await log.append("device-a", 0, new_events(1))

    async with aclosing(log.subscribe(after=0)) as subscription:
        seen: list[int] = []
        while len(seen) < 4:
            seen += [event.position for event in await anext(subscription)]
    assert seen == [1, 2, 3, 4]


async def test_a_closed_store_is_unavailable(path: Path) -> None:
    async with open_database(path) as database:
        log = SqliteLog(database)
    with pytest.raises(StoreUnavailable):
        await log.append("device-a", NO_STREAM, new_events(1))
    with pytest.raises(StoreUnavailable):
        await log.read_all(after=0)


async def test_closing_finishes_what_was_submitted(path: Path) -> None:
    async with open_database(path) as database:
        log = SqliteLog(database)
        appends = [asyncio.create_task(log.append(f"device-{n}", NO_STREAM, new_events(1))) for n in range(20)]
        await asyncio.sleep(0)
    await asyncio.gather(*appends)
    with open_read_only(path) as reader:
        assert reader.head() == 20


@pytest.mark.parametrize("expected", [NO_STREAM, 0], ids=["where it stands", "behind it"])
async def test_what_stands_in_the_log_is_not_new(database: Database, expected: int) -> None:
    log = SqliteLog(database)
    known, other = new_events(1), new_events(1)
    await log.append_new("device-a", NO_STREAM, known)
    # beside one that is: what is in one transaction must not be decided together
    results = await asyncio.gather(
        log.append_new("device-a", expected, known),
        log.append_new("device-b", NO_STREAM, other),
        return_exceptions=True,
    )
    assert isinstance(results[0], WrongExpectedRevision)
    assert results[0].actual == 0
    assert await positions(log) == [1, 2]


async def test_a_command_with_a_remembered_verdict_is_not_new_but_may_be_appended_all_the_same(
    database: Database,
) -> None:
    """Its verdict need not hold; whoever has looked it up knows."""
    log, outcomes = SqliteLog(database), SqliteOutcomes(database)
    events = new_events(2)
    verdicts = [Verdict(event.id, "c1", "a", "a", "report", Outcome(422, bytes(16), RECEIVED_AT)) for event in events]
    for verdict in verdicts:
        await outcomes.remember([verdict])
        with pytest.raises(WrongExpectedRevision):
            await log.append_new("device-a", NO_STREAM, events)
        await outcomes.prune(RECEIVED_AT + timedelta(days=1))
    await outcomes.remember(verdicts)
    assert await positions(log) == []
    await log.append("device-a", NO_STREAM, events)
    assert await positions(log) == [1, 2]


async def test_nothing_blocks_the_event_loop(path: Path) -> None:
    with blockbuster_ctx():
        async with open_database(path) as database:
            log, outcomes = SqliteLog(database), SqliteOutcomes(database)
            events = events_of_command("c1")
            await log.append("device-pump-7", NO_STREAM, events)
            assert len(await log.read_all(after=0)) == 1
            assert len(await outcomes.find("device-a", 1_000, [events[0].id])) == 1
            async with aclosing(log.subscribe(after=0)) as subscription:
                assert len(await anext(subscription)) == 1


async def test_a_look_from_outside_sees_the_log_while_the_gateway_writes(path: Path, database: Database) -> None:
    log = SqliteLog(database)
    await log.append("device-a", NO_STREAM, new_events(3))
    with open_read_only(path) as reader:
        assert (reader.head(), reader.log_id) == (3, await log.identify())
        assert reader.read_stream("device-a", after=0) == await log.read_stream("device-a", after=0)
        await log.append("device-b", NO_STREAM, new_events(1))
        assert [event.stream for event in reader.read_all(after=3)] == ["device-b"]


async def test_a_look_from_outside_leaves_no_trace_while_the_gateway_is_stopped(path: Path) -> None:
    async with open_database(path) as database:
        await SqliteLog(database).append("device-a", NO_STREAM, new_events(3))
    with open_read_only(path) as reader:
        assert reader.head() == 3
        assert [file.name for file in path.parent.iterdir()] == ["gateway.db"]


async def test_a_look_from_outside_cannot_write(path: Path, database: Database) -> None:
    await SqliteLog(database).append("device-a", NO_STREAM, new_events(1))
    with pytest.raises(StateError, match="readonly"), open_read_only(path) as reader:
        reader.connection.execute("DELETE FROM events")


def test_a_look_at_a_database_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(StateError, match="cannot be read"), open_read_only(path):
        pass
    assert not path.exists()


def recorded(position: int, size: int = 2) -> RecordedEvent:
    event = new_event()
    return RecordedEvent(position, "device-a", position - 1, RECEIVED_AT, event.id, event.type, b"d" * size, b"")


@pytest.mark.parametrize(
    ("stream", "expected", "actual"),
    [("device-b", NO_STREAM, NO_STREAM), ("device-a", 2, 2)],
    ids=["another stream", "behind itself"],
)
async def test_events_that_stand_anywhere_are_not_appended_again(
    path: Path, stream: str, expected: int, actual: int
) -> None:
    events = new_events(3)
    async with open_database(path) as database:
        log = SqliteLog(database)
        await log.append("device-a", NO_STREAM, events)
        with pytest.raises(WrongExpectedRevision) as conflict:
            await log.append(stream, expected, events)
        with pytest.raises(WrongExpectedRevision):
            await log.append("device-a", 2, [*new_events(1), events[0]])
        assert conflict.value.actual == actual
        assert len(await log.read_all(after=0)) == 3


async def test_recent_events_are_bounded_by_number() -> None:
    recent = RecentEvents(0, RecentLimits(events=8))
    for position in range(1, 100):
        recent.add([recorded(position)], after=position - 1)
        assert 4 <= len(recent._events) <= 8 or position < 8


async def test_recent_events_are_bounded_by_size() -> None:
    recent = RecentEvents(0, RecentLimits(size=1_000))
    for position in range(1, 50):
        recent.add([recorded(position, size=300)], after=position - 1)
        assert recent._size == 300 * len(recent._events) <= 1_000
    recent.add([recorded(50, size=2_000)], after=49)
    assert (recent.head, recent._size, recent._events) == (50, 0, [])
    assert recent.after(49, 10) is None


async def test_recent_events_have_no_gap() -> None:
    recent = RecentEvents(0, RecentLimits())
    recent.add([recorded(1), recorded(2)], after=0)
    behind_a_gap = recorded(5)
    recent.add([behind_a_gap], after=4)
    assert [recent.after(position, 10) for position in range(6)] == [None, None, None, None, [behind_a_gap], ()]


async def test_recent_events_may_have_positions_that_do_not_follow_each_other() -> None:
    recent = RecentEvents(100, RecentLimits())
    first, second = recorded(180), recorded(350)
    recent.add([first], after=100)
    recent.add([second], after=180)
    assert [recent.after(position, 10) for position in (99, 100, 179, 180, 349, 350)] == [
        None,
        [first, second],
        [first, second],
        [second],
        [second],
        (),
    ]
