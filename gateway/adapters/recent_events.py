"""The newest events in memory, so that whoever follows the log closely need not read them from disk."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Protocol

from gateway.adapters.page_size import PageSize
from gateway.messages import RecordedEvent

PAGE: Final = 500
"""The most events that a follower is given at once."""


class Read(Protocol):
    """Reads the log itself."""

    async def __call__(self, *, after: int, limit: int) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        ...


@dataclass(frozen=True, slots=True)
class RecentLimits:
    """How much is kept: at most so many events, and so many bytes of data and metadata."""

    events: int = 4_096
    size: int = 4 * 1024 * 1024


DEFAULT_LIMITS: Final = RecentLimits()

_position = attrgetter("position")


class RecentEvents:
    """A gap-free run of events that ends at the head.

    Attributes:
        head: position of the last event.
        fed: whether newer ones are put here as they come.
        grown: set when there is a newer one; then another takes its place.
    """

    def __init__(self, head: int, limits: RecentLimits) -> None:
        self.head = head
        self.fed = False
        self.grown = asyncio.Event()
        self._limits = limits
        self._page = PageSize(PAGE)
        # every event over this position, up to the head, is here
        self._floor = head
        self._events: list[RecordedEvent] = []
        self._size = 0

    def add(self, events: Sequence[RecordedEvent], *, after: int) -> None:
        """Put events behind the head: at least one, and all that there are over the position ``after``."""
        if after != self.head:
            # what lies between was not seen; whoever wants it reads it from the log
            self._drop(len(self._events))
            self._floor = after
        self._events += events
        self._size += sum(map(_size_of, events))
        self.head = events[-1].position
        while len(self._events) > self._limits.events or self._size > self._limits.size:
            self._drop((len(self._events) + 1) // 2)
        # in a turn of its own: whoever waits for the append is told first, and its answer goes out before it is folded
        asyncio.get_running_loop().call_soon(self._tell)

    def skip_to(self, head: int) -> None:
        """The log ends here, and nothing of it up to here is in memory."""
        self.head = head
        self._drop(len(self._events))
        self._floor = head
        self._tell()

    def after(self, position: int, limit: int) -> Sequence[RecordedEvent] | None:
        """At most ``limit`` events over this position, none at the head; ``None`` if they are not here any more."""
        if position >= self.head:
            return ()
        if position < self._floor:
            return None
        start = bisect_right(self._events, position, key=_position)
        return self._events[start : start + limit]

    async def up_to(self, position: int, count: int, patience: float) -> Sequence[RecordedEvent]:
        """The last ``count`` events up to a position of the log, once they are here; fewer after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.fed and self.head < position:
                    await self.grown.wait()
        end = bisect_right(self._events, position, key=_position)
        return self._events[max(end - count, 0) : end]

    async def follow(self, after: int, read: Read) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        """Every event over a position, in order, for ever; ``read`` gives what is not in memory any more."""
        while True:
            # taken before looking, so that what comes between looking and waiting is not missed
            grown = self.grown
            events = self.after(after, PAGE)
            if events is None:
                with self._page.tried():
                    events = await read(after=after, limit=self._page.now)
            if events:
                yield events
                after = events[-1].position
            else:
                await grown.wait()

    def _tell(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()

    def _drop(self, count: int) -> None:
        """Drop the oldest."""
        if count:
            self._floor = self._events[count - 1].position
        self._size -= sum(map(_size_of, self._events[:count]))
        del self._events[:count]


def _size_of(event: RecordedEvent) -> int:
    return len(event.data) + len(event.metadata)
