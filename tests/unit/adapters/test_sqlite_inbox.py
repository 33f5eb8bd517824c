import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from gateway.adapters.outcome_record import encode_outcome
from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_file import APPLICATION_ID, MIGRATIONS
from gateway.adapters.sqlite_inbox import SqliteInbox
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.sqlite_snapshots import SqliteSnapshots
from gateway.errors import StorageFull
from gateway.messages import MessageProperties, Outcome, Parked, ParkedEntry
from tests.support.new_events import DIGEST, RECEIVED_AT

COMMAND = Parked(
    ParkedEntry(1, "alice", "p"), "c1", None, RECEIVED_AT, "topic", b"{}", retain=False, properties=MessageProperties()
)
KEY = UUID(int=7)
OUTCOME = Outcome(code=404, digest=DIGEST, received_at=RECEIVED_AT, persisted_at=RECEIVED_AT)


async def test_what_was_parked_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with open_database(path) as database:
        await SqliteInbox(database, reserve=0).park([COMMAND])
    async with open_database(path) as database:
        assert await SqliteInbox(database, reserve=0).read("p", after=0, limit=9) == [COMMAND]


async def test_nothing_is_parked_that_would_leave_too_little_room_on_the_disk(tmp_path: Path) -> None:
    async with open_database(tmp_path / "gateway.db") as database:
        inbox = SqliteInbox(database, reserve=2**62)
        with pytest.raises(StorageFull, match="no more commands are parked"):
            await inbox.park([COMMAND])
        assert await inbox.waiting() == []


async def test_a_number_that_is_given_twice_is_an_error_and_no_copy(tmp_path: Path) -> None:
    async with open_database(tmp_path / "gateway.db") as database:
        inbox = SqliteInbox(database, reserve=0)
        await inbox.park([COMMAND])
        with pytest.raises(sqlite3.IntegrityError, match="arrival"):
            await inbox.park([replace(COMMAND, command_id="c2")])


async def test_a_database_of_the_first_version_gets_an_inbox_and_keeps_events_and_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO streams VALUES (1, 'device-p')")
        connection.execute("INSERT INTO events VALUES (1, 1, 0, 0, ?, 'Old', ?, ?)", (bytes(16), b"{}", b"{}"))
        outcome = encode_outcome(OUTCOME)
        connection.execute("INSERT INTO outcomes VALUES (?, 0, 'c2', 'alice', 'p', 'stop', ?)", (KEY.bytes, outcome))
        connection.execute("INSERT INTO snapshots VALUES ('device-p', 0, ?)", (b"old",))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    async with open_database(path) as database:
        assert [event.type for event in await SqliteLog(database).read_stream("device-p")] == ["Old"]
        assert await SqliteOutcomes(database).find("device-p", 0, [KEY]) == {KEY: OUTCOME}
        assert await SqliteSnapshots(database).load_snapshot("device-p") is None
        assert await SqliteInbox(database, reserve=0).park([COMMAND]) == [1]
