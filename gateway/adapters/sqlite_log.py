"""The embedded event store."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from gateway.adapters.recent_events import DEFAULT_LIMITS, RecentEvents, RecentLimits
from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_append import Append, AppendWriter
from gateway.adapters.sqlite_reader import SqliteReader, from_microseconds, to_microseconds
from gateway.adapters.sqlite_worker import Work
from gateway.messages import NO_STREAM, Appended, NewEvent, RecordedEvent


class SqliteLog:
    """An event store in the gateway's own database; see :class:`~gateway.ports.EventStore`.

    An event id that already stands elsewhere makes an append fail with WrongExpectedRevision, just as a revision that
    is taken: in both cases the caller has to look again at what is there.
    """

    def __init__(self, database: Database, *, recent: RecentLimits = DEFAULT_LIMITS) -> None:
        self._database = database
        self._recent = RecentEvents(database.head, recent)
        writer = AppendWriter()
        self._append = Work(writer.write, undone=writer.forget, done=self._announce)

    async def identify(self) -> str:
        """Identity of this log, made with the database."""
        return self._database.log_id

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        """Write all the events, or none, behind the revision ``expected``.

        Raises:
            WrongExpectedRevision: the stream is elsewhere, or one of the ids is: nothing was written.
            StoreUnavailable: the disk does not let it.
            ValueError: there are no events.
        """
        if not events:
            raise ValueError("an append needs at least one event")
        return await self._database.writer.submit(self._append, Append(stream, expected, tuple(events)))

    async def append_new(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        """Write all the events, or none, of commands of which nothing is known; see :class:`~gateway.ports.AppendNew`.

        Raises:
            WrongExpectedRevision: the stream is elsewhere, or one of the ids is known: nothing was written.
            StoreUnavailable: the disk does not let it.
        """
        return await self._database.writer.submit(self._append, Append(stream, expected, tuple(events), is_new=True))

    async def append_recorded(self, stream: str, expected: int, events: Sequence[RecordedEvent]) -> None:
        """Write events of another log as :meth:`append` does, but with the times that they have."""
        new = tuple(NewEvent(event.id, event.type, event.data, event.metadata) for event in events)
        times = tuple(to_microseconds(event.recorded_at) for event in events)
        await self._database.writer.submit(self._append, Append(stream, expected, new, times))

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order; none for an unknown stream."""
        return await self._database.reader.call(
            lambda connection: SqliteReader(connection).read_stream(stream, after=after, limit=limit)
        )

    async def read_all(self, *, after: int, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        return await self._database.reader.call(
            lambda connection: SqliteReader(connection).read_all(after=after, limit=limit)
        )

    async def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        """Every event with a position over ``after``, in order, without gap or repeat, for ever.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        async with aclosing(self._recent.follow(after, self.read_all)) as pages:
            async for page in pages:
                yield page

    @property
    def newest(self) -> int:
        """What :meth:`head` tells, for those who cannot wait."""
        return self._recent.head

    async def head(self) -> int:
        """Position of the last event; 0 for an empty log."""
        return self._recent.head

    def _announce(self, settled: Iterable[tuple[Append, Appended | Exception]]) -> None:
        events = [
            RecordedEvent(
                position,
                append.stream,
                append.expected + 1 + index,
                from_microseconds(append.times[index]) if append.times else result.recorded_at,
                event.id,
                event.type,
                event.data,
                event.metadata,
            )
            for append, result in settled
            if isinstance(result, Appended)
            for index, (position, event) in enumerate(zip(result.positions, append.events, strict=True))
        ]
        # a repeated append is answered, too, but it is no news
        news = [event for event in events if event.position > self._recent.head]
        if news:
            self._recent.add(news, after=news[0].position - 1)
