"""The query that tells every event of the log in order, taken up wherever it was left. In slices, and bounded."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from gateway.domain.catalogue import Catalogue
from gateway.messages import RecordedEvent
from gateway.ports import EventStore
from gateway.queries.answers import Result, fitting
from gateway.queries.documents import Allowed
from gateway.queries.history import MOST_SCANNED, PAGE, told
from gateway.queries.parameters import Feed
from gateway.queries.turns import Turns


@dataclass(frozen=True, slots=True)
class FeedQueries:
    """Asks the log, and follows it.

    Attributes:
        projected: waits until the read cache has a position.
    """

    store: EventStore
    catalogue: Catalogue
    projected: Callable[[int], Awaitable[None]]
    turns: Turns = field(default_factory=Turns)

    async def feed(self, query: Feed, allowed: Allowed) -> Result:
        """The events after a position that whoever asks may know of; waits for one where there is none yet.

        Raises:
            StoreUnavailable: the store is away.
        """
        found: list[RecordedEvent] = []
        place = query.begin
        deadline = asyncio.get_running_loop().time() + query.wait_ms / 1_000
        scanned = 0
        while len(found) <= query.limit and scanned < MOST_SCANNED:
            page = await self.store.read_all(after=place, limit=PAGE)
            if not page and (found or not await self._wait(place, deadline)):
                break
            scanned += len(page)
            for event in page:
                place = event.position
                if self._is_in_feed(event, query, allowed):
                    found.append(event)
        if place > query.begin:
            # nobody shall hear of an event, and not find it in the read cache
            await self.projected(place)
        async with self.turns.turn() as turn:
            items, behind = await fitting(turn, ((told(event), event.position) for event in found), query.limit)
        return Result(items, {"after": behind if behind is not None else place})

    async def _wait(self, after: int, deadline: float) -> bool:
        """Wait for an event behind this position until this time of the loop; whether there is one."""
        if deadline <= asyncio.get_running_loop().time():
            return False
        try:
            async with asyncio.timeout_at(deadline), aclosing(self.store.subscribe(after=after)) as pages:
                await anext(pages)
        except TimeoutError:
            return False
        return True

    def _is_in_feed(self, event: RecordedEvent, query: Feed, allowed: Allowed) -> bool:
        located = self.catalogue.locate(event.stream)
        if located is None or not allowed(located[1]) or (query.types is not None and event.type not in query.types):
            return False
        return query.device in {None, located[1]}
