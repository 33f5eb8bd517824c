"""A log in EventStoreDB for the command line, with the index of event ids that a gateway keeps beside it."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from gateway.adapters.event_index import Place
from gateway.adapters.sqlite_reader import SqliteReader
from gateway.command_events import events_at, joined, verdict_behind
from gateway.ids import range_after
from gateway.messages import NO_STREAM, RecordedEvent, Verdict
from gateway.ports import Devices, EventStore

_PAGE: Final = 1_000


class RemoteLog:
    """The questions of :class:`~gateway.cli.read_side.Log`, to a store elsewhere and to the gateway's own database."""

    def __init__(self, store: EventStore, own: SqliteReader) -> None:
        self._store = store
        self._own = own

    async def identify(self) -> str:
        """Identity of the log."""
        return await self._store.identify()

    async def head(self) -> int:
        """Position of the last event; 0 for an empty log."""
        return await self._store.head()

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = _PAGE) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order; none for an unknown stream."""
        return await self._store.read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: int, limit: int = _PAGE) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        return await self._store.read_all(after=after, limit=limit)

    async def find_by_command_id(
        self, command_id: str, *, of: Devices | None = None, after: UUID | None = None, limit: int = 100
    ) -> tuple[Sequence[Verdict], UUID | None]:
        """The verdicts on the commands that carry this id, for these devices."""
        remembered = self._own.find_by_command_id(command_id, of=of, after=after, limit=limit)
        places = await self._places(*range_after(command_id, after), limit)
        return await joined(self._store, places, remembered, command_id, of=of, limit=limit)

    async def find_by_event_id(self, id: UUID) -> Verdict | None:
        """The verdict on the command that caused this event, or whose key it is."""
        return await verdict_behind(id, self._events_with) or self._own.find_by_event_id(id)

    async def _events_with(self, id: UUID) -> list[RecordedEvent]:
        for _, stream, revision in await self._places(UUID(int=id.int - 1) if id.int else id, id, 1):
            events = await events_at(self._store, stream, revision)
            if events and events[0].id == id:
                return events
        return []

    async def _places(self, low: UUID, high: UUID, limit: int) -> Sequence[tuple[UUID, str, int]]:
        """Where the first events are whose ids lie over ``low``, up to ``high``, by id."""
        places = {
            id: Place(stream, revision) for id, stream, revision in self._own.indexed_between(low, high, limit=limit)
        }
        # the index of a running gateway is written now and then
        after = self._own.index_position()
        while page := await self.read_all(after=after, limit=_PAGE):
            places |= {event.id: Place(event.stream, event.revision) for event in page if low < event.id <= high}
            after = page[-1].position
        return [(id, *places[id]) for id in sorted(places)[:limit]]
