import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.adapters.sqlite import Database, open_database
from gateway.adapters.sqlite_identity import EPOCHS_RESERVED, SqliteCursors, SqliteIdentity


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@asynccontextmanager
async def identity_in(path: Path) -> AsyncIterator[SqliteIdentity]:
    async with open_database(path) as database:
        yield SqliteIdentity(database)


async def rows_written(database: Database) -> int:
    return await database.writer.call(lambda connection: connection.total_changes)


async def test_the_client_id_is_made_once(path: Path) -> None:
    async with identity_in(path) as identity:
        made = await identity.client_id("gw1")
        assert await identity.client_id("gw1") == made
    async with identity_in(path) as identity:
        assert await identity.client_id("gw1") == made
    assert re.fullmatch(r"edge-gw1-[0-9a-f]{32}", made)


async def test_another_gateway_id_has_another_client_id(path: Path, tmp_path: Path) -> None:
    async with identity_in(path) as identity, identity_in(tmp_path / "other.db") as other:
        made = {await identity.client_id("gw1"), await identity.client_id("gw2"), await other.client_id("gw1")}
    assert len(made) == 3


async def test_epochs_rise_one_by_one_while_the_gateway_runs(path: Path) -> None:
    async with identity_in(path) as identity:
        assert [await identity.next_epoch() for _ in range(200)] == list(range(1, 201))


async def test_epochs_that_are_asked_for_at_once_differ(path: Path) -> None:
    async with identity_in(path) as identity:
        epochs = await asyncio.gather(*(identity.next_epoch() for _ in range(EPOCHS_RESERVED + 5)))
    assert sorted(epochs) == list(range(1, EPOCHS_RESERVED + 6))


async def test_epochs_go_on_rising_after_a_restart(path: Path) -> None:
    last = 0
    for _ in range(4):
        async with identity_in(path) as identity:
            epoch = await identity.next_epoch()
        assert epoch > last
        last = epoch


async def test_one_write_reserves_many_epochs(path: Path) -> None:
    async with open_database(path) as database:
        identity = SqliteIdentity(database)
        await identity.next_epoch()
        before = await rows_written(database)
        for _ in range(EPOCHS_RESERVED - 1):
            await identity.next_epoch()
        assert await rows_written(database) == before


async def test_a_cursor_is_there_after_a_restart(path: Path) -> None:
    async with open_database(path) as database:
        cursors = SqliteCursors(database)
        assert await cursors.load_cursor("feed") is None
        await cursors.save_cursor("feed", 41)
        await cursors.save_cursor("feed", 0)
        await cursors.save_cursor("other", 7)
    async with open_database(path) as database:
        cursors = SqliteCursors(database)
        assert (await cursors.load_cursor("feed"), await cursors.load_cursor("other")) == (0, 7)
