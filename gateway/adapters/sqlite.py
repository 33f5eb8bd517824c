"""The gateway's own database: one thread that writes, one that reads, none of it on the event loop."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from gateway.adapters.sqlite_file import begin_use, close_cleanly, connect_reader, connect_writer, prepare
from gateway.adapters.sqlite_reader import SqliteReader
from gateway.adapters.sqlite_worker import Worker

DATABASE_FILE: Final = "gateway.db"


@dataclass(frozen=True, slots=True)
class Database:
    """An open database.

    Attributes:
        log_id: identity of the event log in it.
        head: position of the last event when it was opened.
        crashed: whether whoever had it open before did not close it.
        writer: the only one that changes or checkpoints anything.
        reader: sees everything whose writing was confirmed before the reading was asked for.
    """

    log_id: str
    head: int
    crashed: bool
    writer: Worker
    reader: Worker


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Open the database, made where it is missing; at the end finish what was submitted, checkpoint, and close.

    The caller holds the state directory: nobody else writes.

    Raises:
        StateError: it is damaged, foreign, from a newer version, or cannot be opened; the message says what to do.
        StoreUnavailable: the disk does not let it, for example because it is full.
    """
    is_new = not await asyncio.to_thread(path.exists)
    await asyncio.to_thread(prepare, path)
    writer = Worker("sqlite-writer", partial(connect_writer, path), begin="BEGIN IMMEDIATE", farewell=close_cleanly)
    reader = Worker("sqlite-reader", partial(connect_reader, path), begin="BEGIN")
    try:
        was_closed = await writer.call(begin_use)
        # both connections from the start: the reader's keeps reads possible while a full disk takes the writer's away
        log_id, head = await reader.call(_describe)
        yield Database(log_id, head, not was_closed and not is_new, writer, reader)
    finally:
        # the writer goes last: only then does its checkpoint leave a single file behind
        try:
            await reader.close()
        finally:
            await writer.close()


def _describe(connection: sqlite3.Connection) -> tuple[str, int]:
    reader = SqliteReader(connection)
    return reader.log_id, reader.head()
