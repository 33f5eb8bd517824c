"""A copy of the database while the gateway runs: one file, consistent, checked, and not half there at any time."""

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from gateway.adapters.sqlite_file import connect_bystander, last_position
from gateway.adapters.state_dir import make_private_file
from gateway.errors import StateError

EPOCHS_AHEAD: Final = 1_000_000
"""By so many is a copy ahead: a gateway on it gives no epoch that was given after it was made."""

_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a copy holds.

    Attributes:
        position: of the last event in it; 0 for none.
        size: of the file, in bytes.
    """

    position: int
    size: int


def back_up(database: Path, target: Path) -> BackedUp:
    """Copy the database to a file, in place of an older copy.

    Raises:
        StateError: there is no database, or the copy cannot be made or is not whole.
    """
    if target.resolve() == database.resolve():
        raise StateError(f"{target} is the database itself; name another file")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        make_private_file(unfinished)
        _copy(database, unfinished)
        position = _finish(unfinished)
        size = unfinished.stat().st_size
        _sync(unfinished)
        unfinished.replace(target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise StateError(f"{database} cannot be copied to {target}: {error}") from error
    except OSError as error:
        raise StateError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)
    return BackedUp(position, size)


def _copy(database: Path, target: Path) -> None:
    for _ in range(_ATTEMPTS):
        before = _at_rest(database)
        with closing(connect_bystander(database)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        # a file at rest is read without a lock: if a gateway started meanwhile, the copy may be of two times
        if before is None or before == _at_rest(database):
            return
    raise StateError(f"{database} cannot be copied: a gateway starts and stops all the time")


def _at_rest(database: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; ``None`` while a gateway has it open."""
    if database.with_name(f"{database.name}-wal").exists():
        return None
    status = database.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _finish(path: Path) -> int:
    """Check the copy, and make it ready for a gateway; the position of its last event."""
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        # a single file, without a write-ahead log beside it
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        copy.execute("UPDATE identity SET value = value + ? WHERE name = 'epoch'", (EPOCHS_AHEAD,))
        # whoever restores it is told that the last run did not end here
        copy.execute("DELETE FROM identity WHERE name = 'clean'")
        problems = [cast("str", row[0]) for row in copy.execute("PRAGMA integrity_check(3)").fetchall()]
        if problems != ["ok"]:
            raise StateError(f"the copy is not whole, nothing was kept of it: {'; '.join(problems)}")
        return last_position(copy)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
