"""An event store in memory; the contract suite keeps it honest."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from gateway.errors import WrongExpectedRevision
from gateway.messages import NO_STREAM, Appended, NewEvent, RecordedEvent, Snapshot

PAGE = 500


class MemoryStore:
    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self._grown = asyncio.Event()

    @property
    def newest(self) -> int:
        return len(self.events)

    async def identify(self) -> str:
        return "a-log-in-memory-only"

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        if not events:
            raise ValueError("an append needs at least one event")
        there = [event for event in self.events if event.stream == stream]
        if expected != len(there) - 1 or {event.id for event in events} & {event.id for event in self.events}:
            again = there[expected + 1 : expected + 1 + len(events)]
            if [event.id for event in again] == [event.id for event in events]:
                return Appended(tuple(event.position for event in again), again[0].recorded_at)
            raise WrongExpectedRevision(stream, expected, len(there) - 1)
        now = datetime.now(UTC)
        recorded = [
            RecordedEvent(
                len(self.events) + 1 + index,
                stream,
                expected + 1 + index,
                now,
                event.id,
                event.type,
                event.data,
                event.metadata,
            )
            for index, event in enumerate(events)
        ]
        self.events += recorded
        self._grown.set()
        self._grown = asyncio.Event()
        return Appended(tuple(event.position for event in recorded), now)

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        return [event for event in self.events if event.stream == stream and event.revision > after][:limit]

    async def read_all(self, *, after: int, limit: int = 1_000) -> Sequence[RecordedEvent]:
        return self.events[after : after + limit]

    async def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        while True:
            grown = self._grown
            if page := await self.read_all(after=after, limit=PAGE):
                yield page
                after = page[-1].position
            else:
                await grown.wait()

    async def head(self) -> int:
        return len(self.events)


class MemorySnapshots:
    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        return self._snapshots.get(stream)

    async def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        self._snapshots[stream] = snapshot
