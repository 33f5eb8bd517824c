"""An event store and a memory of outcomes, on a store without an index of event ids and the index beside it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from gateway.adapters.event_index import EventIndex, Place
from gateway.adapters.sqlite_outcomes import SqliteOutcomes, outcomes_in
from gateway.codec import outcome_of, verdict_of
from gateway.command_events import events_at, verdict_behind
from gateway.errors import StoreUnavailable
from gateway.ids import event_id_range
from gateway.messages import NO_STREAM, Appended, NewEvent, Outcome, RecordedEvent, Verdict
from gateway.ports import EventStore

log = structlog.get_logger()


class IndexedStore:
    """Another event store, whose index hears of everything that passes; see :class:`~gateway.ports.EventStore`."""

    def __init__(self, store: EventStore, index: EventIndex) -> None:
        self._store = store
        self._index = index

    @property
    def newest(self) -> int:
        """The highest position that is known without asking."""
        return self._store.newest

    async def identify(self) -> str:
        """Identity of the log."""
        return await self._store.identify()

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        """Write all the events, or none; see :meth:`~gateway.ports.EventStore.append`."""
        appended = await self._store.append(stream, expected, events)
        self._index.add(stream, expected, [(event.id, expected + 1 + index) for index, event in enumerate(events)])
        return appended

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order."""
        events = await self._store.read_stream(stream, after=after, limit=limit)
        self._index.add(stream, after, [(event.id, event.revision) for event in events])
        return events

    async def read_all(self, *, after: int, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        return await self._store.read_all(after=after, limit=limit)

    async def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        """Every event with a position over ``after``, in order, for ever."""
        told = after
        # that the index misses something keeps nobody from following the log
        with suppress(StoreUnavailable):
            told = await self._index.follow_from(after)
        async with aclosing(self._store.subscribe(after=told)) as pages:
            async for page in pages:
                with suppress(StoreUnavailable):
                    await self._index.note(told, page)
                told = page[-1].position
                if wanted := [event for event in page if event.position > after]:
                    yield wanted

    async def head(self) -> int:
        """Position of the last event."""
        return await self._store.head()


class IndexedOutcomes:
    """Outcomes from the events themselves, found by the index; see :class:`~gateway.ports.Outcomes`."""

    def __init__(self, store: EventStore, index: EventIndex, others: SqliteOutcomes) -> None:
        """Find accepted commands in the store; ``others`` keeps those that left no events."""
        self._store = store
        self._index = index
        self._others = others

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        """The outcomes of those of these commands that are known, accepted and refused alike.

        Raises:
            StoreUnavailable: the store or the disk does not let it read.
        """
        # in the same look at the disk as what the index is asked for
        asked = self._others.ask(keys)
        try:
            found = await self._accepted(stream, revision, keys)
        finally:
            # whoever is told of a failure there need not be told of one here
            asked.add_done_callback(_seen)
        return {**outcomes_in(await asked), **found}

    async def _accepted(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        found = None
        while found is None:
            era = self._index.era
            if stream:
                await self._index.cover(stream, revision)
            places = await self._index.locate(keys)
            # whoever finds the index wrong empties it, and may do so between the two
            found = await self._outcomes_at(places) if era == self._index.era else None
        return found

    async def find_by_command_id(self, command_id: str) -> Sequence[Verdict]:
        """The verdicts on the commands that carry this id, oldest first.

        Raises:
            StoreUnavailable: the store or the disk does not let it read.
        """
        verdicts = {verdict.key: verdict for verdict in await self._others.find_by_command_id(command_id)}
        for place in await self._index.between(*event_id_range(command_id)):
            events = await events_at(self._store, *place)
            if events and (verdict := verdict_of(events, command_id)) is not None:
                verdicts[verdict.key] = verdict
        return sorted(verdicts.values(), key=lambda verdict: verdict.outcome.received_at)

    async def find_by_event_id(self, id: UUID) -> Verdict | None:
        """The verdict on the command that caused this event, or whose key it is.

        Raises:
            StoreUnavailable: the store or the disk does not let it read.
        """
        return await verdict_behind(id, self._events_with) or await self._others.find_by_event_id(id)

    async def _events_with(self, id: UUID) -> list[RecordedEvent]:
        """This event, and those behind it that the same command caused; none where the index does not have it."""
        place = (await self._index.locate([id])).get(id)
        events = await events_at(self._store, *place) if place is not None else []
        return events if events and events[0].id == id else []

    async def remember(self, verdicts: Sequence[Verdict]) -> None:
        """Keep verdicts that left no events in the log; durable on return.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        await self._others.remember(verdicts)

    async def prune(self, before: datetime) -> int:
        """Forget what :meth:`remember` kept before this time; how many.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        return await self._others.prune(before)

    async def _outcomes_at(self, places: Mapping[UUID, Place]) -> dict[UUID, Outcome] | None:
        """The outcomes of the commands whose events begin there; ``None`` if others stand there."""
        found: dict[UUID, Outcome] = {}
        for key, place in places.items():
            events = await events_at(self._store, *place)
            if not events or events[0].id != key:
                log.error("event_index_wrong", stream=place.stream, revision=place.revision)
                await self._index.forget_all()
                return None
            found[key] = outcome_of(events)
        return found


def _seen(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
