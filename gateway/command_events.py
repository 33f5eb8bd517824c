"""What became of one command: its events stand side by side in the log, and the first carries the command's key."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from gateway.codec import command_key, follows, verdict_of
from gateway.messages import RecordedEvent, Verdict
from gateway.ports import LogReader, OutcomeSearch

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


async def verdicts_that_hold(outcomes: OutcomeSearch, command_id: str) -> Sequence[Verdict]:
    """The verdicts on the commands that carry this id, but for those whose premise is not in the log.

    Such a verdict was remembered before the events that it rests on, and nobody has been told of it yet.

    Raises:
        StoreUnavailable: the store is away.
    """
    verdicts = await outcomes.find_by_command_id(command_id)
    return [verdict for verdict in verdicts if await _holds(verdict, outcomes)]


async def _holds(verdict: Verdict, outcomes: OutcomeSearch) -> bool:
    if verdict.outcome.premise is None:
        return True
    premise = await outcomes.find_by_event_id(verdict.outcome.premise)
    return premise is not None and bool(premise.outcome.events)
