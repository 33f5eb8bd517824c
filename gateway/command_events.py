"""What became of one command: its events stand side by side in the log, and the first carries the command's key."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from gateway.codec import command_key, device_of, follows, verdict_of
from gateway.messages import RecordedEvent, Verdict
from gateway.ports import Devices, LogReader, OutcomeSearch

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


async def joined(  # noqa: PLR0913 - what is joined, and of what
    log: LogReader,
    places: Sequence[tuple[UUID, str, int]],
    remembered: tuple[Sequence[Verdict], UUID | None],
    command_id: str,
    *,
    of: Devices | None,
    limit: int,
) -> tuple[Sequence[Verdict], UUID | None]:
    """The verdicts on commands of an id that left events, and on those that left none, together.

    Args:
        log: which has the events.
        places: of at most ``limit`` events of such commands: id, stream and revision, by id.
        remembered: what :meth:`~gateway.ports.OutcomeSearch.find_by_command_id` finds of those that left none.
        command_id: of the commands.
        of: the devices that are asked for; ``None`` for all.
        limit: that the places were cut to.

    Raises:
        StoreUnavailable: the store is away.
    """
    others, behind = remembered
    if len(places) == limit:
        behind = min(places[-1][0], behind or places[-1][0])
    verdicts = {verdict.key: verdict for verdict in others}
    for id_, stream, revision in places:
        if (behind is None or id_ <= behind) and (of is None or of(device_of(stream))):
            events = await events_at(log, stream, revision)
            verdict = verdict_of(events, command_id) if events else None
            if verdict is not None:
                verdicts[verdict.key] = verdict
    return [verdicts[key] for key in sorted(verdicts) if behind is None or key <= behind], behind


async def holds(verdict: Verdict, outcomes: OutcomeSearch) -> bool:
    """Whether the premise of a verdict is in the log, if it has one.

    Where it is not, the verdict was remembered before the events that it rests on, and nobody has been told of it yet.

    Raises:
        StoreUnavailable: the store is away.
    """
    if verdict.outcome.premise is None:
        return True
    premise = await outcomes.find_by_event_id(verdict.outcome.premise)
    return premise is not None and bool(premise.outcome.events)
