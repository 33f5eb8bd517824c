from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.errors import MigrationError, StoreUnavailable
from gateway.messages import NO_STREAM, RecordedEvent
from gateway.migration import compare_logs, copy_log
from tests.support.new_events import new_event, new_events

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def silent(_count: int) -> None:
    pass


@dataclass
class Logs:
    source: SqliteLog
    target: SqliteLog

    async def copy(self) -> int:
        return await copy_log(self.source, self.target, silent)

    async def compare(self) -> int:
        return await compare_logs(self.source, self.target, silent)


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Logs]:
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(open_database(tmp_path / name)) for name in ("from.db", "to.db")]
        yield Logs(*map(SqliteLog, databases))


async def fill(log: SqliteLog, rounds: int) -> None:
    """Events of an earlier time, of several streams in turn."""
    times = count()
    for turn in range(rounds):
        for number, stream in enumerate(("device-a", "device-b", "counter-c")):
            size = number + 1
            expected = turn * size - 1
            events = [
                RecordedEvent(
                    0, stream, expected + 1 + index, LONG_AGO + timedelta(seconds=next(times)), new.id, *_content(new)
                )
                for index, new in enumerate(new_events(size))
            ]
            await log.append_recorded(stream, expected, events)


def _content(event: object) -> tuple[str, bytes, bytes]:
    return event.type, event.data, event.metadata  # type: ignore[attr-defined]


async def test_a_copy_has_the_same_events_with_the_same_ids_and_times_in_the_same_order(logs: Logs) -> None:
    await fill(logs.source, 300)
    assert await logs.copy() == 1_800
    original, copy = await logs.source.read_all(after=0, limit=9_999), await logs.target.read_all(after=0, limit=9_999)
    assert list(copy) == list(original)
    assert copy[0].recorded_at == LONG_AGO
    assert await logs.compare() == 1_800


async def test_a_second_run_copies_only_what_came_since(logs: Logs) -> None:
    await fill(logs.source, 2)
    await logs.copy()
    assert await logs.copy() == 0
    await logs.source.append("device-z", NO_STREAM, new_events(3))
    assert await logs.copy() == 3
    assert await logs.compare() == 15


async def test_an_interrupted_copy_goes_on_where_it_stopped(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(logs.source, 5)
    appends = count()
    append_recorded = logs.target.append_recorded

    async def fails_once(stream: str, expected: int, events: Sequence[RecordedEvent]) -> None:
        if next(appends) == 7:
            raise StoreUnavailable("away")
        await append_recorded(stream, expected, events)

    monkeypatch.setattr(logs.target, "append_recorded", fails_once)
    with pytest.raises(StoreUnavailable):
        await logs.copy()
    assert await logs.target.head() == 13
    assert await logs.copy() == 17
    assert await logs.compare() == 30


async def test_a_target_with_events_of_its_own_is_not_touched(logs: Logs) -> None:
    await fill(logs.source, 1)
    await logs.target.append("device-a", NO_STREAM, new_events(1))
    with pytest.raises(MigrationError, match="not in the source, such as device-a revision 0"):
        await logs.copy()
    assert await logs.target.head() == 1


async def test_a_copy_that_ends_early_is_found(logs: Logs) -> None:
    await fill(logs.source, 1)
    await logs.copy()
    await logs.source.append("device-z", NO_STREAM, new_events(1))
    with pytest.raises(MigrationError, match="the copy ends before device-z revision 0"):
        await logs.compare()


async def test_a_copy_that_has_more_is_found(logs: Logs) -> None:
    await fill(logs.source, 1)
    await logs.copy()
    await logs.target.append("device-z", NO_STREAM, new_events(1))
    with pytest.raises(MigrationError, match="the copy has more: device-z revision 0"):
        await logs.compare()


async def test_a_copy_that_differs_is_found(logs: Logs) -> None:
    event = new_event()
    recorded = RecordedEvent(0, "device-a", 0, LONG_AGO, event.id, *_content(event))
    await logs.source.append_recorded("device-a", NO_STREAM, [recorded])
    await logs.target.append("device-a", NO_STREAM, [event])
    with pytest.raises(MigrationError, match="recorded_at differs in the copy"):
        await logs.compare()
