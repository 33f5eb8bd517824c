"""A log is copied from one store to another: ids, data, metadata, times and order stay; then both are compared.

Whoever starts it again goes on where it stopped: the copy is always the beginning of the original.
"""

from collections.abc import AsyncIterator, Callable
from itertools import groupby
from typing import Final

from gateway.errors import MigrationError
from gateway.messages import RecordedEvent
from gateway.ports import EventStore, ImportingStore

PAGE: Final = 500
_SAME: Final = ("stream", "revision", "recorded_at", "id", "type", "data", "metadata")
"""All of an event but its position, which each store gives anew."""


async def copy_log(source: EventStore, target: ImportingStore, progress: Callable[[int], None]) -> int:
    """Append to the target what it lacks of the source, in the source's order; tell the count so far after each page.

    Both must be at rest. Returns how many events were copied now.

    Raises:
        MigrationError: the target holds something else than the beginning of the source.
        StoreUnavailable: one of them is away; the same call again goes on.
    """
    after = await _copied_up_to(source, target)
    copied = 0
    while page := await source.read_all(after=after, limit=PAGE):
        # one append for what stands side by side: more at once could change the order
        for stream, run in groupby(page, key=lambda event: event.stream):
            events = list(run)
            await target.append_recorded(stream, events[0].revision - 1, events)
        copied += len(page)
        after = page[-1].position
        progress(copied)
    return copied


async def compare_logs(source: EventStore, target: EventStore, progress: Callable[[int], None]) -> int:
    """Read both from the first event to the last; returns how many there are.

    Raises:
        MigrationError: they differ; the message names the first event that does.
        StoreUnavailable: one of them is away.
    """
    compared = 0
    copies = _events(target)
    async for original in _events(source):
        copy = await anext(copies, None)
        if copy is None:
            raise MigrationError(f"the copy ends before {_name(original)}")
        for attribute in _SAME:
            if getattr(original, attribute) != getattr(copy, attribute):
                raise MigrationError(f"{_name(original)}: {attribute} differs in the copy, {_name(copy)}")
        compared += 1
        if compared % PAGE == 0:
            progress(compared)
    surplus = await anext(copies, None)
    if surplus is not None:
        raise MigrationError(f"the copy has more: {_name(surplus)}")
    return compared


async def _copied_up_to(source: EventStore, target: EventStore) -> int:
    """The position in the source of the last event that the target has; 0 if it has none."""
    head = await target.head()
    if not head:
        return 0
    [last] = await target.read_all(after=head - 1, limit=1)
    found = await source.read_stream(last.stream, after=last.revision - 1, limit=1)
    if not found or found[0].id != last.id:
        raise MigrationError(f"the target has events that are not in the source, such as {_name(last)}")
    return found[0].position


async def _events(store: EventStore) -> AsyncIterator[RecordedEvent]:
    after = 0
    while page := await store.read_all(after=after, limit=PAGE):
        for event in page:
            yield event
        after = page[-1].position


def _name(event: RecordedEvent) -> str:
    return f"{event.stream} revision {event.revision} ({event.type} {event.id})"
