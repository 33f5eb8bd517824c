"""A log in EventStoreDB for the command line, with the index of event ids that a gateway keeps beside it."""

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from gateway.adapters.event_index import Place
from gateway.adapters.sqlite_reader import SqliteReader
from gateway.codec import verdict_of
from gateway.command_events import events_at, verdict_behind
from gateway.ids import event_id_range
from gateway.messages import NO_STREAM, RecordedEvent, Verdict
from gateway.ports import EventStore

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

    async def find_by_command_id(self, command_id: str) -> Sequence[Verdict]:
        """The verdicts on the commands that carry this id, whoever sent them and for whichever device."""
        verdicts = {verdict.key: verdict for verdict in self._own.find_by_command_id(command_id)}
        for place in await self._places(*event_id_range(command_id)):
            events = await events_at(self._store, *place)
            verdict = verdict_of(events, command_id) if events else None
            if verdict is not None:
                verdicts[verdict.key] = verdict
        return sorted(verdicts.values(), key=lambda verdict: verdict.outcome.received_at)

    async def find_by_event_id(self, id: UUID) -> Verdict | None:
        """The verdict on the command that caused this event, or whose key it is."""
        return await verdict_behind(id, self._events_with) or self._own.find_by_event_id(id)

    async def _events_with(self, id: UUID) -> list[RecordedEvent]:
        for place in await self._places(id, id):
            events = await events_at(self._store, *place)
            if events and events[0].id == id:
                return events
        return []

    async def _places(self, low: UUID, high: UUID) -> Iterable[Place]:
        """Where the events are whose ids lie in this range."""
        places = dict.fromkeys(Place(*place) for place in self._own.indexed_between(low, high))
        # the index of a running gateway is written now and then
        after = self._own.index_position()
        while page := await self.read_all(after=after, limit=_PAGE):
            places |= dict.fromkeys(Place(event.stream, event.revision) for event in page if low <= event.id <= high)
            after = page[-1].position
        return places
