"""The current state of each device: loaded from its stream, kept in a bounded cache."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import ValidationError

from gateway import __version__
from gateway.codec import EventCodec, StateCodec
from gateway.domain.decider import Decider
from gateway.errors import StoreUnavailable
from gateway.messages import NO_STREAM, Aggregate, RecordedEvent, Snapshot
from gateway.ports import EventStore, Snapshots

log = structlog.get_logger()

PAGE: Final = 200
"""Events that are read at a time: after a restart, as many devices as commands are under way are read side by side."""

SLICE: Final = 50
"""Events that are folded at a stretch, a millisecond or two: others have commands, too."""

PASSED: Final = 512
"""States that are kept for a while after they have been left behind."""

LONG: Final = 25
"""Pages after which a snapshot is kept while reading: what is cut off, or the next start, goes on from there."""


class Aggregates:
    """Loads aggregates and remembers the most recently used ones.

    Attributes:
        capacity: how many are remembered.
        snapshot_every: a snapshot is kept each time that a stream has grown by so many events.
        being_read: streams that take more than a page to read, for as long as that goes on or since it was cut off.
    """

    def __init__(
        self, store: EventStore, snapshots: Snapshots, codec: EventCodec, *, capacity: int, snapshot_every: int
    ) -> None:
        self._store = store
        self._snapshots = snapshots
        self._codec = codec
        self._capacity = capacity
        self._snapshot_every = snapshot_every
        self.being_read: set[str] = set()
        self._cached: OrderedDict[str, Aggregate] = OrderedDict()
        # what was left behind lately: whoever follows the log comes a little later
        self._passed: dict[tuple[str, int], Aggregate] = {}

    async def load(self, decider: Decider[Any], stream: str) -> Aggregate:
        """The aggregate as far as this gateway knows it; an append at its revision proves whether that is current."""
        aggregate = self._cached.get(stream)
        if aggregate is None:
            aggregate = await self._read(decider, stream)
            self._remember(stream, aggregate)
        else:
            self._cached.move_to_end(stream)
        return aggregate

    def at_hand(self, stream: str, revision: int) -> Aggregate | None:
        """The aggregate as of just this revision, if it is remembered."""
        aggregate = self._cached.get(stream)
        if aggregate is not None and aggregate.revision == revision:
            return aggregate
        return self._passed.get((stream, revision))

    def forget(self, stream: str) -> None:
        """Read it anew the next time."""
        self._cached.pop(stream, None)
        for passed in [passed for passed in self._passed if passed[0] == stream]:
            del self._passed[passed]

    async def advance(self, decider: Decider[Any], stream: str, aggregate: Aggregate, last: UUID) -> None:
        """Put the state in that follows from what has just been appended; ``last`` is the id of the last event."""
        before = self._cached.get(stream)
        self._remember(stream, aggregate)
        if before is not None:
            self._passed[stream, before.revision] = before
            if len(self._passed) > PASSED:
                del self._passed[next(iter(self._passed))]
        grown_from = before.revision if before is not None else NO_STREAM
        if grown_from // self._snapshot_every != aggregate.revision // self._snapshot_every and grown_from != NO_STREAM:
            await self._keep_snapshot(decider, stream, aggregate, last)

    def _remember(self, stream: str, aggregate: Aggregate) -> None:
        self._cached[stream] = aggregate
        self._cached.move_to_end(stream)
        if len(self._cached) > self._capacity:
            self._cached.popitem(last=False)

    async def _read(self, decider: Decider[Any], stream: str) -> Aggregate:
        aggregate = await self._from_snapshot(decider, stream) or Aggregate(decider.initial)
        for number in count(1):
            page = await self._store.read_stream(stream, after=aggregate.revision, limit=PAGE)
            if page:
                aggregate = await self._fold(decider, aggregate, page)
            if len(page) < PAGE:
                break
            self.being_read.add(stream)
            if number % LONG == 0:
                await self._keep_snapshot(decider, stream, aggregate, page[-1].id)
        self.being_read.discard(stream)
        return aggregate

    async def _fold(self, decider: Decider[Any], aggregate: Aggregate, page: Sequence[RecordedEvent]) -> Aggregate:
        state, degraded = aggregate.state, aggregate.degraded
        for number, recorded in enumerate(page, 1):
            state, problem = self._codec.apply(decider, state, recorded)
            degraded = degraded or problem
            if number % SLICE == 0:
                await asyncio.sleep(0)
        return Aggregate(state, page[-1].revision, degraded)

    async def _from_snapshot(self, decider: Decider[Any], stream: str) -> Aggregate | None:
        snapshot = await self._snapshots.load_snapshot(stream)
        if snapshot is None:
            return None
        # nor is it any good where the stream is another one: the log may have been restored, or be somebody else's
        stands = await self._store.read_stream(stream, after=snapshot.revision - 1, limit=1)
        if not stands or stands[0].id != snapshot.event_id:
            log.warning("snapshot_of_another_log", stream=stream, revision=snapshot.revision)
            return None
        # a snapshot is only as good as the code that folded it, so another version's is not used
        version, _, state = snapshot.state.partition(b"\n")
        if version.decode() != __version__:
            return None
        try:
            return Aggregate(StateCodec.of(decider).from_json(state), snapshot.revision)
        except ValidationError as error:
            log.warning("snapshot_unreadable", stream=stream, errors=error.error_count())
            return None

    async def _keep_snapshot(self, decider: Decider[Any], stream: str, aggregate: Aggregate, last: UUID) -> None:
        if aggregate.degraded is not None:
            return
        state = f"{__version__}\n".encode() + StateCodec.of(decider).to_json(aggregate.state)
        try:
            await self._snapshots.save_snapshot(stream, Snapshot(aggregate.revision, last, state))
        except StoreUnavailable as error:
            # it only saves time at the next load: the command is settled without it
            log.warning("snapshot_not_kept", stream=stream, error=str(error))
