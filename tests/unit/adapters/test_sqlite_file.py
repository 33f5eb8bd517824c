import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.adapters import sqlite_file
from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_file import APPLICATION_ID, MIGRATIONS, connect_writer, prepare
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.sqlite_reader import open_read_only
from gateway.errors import StateError
from gateway.messages import NO_STREAM
from tests.support.new_events import new_events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


async def fill(path: Path) -> None:
    async with open_database(path) as database:
        for n in range(20):
            await SqliteLog(database).append(f"device-{n}", NO_STREAM, new_events(20))


def head_after_start(path: Path) -> int:
    prepare(path)
    with open_read_only(path) as reader:
        return reader.head()


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def overwrite_a_page_of(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 3_000)


async def test_the_file_and_its_wal_are_not_for_others(path: Path) -> None:
    async with open_database(path) as database:
        await SqliteLog(database).append("device-a", NO_STREAM, new_events(1))
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {"gateway.db": 0o640, "gateway.db-wal": 0o640, "gateway.db-shm": 0o640}


async def test_an_orderly_close_leaves_one_file(path: Path) -> None:
    await fill(path)
    assert [file.name for file in path.parent.iterdir()] == ["gateway.db"]


def test_the_writer_is_as_durable_as_promised(path: Path) -> None:
    prepare(path)
    with closing(connect_writer(path)) as connection:
        pragmas = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "page_size", "wal_autocheckpoint", "journal_size_limit")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "page_size": 4096,
        "wal_autocheckpoint": 1000,
        "journal_size_limit": 64 * 1024 * 1024,
    }


def test_a_database_that_cannot_keep_a_wal_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(StateError, match="needs journal_mode wal"):
        sqlite_file._configure(connection, path)


def test_the_log_keeps_its_identity(path: Path, tmp_path: Path) -> None:
    def log_id(path: Path) -> str:
        prepare(path)
        with open_read_only(path) as reader:
            return reader.log_id

    assert log_id(path) == log_id(path)
    assert log_id(path) != log_id(tmp_path / "other.db")


def test_a_file_from_a_newer_version_is_refused(path: Path) -> None:
    prepare(path)
    execute(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    known = len(MIGRATIONS)
    with pytest.raises(StateError, match=f"has schema version {known + 1}, this gateway knows versions up to {known}:"):
        prepare(path)


@pytest.mark.parametrize("statement", ["CREATE TABLE t (a)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"])
def test_a_foreign_database_is_refused_and_left_alone(path: Path, statement: str) -> None:
    execute(path, statement)
    before = path.read_bytes()
    with pytest.raises(StateError, match="not a database of the gateway"):
        prepare(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_with_what_to_do(path: Path) -> None:
    path.write_bytes(b"something else entirely" * 1_000)
    with pytest.raises(StateError, match=r"is damaged \(file is not a database\).*restore gateway\.db from a backup"):
        prepare(path)


def test_a_directory_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateError, match="cannot be opened"):
        prepare(path)


async def test_an_older_file_is_brought_up_to_date_and_keeps_its_events(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path)
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE more (a TEXT) STRICT",)))
    assert head_after_start(path) == 400
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM more").fetchone() == (0,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(path)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS, ("DROP TABLE cursors", "nonsense")))
        with pytest.raises(StateError, match="cannot be opened"):
            prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM cursors").fetchone() == (0,)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


async def test_damage_is_found_after_an_unclean_end(path: Path) -> None:
    await fill(path)
    overwrite_a_page_of(path, "outcomes")
    execute(path, "DELETE FROM identity WHERE name = 'clean'")
    with pytest.raises(StateError, match="is damaged"):
        prepare(path)


async def test_a_file_that_was_closed_in_good_order_is_not_read_through(path: Path) -> None:
    await fill(path)
    overwrite_a_page_of(path, "outcomes")
    assert head_after_start(path) == 400


def spoil_an_index(path: Path) -> None:
    """An event gets another id, which the index of ids does not hear of."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        row = connection.execute("SELECT * FROM sqlite_schema WHERE name = 'events_by_id'").fetchone()
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'events_by_id'")
    execute(path, "UPDATE events SET event_id = randomblob(16) WHERE position = 7")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)


async def test_an_index_that_lacks_a_command_is_found_after_an_unclean_end_and_can_be_made_anew(path: Path) -> None:
    await fill(path)
    spoil_an_index(path)
    execute(path, "DELETE FROM identity WHERE name = 'clean'")
    with pytest.raises(StateError, match=r"missing from index events_by_id.*REINDEX"):
        prepare(path)
    execute(path, "REINDEX")
    assert head_after_start(path) == 400


@pytest.mark.parametrize("main_file", [None, b""])
def test_a_write_ahead_log_without_its_database_is_kept(path: Path, main_file: bytes | None) -> None:
    wal = path.with_name(f"{path.name}-wal")
    wal.write_bytes(b"events")
    if main_file is not None:
        path.write_bytes(main_file)
    with pytest.raises(StateError, match=r"missing or empty, and gateway\.db-wal is not"):
        prepare(path)
    assert wal.read_bytes() == b"events"
    assert path.exists() == (main_file is not None)


async def test_a_large_file_is_not_read_through(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(path)
    overwrite_a_page_of(path, "outcomes")
    execute(path, "DELETE FROM identity WHERE name = 'clean'")
    monkeypatch.setattr(sqlite_file, "FULL_CHECK_LIMIT", 4096)
    assert head_after_start(path) == 400


@pytest.mark.parametrize(
    "statement", ["DELETE FROM events WHERE stream = 2 AND revision = 19", "DELETE FROM streams WHERE id = 3"]
)
async def test_streams_that_do_not_add_up_to_the_log_are_always_found(path: Path, statement: str) -> None:
    await fill(path)
    execute(path, statement)
    with pytest.raises(StateError, match="the last event has position 400, but the streams hold 3"):
        prepare(path)


async def test_the_file_counts_as_unclean_while_it_is_in_use(path: Path) -> None:
    def clean() -> bool:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM identity WHERE name = 'clean'").fetchone() is not None

    async with open_database(path) as database:
        await SqliteOutcomes(database).find("", NO_STREAM, [])
        assert not clean()
    assert clean()
