"""The file ``gateway.db``: how it is opened, brought up to date, and checked before anything trusts it.

What is checked at the start, and when:

- always: that the streams add up to the log. Positions and revisions have no gaps, so the last position must equal the
  sum of the streams' lengths; that costs one index look-up a stream.
- after an unclean end (a row called ``clean`` is written by an orderly close and removed at each start) and only up to
  ``FULL_CHECK_LIMIT``: ``PRAGMA integrity_check``, which reads the whole file. ``quick_check`` would not do: an
  index that lacks a command lets it take effect a second time.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final, cast

from gateway.adapters.state_dir import NO_ROOM, make_private_file, no_room
from gateway.errors import StateError, StorageFull, StoreUnavailable

APPLICATION_ID: Final = 0x45444757
"""Tells the file from any other SQLite database: "EDGW"."""

FULL_CHECK_LIMIT: Final = 128 * 1024 * 1024
"""Bytes; a larger file takes many seconds to read on a memory card, at every power cut."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE identity (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID",
        "INSERT INTO identity VALUES ('log_id', lower(hex(randomblob(16)))), ('epoch', 0)",
        "CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
        # data and metadata are BLOB so that the exact bytes come back
        """CREATE TABLE events (
            position INTEGER PRIMARY KEY,
            stream INTEGER NOT NULL,
            revision INTEGER NOT NULL CHECK (revision >= 0),
            recorded_at INTEGER NOT NULL,
            event_id BLOB NOT NULL CHECK (length(event_id) = 16),
            type TEXT NOT NULL,
            data BLOB NOT NULL,
            metadata BLOB NOT NULL
        ) STRICT""",
        "CREATE UNIQUE INDEX events_by_stream ON events (stream, revision)",
        "CREATE UNIQUE INDEX events_by_id ON events (event_id)",
        """CREATE TABLE outcomes (
            key BLOB PRIMARY KEY CHECK (length(key) = 16),
            recorded_at INTEGER NOT NULL,
            command_id TEXT NOT NULL,
            actor TEXT NOT NULL,
            device TEXT NOT NULL,
            command TEXT NOT NULL,
            outcome BLOB NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX outcomes_by_time ON outcomes (recorded_at)",
        "CREATE TABLE snapshots (stream TEXT PRIMARY KEY, revision INTEGER NOT NULL, state BLOB NOT NULL) STRICT",
        "CREATE TABLE cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    ),
    (
        # a snapshot can be made again at any time
        "DROP TABLE snapshots",
        """CREATE TABLE snapshots (
            stream TEXT PRIMARY KEY,
            revision INTEGER NOT NULL,
            event_id BLOB NOT NULL CHECK (length(event_id) = 16),
            state BLOB NOT NULL
        ) STRICT""",
        """CREATE TABLE inbox (
            arrival INTEGER PRIMARY KEY,
            actor TEXT NOT NULL,
            device TEXT NOT NULL,
            command_id TEXT NOT NULL,
            copy_of BLOB UNIQUE CHECK (length(copy_of) = 16),
            received_at INTEGER NOT NULL,
            topic TEXT NOT NULL,
            payload BLOB NOT NULL,
            retain INTEGER NOT NULL,
            properties BLOB NOT NULL
        ) STRICT""",
        "CREATE INDEX inbox_by_device ON inbox (device, arrival)",
        # of a log that is elsewhere: where its events stand, and up to which revision that is known of each stream
        "CREATE TABLE indexed (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL) STRICT",
        """CREATE TABLE event_index (
            event_id BLOB PRIMARY KEY CHECK (length(event_id) = 16),
            stream INTEGER NOT NULL,
            revision INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE pending_outages (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            began_at TEXT NOT NULL,
            ended_at TEXT,
            times INTEGER NOT NULL,
            cause TEXT NOT NULL,
            affected TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
)
"""What makes a database of version n one of version n + 1. Never changed once released, only added to."""

_OLDEST_SQLITE: Final = (3, 37, 0)
_BUSY_TIMEOUT: Final = 5.0
_FULL: Final = 2

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_ROOM_CODES: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
# what is wrong with the statement or its values, not with the disk
_OUR_FAULT: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)


