"""Where in the log an event id stands, for a store that has no such index: kept in the gateway's own database.

For each stream the index knows up to which revision it is complete. What it lacks it reads from the stream when it is
asked, so it may lag, lose its newest entries in a crash, or be deleted: nothing depends on it but time.
"""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_reader import SqliteReader, select_in
from gateway.adapters.sqlite_worker import Work
from gateway.errors import StoreUnavailable
from gateway.messages import NO_STREAM, RecordedEvent
from gateway.ports import EventStore

log = structlog.get_logger()

FLUSHED_AT: Final = 1_000
"""Entries in memory at which they are written without waiting any longer."""

MOST_PENDING: Final = 50_000
"""Entries in memory beyond which they are dropped while they cannot be written: they can be read again."""

_REMEMBERED_STREAMS: Final = 16_384
_PAGE: Final = 1_000
_UNKNOWN: Final = -1
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
        era: grows when entries are taken out: what was covered before need not be any more.
    """

    def __init__(self, database: Database, store: EventStore) -> None:
        self._database = database
        self._store = store
        # how far streams are complete, as far as known without asking the database
        self._complete: OrderedDict[str, int] = OrderedDict()
        self._pending: dict[UUID, Place] = {}
        self._writing: dict[UUID, Place] = {}
        # every event of the log up to this position is in the index
        self._reached = _UNKNOWN
        self.era = 0
        self._checked = False
        self._wrong = False
        self._checking = asyncio.Lock()
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
            StoreUnavailable: what is missing cannot be read, or the log does not tell who it is.
        """
        await self._check()
        while (complete := await self._complete_up_to(stream)) < revision:
            page = await self._store.read_stream(stream, after=complete, limit=_PAGE)
            if not page:
                break
            self.add(stream, complete, [(event.id, event.revision) for event in page])

    async def follow_from(self, after: int) -> int:
        """Where to begin reading the log for the sake of what lies behind ``after``, so that the index misses nothing.

        Raises:
            StoreUnavailable: the log does not tell who it is, or the disk does not let it read.
        """
        await self._check()
        return after if self._reached == _UNKNOWN else min(after, self._reached)

    async def note(self, after: int, page: Sequence[RecordedEvent]) -> None:
        """Take note of all events of the log over the position ``after``, in order.

        Raises:
            StoreUnavailable: what is missing before them cannot be read: from here on the index may miss some.
        """
        era = self.era
        continues = after <= self._reached
        for stream, run in groupby(page, key=attrgetter("stream")):
            places = [(event.id, event.revision) for event in run]
            self.add(stream, places[0][1] - 1, places)
            if continues:
                await self.cover(stream, places[-1][1])
        if continues and era == self.era:
            self._reached = max(self._reached, page[-1].position)

    async def locate(self, ids: Sequence[UUID]) -> Mapping[UUID, Place]:
        """Where those of these events are that the index has.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        found = {id: place for id in ids if (place := self._pending.get(id) or self._writing.get(id)) is not None}
        others = [id for id in ids if id not in found]
        if others:
            written = await self._database.reader.submit(_LOCATE, others)
            found.update(written)
        return found

    async def between(self, low: UUID, high: UUID) -> Sequence[Place]:
        """Where those events are whose ids lie in this range, as far as the index has them.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        entries = (*self._pending.items(), *self._writing.items())
        pending = [place for id, place in entries if low <= id <= high]
        rows = await self._database.reader.call(lambda connection: SqliteReader(connection).indexed_between(low, high))
        return list(dict.fromkeys([*(Place(*row) for row in rows), *pending]))

    async def forget_all(self) -> None:
        """Start again with nothing: the log is another one than the index was made of.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        self._wrong = True
        self._checked = False
        self._drop()
        await self._check()

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
        async with self._flushing:
            # in here, so that nothing that was covered by wrong entries is written behind their removal
            await self._check()
            self._dirty.clear()
            self._full.clear()
            self._writing, self._pending = self._pending, {}
            try:
                if self._writing:
                    entries, reached = self._writing, self._reached
                    await self._database.writer.call(lambda connection: _write(connection, entries, reached))
            except BaseException:
                self._pending = self._writing | self._pending
                self._dirty.set()
                raise
            finally:
                self._writing = {}

    async def _check(self) -> None:
        """Make sure, once, that what is in the database was made of this log; else empty it."""
        if self._checked:
            return
        # not in the lock: while the store is away everybody would wait for the others' answers as well
        log_id = await self._store.identify()
        async with self._checking:
            if self._checked:
                return
            wrong = self._wrong
            same, reached = await self._database.writer.call(
                lambda connection: _belongs_to(connection, log_id, wrong=wrong)
            )
            if not same:
                log.warning("event_index_emptied", log_id=log_id)
                self._drop()
            self._reached = reached
            self._checked, self._wrong = True, False

    async def _complete_up_to(self, stream: str) -> int:
        while (complete := self._complete.get(stream)) is None:
            era = self.era
            found = await self._database.reader.call(lambda connection: _revision_of(connection, stream))
            if era == self.era:
                self._remember(stream, max(found, self._complete.get(stream, NO_STREAM)))
        return complete

    def _drop(self) -> None:
        """Forget what is in memory only, and how far the log is known."""
        self.era += 1
        self._pending, self._writing, self._complete = {}, {}, OrderedDict()
        self._reached = _UNKNOWN

    def _remember(self, stream: str, complete: int) -> None:
        self._complete[stream] = complete
        self._complete.move_to_end(stream)
        if len(self._complete) > _REMEMBERED_STREAMS:
            # one that still has entries in memory would look shorter than it is, and would be read again: no more
            self._complete.popitem(last=False)


def _locate_together(connection: sqlite3.Connection, asked: Sequence[Sequence[UUID]]) -> list[Mapping[UUID, Place]]:
    rows = select_in(connection, _PLACES, [id.bytes for ids in asked for id in ids])
    found = {UUID(bytes=id): Place(stream, revision) for id, stream, revision in rows}
    return [{id: found[id] for id in ids if id in found} for ids in asked]


_LOCATE: Final = Work(_locate_together)


def _revision_of(connection: sqlite3.Connection, stream: str) -> int:
    row = connection.execute("SELECT revision FROM indexed WHERE name = ?", (stream,)).fetchone()
    return int(row[0]) if row is not None else NO_STREAM


def _belongs_to(connection: sqlite3.Connection, log_id: str, *, wrong: bool) -> tuple[bool, int]:
    """Whether the index is of this log, made to be where it is not, and the position up to which it is complete."""
    known = dict(connection.execute("SELECT name, value FROM identity WHERE name LIKE 'index%'").fetchall())
    if known.get("indexed_log") == log_id and not wrong:
        return True, known.get("index_position", 0)
    connection.execute("DELETE FROM event_index")
    connection.execute("DELETE FROM indexed")
    connection.execute("DELETE FROM identity WHERE name = 'index_position'")
    connection.execute("INSERT OR REPLACE INTO identity VALUES ('indexed_log', ?)", (log_id,))
    return not known, 0


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
    if reached != _UNKNOWN:
        connection.execute("INSERT OR REPLACE INTO identity VALUES ('index_position', ?)", (reached,))
