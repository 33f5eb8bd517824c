"""The event feed: every event as a CloudEvent, in order, once it is in the read cache; at least once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import orjson
import structlog

from gateway.codec import read_metadata
from gateway.domain.catalogue import Catalogue
from gateway.errors import LinkLost, PublishRefused, StoreUnavailable
from gateway.messages import MessageProperties, RecordedEvent
from gateway.ports import Cursors, EventStore, Publisher
from gateway.topics import Topics

log = structlog.get_logger()

WINDOW: Final = 50
_PAUSE: Final = 1.0
_LINK_PAUSE: Final = 0.1
_CLOUD_EVENT: Final = MessageProperties(content_type="application/cloudevents+json")
_METADATA: Final = {
    "actor": "actor",
    "commandid": "command_id",
    "correlationid": "$correlationId",
    "causationid": "$causationId",
    "traceparent": "traceparent",
}
"""CloudEvents extension attributes, which are lower-case letters and digits, and the metadata they come from."""


def cloud_event(recorded: RecordedEvent, device: str, source: str) -> bytes:
    """An event in the JSON format of CloudEvents 1.0.

    Revision and position are strings: the integers of CloudEvents end at 32 bits.
    """
    metadata = read_metadata(recorded)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": recorded.id,
        "source": source,
        "type": recorded.type,
        "subject": device,
        "time": recorded.recorded_at,
        "datacontenttype": "application/json",
        "revision": str(recorded.revision),
        "position": str(recorded.position),
        "data": orjson.Fragment(recorded.data),
    }
    event |= {name: str(metadata[key]) for name, key in _METADATA.items() if metadata.get(key) is not None}
    return orjson.dumps(event, option=orjson.OPT_UTC_Z)


class Feed:
    """Follows the log from a durable cursor, at the broker's pace, never ahead of the read cache.

    Attributes:
        position: every event up to here is with the broker.
        attempts: how often it began to follow the log; another one comes after each failure.
        wanted: the position that the read cache must have before it goes on.
        projected: waits until the read cache has a position.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that the feed stands between
        self,
        store: EventStore,
        cursors: Cursors,
        publisher: Publisher,
        *,
        catalogue: Catalogue,
        topics: Topics,
        projected: Callable[[int], Awaitable[None]],
    ) -> None:
        self.position = 0
        self.attempts = 0
        self.wanted = 0
        self._store = store
        self._cursors = cursors
        self._publisher = publisher
        self._catalogue = catalogue
        self._topics = topics
        self._projected = projected
        self._saved: int | None = None
        self._cursor = ""
        self._beginning = asyncio.Lock()
        self._connected = asyncio.Event()
        self._moved = asyncio.Event()

    def connected(self) -> None:
        """There is a broker."""
        self._connected.set()

    def lost(self) -> None:
        """There is none."""
        self._connected.clear()

    async def begin(self) -> None:
        """Fix where it begins, unless it has; nothing is appended before: it would be taken for history, untold.

        Raises:
            StoreUnavailable: the log cannot be asked, or the cursor not be saved.
        """
        if self._saved is None:
            async with self._beginning:
                if self._saved is None:
                    await self._begin()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            try:
                await self.begin()
                await self._connected.wait()
                await self._follow()
                # the connection ended, and the link may not have said so yet: do not spin meanwhile
                await asyncio.sleep(_LINK_PAUSE)
            except StoreUnavailable as error:
                log.warning("feed_waits_for_store", error=str(error), next_try_s=_PAUSE)
                await asyncio.sleep(_PAUSE)

    async def keep_saved(self, interval: float) -> None:
        """Save the cursor at most so often, for ever; idle, nothing is written."""
        while True:
            await self._moved.wait()
            await asyncio.sleep(interval)
            try:
                await self.save()
            except StoreUnavailable as error:
                log.warning("feed_cursor_not_saved", error=str(error))

    async def save(self) -> None:
        """Save the cursor if it has moved.

        Raises:
            StoreUnavailable: it could not be saved; some events will be published again.
        """
        self._moved.clear()
        if self._saved is not None and self._saved != self.position:
            position = self.position
            await self._cursors.save_cursor(self._cursor, position)
            self._saved = position

    async def _begin(self) -> None:
        # of this log: in another one the position means nothing
        self._cursor = f"feed {await self._store.identify()}"
        head = await self._store.head()
        saved = await self._cursors.load_cursor(self._cursor)
        if saved is None or saved > head:
            # what happened before there was a feed stays history
            saved = head
            await self._cursors.save_cursor(self._cursor, saved)
        self.position = self._saved = saved

    async def _follow(self) -> None:
        """Publish from the cursor on, until the connection ends."""
        self.attempts += 1
        in_flight: deque[tuple[int, asyncio.Future[None]]] = deque()
        async with aclosing(self._store.subscribe(after=self.position)) as batches:
            async for batch in batches:
                self.wanted = batch[-1].position
                await self._projected(self.wanted)
                for recorded in batch:
                    if len(in_flight) >= WINDOW and not await self._confirmed(in_flight):
                        return
                    in_flight.append((recorded.position, self._publish(recorded)))
                # the next batch may be long in coming: what is out is settled before
                while in_flight:
                    if not await self._confirmed(in_flight):
                        return

    async def _confirmed(self, in_flight: "deque[tuple[int, asyncio.Future[None]]]") -> bool:
        """Wait for the oldest publish; false if the connection ended before the broker had it."""
        position, published = in_flight[0]
        try:
            # nearly always it is done already
            await (published if published.done() else asyncio.shield(published))
        except LinkLost:
            return False
        except PublishRefused as error:
            # it would be refused again: the log keeps it, and the others must not wait for ever
            log.warning("event_refused_by_broker", position=position, reason=str(error))
        in_flight.popleft()
        self.position = position
        self._moved.set()
        return True

    def _publish(self, recorded: RecordedEvent) -> "asyncio.Future[None]":
        located = self._catalogue.locate(recorded.stream)
        if located is None:
            nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing
        decider, device = located
        payload = cloud_event(recorded, device, f"/{self._topics.root}/{decider.category}/{device}")
        return self._publisher.publish(self._topics.event(device, recorded.type), payload, properties=_CLOUD_EVENT)
