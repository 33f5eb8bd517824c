"""The newest events in memory, so that whoever follows the log closely need not read them from disk."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.messages import RecordedEvent


@dataclass(frozen=True, slots=True)
class RecentLimits:
    """How much is kept: at most so many events, and so many bytes of data and metadata."""

    events: int = 4_096
    size: int = 4 * 1024 * 1024


DEFAULT_LIMITS: Final = RecentLimits()


class RecentEvents:
    """A gap-free run of events that ends at the head.

    Attributes:
        head: position of the last event.
        grown: set when there is a newer one; then another takes its place.
    """

    def __init__(self, head: int, limits: RecentLimits) -> None:
        self.head = head
        self.grown = asyncio.Event()
        self._limits = limits
        self._events: list[RecordedEvent] = []
        self._size = 0

    def add(self, events: Sequence[RecordedEvent]) -> None:
        """Put events behind the head; those that are not new are left out."""
        events = [event for event in events if event.position > self.head]
        if not events:
            return
        if events[0].position != self.head + 1:
            # what lies between was written although its writer was told otherwise; it is read from disk
            self._drop(len(self._events))
        self._events += events
        self._size += sum(map(_size_of, events))
        self.head = events[-1].position
        while len(self._events) > self._limits.events or self._size > self._limits.size:
            self._drop((len(self._events) + 1) // 2)
        self.grown.set()
        self.grown = asyncio.Event()

    def after(self, position: int, limit: int) -> Sequence[RecordedEvent] | None:
        """At most ``limit`` events over this position, none at the head; ``None`` if they are not here any more."""
        if position >= self.head:
            return ()
        start = position + 1 - (self.head - len(self._events) + 1)
        return self._events[start : start + limit] if start >= 0 else None

    def _drop(self, count: int) -> None:
        """Drop the oldest."""
        self._size -= sum(map(_size_of, self._events[:count]))
        del self._events[:count]


def _size_of(event: RecordedEvent) -> int:
    return len(event.data) + len(event.metadata)
