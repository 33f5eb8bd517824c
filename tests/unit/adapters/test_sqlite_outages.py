from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_outages import SqlitePendingOutages
from gateway.messages import PendingOutage

BEGAN = datetime(2026, 3, 1, 12, 0, 0, 123, tzinfo=UTC)
OUTAGE = PendingOutage("o1", "broker", BEGAN, None, 2, "refused", "states")


async def test_what_was_kept_is_there_after_a_restart_as_it_was_kept_last(tmp_path: Path) -> None:
    path, over = tmp_path / "gateway.db", replace(OUTAGE, ended_at=datetime(2026, 3, 1, 13, tzinfo=UTC))
    async with open_database(path) as database:
        rows = SqlitePendingOutages(database)
        await rows.keep(OUTAGE)
        await rows.keep(replace(OUTAGE, id="o2", began_at=datetime(2026, 3, 1, 11, tzinfo=UTC)))
        await rows.keep(over)
    async with open_database(path) as database:
        rows = SqlitePendingOutages(database)
        first, second = await rows.load()
        assert (first.id, second) == ("o2", over)
        await rows.remove("o1")
        assert await rows.load() == [first]


async def test_a_database_tells_whether_it_was_closed(tmp_path: Path) -> None:
    path, copy = tmp_path / "gateway.db", tmp_path / "copy.db"
    async with open_database(path) as database:
        assert not database.crashed
        copy.write_bytes(path.read_bytes())
        wal = path.with_name("gateway.db-wal")
        copy.with_name("copy.db-wal").write_bytes(wal.read_bytes())
    async with open_database(path) as database:
        assert not database.crashed
    async with open_database(copy) as database:
        assert database.crashed
