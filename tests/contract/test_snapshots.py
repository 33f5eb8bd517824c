"""What every place for snapshots promises. Another one is one more line in PLACES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_snapshots import SqliteSnapshots
from gateway.messages import Snapshot
from gateway.ports import Snapshots
from tests.support.memory_store import MemorySnapshots


@asynccontextmanager
async def sqlite_snapshots(directory: Path) -> AsyncIterator[Snapshots]:
    async with open_database(directory / "gateway.db") as database:
        yield SqliteSnapshots(database)


@asynccontextmanager
async def memory_snapshots(_directory: Path) -> AsyncIterator[Snapshots]:
    yield MemorySnapshots()


Factory = Callable[[Path], AbstractAsyncContextManager[Snapshots]]
PLACES: dict[str, Factory] = {"sqlite": sqlite_snapshots, "memory": memory_snapshots}


@pytest.fixture(params=PLACES)
async def snapshots(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Snapshots]:
    async with PLACES[request.param](tmp_path) as place:
        yield place


async def test_a_stream_has_no_snapshot_until_one_is_saved(snapshots: Snapshots) -> None:
    assert await snapshots.load_snapshot("device-a") is None


async def test_the_last_snapshot_is_kept_also_when_the_log_is_another_and_shorter_one(snapshots: Snapshots) -> None:
    await snapshots.save_snapshot("device-a", Snapshot(8, UUID(int=8), b"of the old log"))
    await snapshots.save_snapshot("device-a", Snapshot(2, UUID(int=2), b"of the new log"))

    assert await snapshots.load_snapshot("device-a") == Snapshot(2, UUID(int=2), b"of the new log")
    assert await snapshots.load_snapshot("device-b") is None
