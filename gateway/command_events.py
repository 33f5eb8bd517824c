"""The events of one command, read from the log: they stand side by side, and the first carries the command's key."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from gateway.codec import command_key, follows, verdict_of
from gateway.messages import RecordedEvent, Verdict
from gateway.ports import LogReader

_FEW: Final = 8
"""Events that are read at a time: most commands cause one or two."""


async def events_at(log: LogReader, stream: str, revision: int) -> list[RecordedEvent]:
    """The event that stands there, and those behind it that the same command caused.

    Raises:
        StoreUnavailable: the store is away.
    """
    events: list[RecordedEvent] = []
    after = revision - 1
    while page := await log.read_stream(stream, after=after, limit=_FEW):
        for event in page:
            if events and not follows(event, events):
                return events
            events.append(event)
        after = page[-1].revision
    return events


async def verdict_behind(id: UUID, events_with: Callable[[UUID], Awaitable[list[RecordedEvent]]]) -> Verdict | None:
    """The verdict on the command that caused this event, or whose key it is; ``None`` if it left no events.

    Args:
        id: of any event.
        events_with: the event with an id, and those behind it that the same command caused; none where there is none.
    """
    events = await events_with(id)
    if events and (key := command_key(events[0])) != id:
        events = await events_with(key)
    return verdict_of(events) if events else None