def prepare(path: Path) -> None:
    """Make the file or bring it up to date, and check it.

    Raises:
        StateError: it is damaged, foreign, from a newer version, or cannot be opened; the message says what to do.
        StorageFull: there is no room left to open it.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StateError(f"SQLite {sqlite3.sqlite_version} is too old: 3.37.0 or newer is needed")
    try:
        _refuse_to_drop_a_wal(path)
        make_private_file(path)
        # SQLite would open a file that this user may not write, too, and fail at the first write
        path.open("r+b").close()
        with closing(_connect(path, "mode=rw")) as connection:
            version = _recognise(connection, path)
            _configure(connection, path)
            _migrate(connection, version)
            _check(connection, path)
    except sqlite3.Error as error:
        if _code(error) & 0xFF in _DAMAGED:
            raise _damaged(path, str(error)) from error
        if _code(error) in _NO_ROOM_CODES:
            raise no_room(path, error) from error
        raise StateError(f"{path} cannot be opened: {error}") from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(path, error) from error
        raise StateError(f"{path} cannot be opened: {error}") from error


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes. There must never be two: SQLite before 3.51.3 can then damage a WAL file.

    Raises:
        sqlite3.Error: the file cannot be opened.
        StateError: SQLite does not keep it as durably as asked.
    """
    connection = _connect(path, "mode=rw")
    try:
        _configure(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    return _connect(path, "mode=ro")


def connect_bystander(path: Path) -> sqlite3.Connection:
    """A connection of another process, short-lived: it reads only, and leaves no trace beside a file at rest.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    # after an orderly stop there is no WAL, and without "immutable" SQLite would make a new one just to read
    at_rest = not path.with_name(f"{path.name}-wal").exists()
    return _connect(path, "mode=ro&immutable=1" if at_rest else "mode=ro")


def begin_use(connection: sqlite3.Connection) -> bool:
    """The writer's first act: until :func:`close_cleanly`, the file counts as not closed in good order.

    Returns:
        Whether it was closed in good order before.

    Raises:
        sqlite3.Error: the disk does not let it.
    """
    return connection.execute("DELETE FROM identity WHERE name = 'clean'").rowcount == 1


def close_cleanly(connection: sqlite3.Connection) -> None:
    """The writer's last act: everything into the main file, and the mark that spares the next start a full check.

    Raises:
        sqlite3.Error: the disk does not let it; nothing is lost.
    """
    connection.execute("INSERT OR IGNORE INTO identity VALUES ('clean', 1)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def last_position(connection: sqlite3.Connection) -> int:
    """Position of the last event, 0 for none."""
    (position,) = connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
    return cast("int", position)


def outage(error: Exception) -> StoreUnavailable | None:
    """What a failure means to those who wait; ``None`` where not the disk but the request itself is to blame."""
    if isinstance(error, StateError):
        return StoreUnavailable(str(error))
    if not isinstance(error, sqlite3.Error) or isinstance(error, _OUR_FAULT):
        return None
    full = _code(error) in _NO_ROOM_CODES or _code(error) & 0xFF == sqlite3.SQLITE_READONLY
    return StorageFull(str(error)) if full else StoreUnavailable(str(error))


def _code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; 0 where the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0)


def _connect(path: Path, options: str) -> sqlite3.Connection:
    # mode=rw, not rwc: a file that vanished must not come back as a new, empty log
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=_BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA page_size = 4096")
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    # an acknowledgement promises durability, and SQLite ignores a pragma that it cannot honour without a word
    if journal != "wal" or synchronous != _FULL:
        raise StateError(f"{path}: needs journal_mode wal and synchronous 2, but has {journal} and {synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint = 1000")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    connection.execute("PRAGMA cache_size = -8192")


def _refuse_to_drop_a_wal(path: Path) -> None:
    """SQLite deletes the write-ahead log of a database that is empty: it may be all that is left of the events."""
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size and not (path.exists() and path.stat().st_size):
        raise _damaged(path, f"it is missing or empty, and {wal.name} is not")


def _recognise(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StateError(f"{path} is not a database of the gateway; name another gateway.state_dir")
    if version > len(MIGRATIONS):
        raise StateError(
            f"{path} has schema version {version}, this gateway knows versions up to {len(MIGRATIONS)}: "
            "install the newer gateway again, or restore the file from before the upgrade"
        )
    return cast("int", version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    for migration in MIGRATIONS[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    unclean = connection.execute("SELECT 1 FROM identity WHERE name = 'clean'").fetchone() is None
    if unclean and path.stat().st_size <= FULL_CHECK_LIMIT:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)").fetchall()]
        if problems != ["ok"]:
            raise _damaged(path, "; ".join(problems))
    (counted,) = connection.execute(
        "SELECT coalesce(sum((SELECT max(revision) + 1 FROM events WHERE stream = streams.id)), 0) FROM streams"
    ).fetchone()
    last = last_position(connection)
    if counted != last:
        raise _damaged(path, f"the last event has position {last}, but the streams hold {counted} events")


def _damaged(path: Path, problem: str) -> StateError:
    if all(" index " in one for one in problem.split("; ")):
        return StateError(
            f"{path} is damaged, but only an index of it is ({problem}). Stop the gateway and make it anew: "
            f"'sqlite3 {path} REINDEX'"
        )
    return StateError(
        f"{path} is damaged ({problem}). Stop the gateway and keep a copy of {path.name}, {path.name}-wal and "
        f"{path.name}-shm. Then move all three away and either restore {path.name} from a backup, or salvage it with "
        f"'sqlite3 COPY .recover | sqlite3 {path.name}'. Starting without it begins a new, empty log"
    )
