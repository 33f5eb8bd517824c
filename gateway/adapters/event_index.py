"""Where in the log an event id stands, for a store that has no such index: kept in the gateway's own database.

For each stream the index knows up to which revision it is complete. What it lacks it reads from the stream when it is
asked, so it may lag, lose its newest entries in a crash, or be deleted: nothing depends on it but time.
"""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_reader import select_in
from gateway.errors import StoreUnavailable
from gateway.messages import NO_STREAM
from gateway.ports import EventStore

log = structlog.get_logger()

FLUSHED_AT: Final = 1_000
"""Entries in memory at which they are written without waiting any longer."""

MOST_PENDING: Final = 50_000
"""Entries in memory beyond which they are dropped while they cannot be written: they can be read again."""

_REMEMBERED_STREAMS: Final = 16_384
_PAGE: Final = 1_000
_PLACES: Final = (
    "SELECT event_id, name, event_index.revision FROM event_index JOIN indexed ON id = stream WHERE event_id"
)


class Place(NamedTuple):
    """Where an event stands."""

    stream: str
    revision: int


class EventIndex:
    """From event ids to places in the log.

    Attributes:
        reached: the position up to which whoever follows the log has told of every event.
    """

    def __init__(self, database: Database, store: EventStore) -> None:
        self._database = database
        self._store = store
        # how far streams are complete, as far as known without asking the database
        self._complete: OrderedDict[str, int] = OrderedDict()
        self._pending: dict[UUID, Place] = {}
        self._writing: dict[UUID, Place] = {}
        self.reached = 0
        self._checked = False
        self._flushing = asyncio.Lock()
        self._dirty = asyncio.Event()
        self._full = asyncio.Event()

    def add(self, stream: str, after: int, places: Sequence[tuple[UUID, int]]) -> None:
        """Take note of all events of a stream over the revision ``after``: each id with its revision, in order.

        What does not continue what is known is passed over: it is read when it is asked for.
        """
        complete = self._complete.get(stream)
        if complete is None:
            complete = NO_STREAM if after == NO_STREAM else None
        if complete is None or after > complete:
            return
        for id, revision in places:
            if revision > complete:
                self._pending[id] = Place(stream, revision)
                complete = revision
        self._remember(stream, complete)
        if self._pending:
            self._dirty.set()
        if len(self._pending) >= FLUSHED_AT:
            self._full.set()

    async def cover(self, stream: str, revision: int) -> None:
        """Make sure that every event of the stream up to this revision is in the index.

        Raises:
            StoreUnavailable: what is missing cannot be read.
        """
        if not self._checked:
            await self._check()
        complete = self._complete.get(stream)
        if complete is None:
            complete = await self._database.reader.call(lambda connection: _complete_up_to(connection, stream))
            self._remember(stream, complete)
        while complete < revision:
            page = await self._store.read_stream(stream, after=complete, limit=_PAGE)
            if not page:
                break
            self.add(stream, complete, [(event.id, event.revision) for event in page])
            complete = page[-1].revision

    async def locate(self, ids: Sequence[UUID]) -> Mapping[UUID, Place]:
        """Where those of these events are that the index has.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        found = {id: place for id in ids if (place := self._pending.get(id) or self._writing.get(id)) is not None}
        others = [id.bytes for id in ids if id not in found]
        if others:
            rows = await self._database.reader.call(lambda connection: select_in(connection, _PLACES, others))
            found |= {UUID(bytes=id): Place(stream, revision) for id, stream, revision in rows}
        return found

    async def forget_all(self) -> None:
        """Start again with nothing: the log is another one than the index was made of.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        async with self._flushing:
            self._drop()
            await self._database.writer.call(_forget_all)

    async def keep_flushed(self, interval: float) -> None:
        """Write what is in memory so many seconds after the first entry, or when there is much of it, for ever."""
        while True:
            await self._dirty.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._full.wait()
            try:
                await self.flush()
            except StoreUnavailable as error:
                log.warning("event_index_not_written", error=str(error), entries=len(self._pending))
                if len(self._pending) > MOST_PENDING:
                    self._drop()
                await asyncio.sleep(interval)

    async def flush(self) -> None:
        """Write what is in memory.

        Raises:
            StoreUnavailable: the disk does not let it, or the log does not tell who it is; it stays in memory.
        """
        if not self._checked:
            await self._check()
        async with self._flushing:
            self._dirty.clear()
            self._full.clear()
            self._writing, self._pending = self._pending, {}
            try:
                if self._writing:
                    entries, reached = self._writing, self.reached
                    await self._database.writer.call(lambda connection: _write(connection, entries, reached))
            except BaseException:
                self._pending = self._writing | self._pending
                self._dirty.set()
                raise
            finally:
                self._writing = {}

    async def _check(self) -> None:
        log_id = await self._store.identify()
        same = await self._database.writer.call(lambda connection: _belongs_to(connection, log_id))
        if not same:
            log.warning("event_index_of_another_log", log_id=log_id)
            self._drop()
        self._checked = True

    def _drop(self) -> None:
        self._pending.clear()
        self._complete.clear()

    def _remember(self, stream: str, complete: int) -> None:
        self._complete[stream] = complete
        self._complete.move_to_end(stream)
        if len(self._complete) > _REMEMBERED_STREAMS:
            # one that still has entries in memory would look shorter than it is, and would be read again: no more
            self._complete.popitem(last=False)


def _complete_up_to(connection: sqlite3.Connection, stream: str) -> int:
    row = connection.execute("SELECT revision FROM indexed WHERE name = ?", (stream,)).fetchone()
    return int(row[0]) if row is not None else NO_STREAM


def _belongs_to(connection: sqlite3.Connection, log_id: str) -> bool:
    row = connection.execute("SELECT value FROM identity WHERE name = 'indexed_log'").fetchone()
    if row is not None and row[0] == log_id:
        return True
    _forget_all(connection)
    connection.execute("INSERT INTO identity VALUES ('indexed_log', ?)", (log_id,))
    return row is None


def _forget_all(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM event_index")
    connection.execute("DELETE FROM indexed")
    connection.execute("DELETE FROM identity WHERE name IN ('indexed_log', 'index_position')")


def _write(connection: sqlite3.Connection, entries: Mapping[UUID, Place], reached: int) -> None:
    complete: dict[str, int] = {}
    for place in entries.values():
        complete[place.stream] = max(place.revision, complete.get(place.stream, NO_STREAM))
    connection.executemany(
        "INSERT INTO indexed (name, revision) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET revision = max(revision, excluded.revision)",
        complete.items(),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO event_index SELECT ?, id, ? FROM indexed WHERE name = ?",
        [(id.bytes, place.revision, place.stream) for id, place in entries.items()],
    )
    if reached:
        connection.execute("INSERT OR REPLACE INTO identity VALUES ('index_position', ?)", (reached,))
