"""The projector follows the log from the cache's position, for ever, and tells others what it has folded."""

import asyncio
import heapq
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from itertools import count
from typing import Final

import structlog

from gateway.errors import StoreUnavailable, TimedOut
from gateway.messages import Mark, RecordedEvent
from gateway.ports import Clock, EventStore
from gateway.projection import Projection, Touched

log = structlog.get_logger()

PROGRESS_INTERVAL: Final = 5.0
SLICE: Final = 8
"""Events that are folded at a stretch, a fraction of a millisecond: a command takes half a dozen turns of the loop."""

PASSES: Final = 3
"""Turns of the loop between two of them while it catches up: a command has to wait for a few of them only."""

_SHORTEST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 30.0


def _nothing() -> None:
    pass


class Projector:
    """Keeps the read cache in step with the event store.

    Attributes:
        listeners: called after each batch with the devices that it touched.
        caught_up: set once the cache has all events that were there when it began to follow the log.
    """

    def __init__(
        self, store: EventStore, projection: Projection, clock: Clock, on_caught_up: Callable[[], None] = _nothing
    ) -> None:
        """Follow a store; ``on_caught_up`` is called each time that the cache has caught up with it anew."""
        self.listeners: list[Callable[[Touched], None]] = []
        self.caught_up = asyncio.Event()
        self._store = store
        self._projection = projection
        self._clock = clock
        self._on_caught_up = on_caught_up
        self._rebuild = asyncio.Event()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._given_up = 0

    @property
    def position(self) -> int:
        """The last event that the read cache reflects."""
        return self._projection.cache.position

    def rebuild(self) -> None:
        """Drop the cache and fold the log again from its first event."""
        self._rebuild.set()

    async def reached(self, position: int, patience: float) -> None:
        """Wait until the cache reflects this position.

        Raises:
            TimedOut: it does not within so many seconds.
        """
        if self.position >= position:
            return
        try:
            await asyncio.wait_for(self.at(position), patience)
        except TimeoutError:
            raise TimedOut(f"the read cache is at position {self.position}, not yet at {position}") from None

    async def at(self, position: int) -> None:
        """Wait until the cache reflects this position, however long it takes."""
        if self.position < position:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (position, next(self._order), future))
            try:
                await future
            finally:
                if future.cancelled():
                    self._forget_one()

    def _forget_one(self) -> None:
        """Somebody waits no more: once that are most of them, their places are cleared, which pays for itself."""
        self._given_up += 1
        if 2 * self._given_up > len(self._waiting):
            self._waiting = [one for one in self._waiting if not one[2].done()]
            heapq.heapify(self._waiting)
            self._given_up = 0

    async def run(self) -> None:
        """Follow the log for ever."""
        # at once: until it is dropped, its documents are told
        if not self._projection.is_as_configured():
            log.warning(
                "read_cache_dropped", reason="the settings name other projections than it has, or other versions"
            )
            self._projection.clear()
        # off the loop: it reads every document; nothing changes them before this task does
        if not await asyncio.to_thread(self._projection.is_readable):
            log.warning("read_cache_dropped", reason="a document in it cannot be read back")
            self._projection.clear()
        while True:
            following = asyncio.create_task(self._follow(), name="projector following")
            rebuild = asyncio.create_task(self._rebuild.wait(), name="projector rebuild")
            try:
                await asyncio.wait((following, rebuild), return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
            finally:
                await _cancel(following)
                await _cancel(rebuild)
            if self._rebuild.is_set():
                self._rebuild.clear()
                log.info("rebuild_started")
                self.caught_up.clear()
                self._projection.clear()

    async def _follow(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            before = self.position
            try:
                target = await self._store.head()
                await self._begin_with(await self._store.identify(), target)
                if self.position >= target:
                    self._set_caught_up()
                await self._fold_until_it_ends(target)
            except StoreUnavailable as error:
                if self.position > before:
                    pause = _SHORTEST_PAUSE
                log.warning("projector_waits_for_store", error=str(error), next_try_s=pause)
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _begin_with(self, log_id: str, head: int) -> None:
        """A cache of another log is worth nothing, nor is one of events that its own log has lost since."""
        cache = self._projection.cache
        if cache.log_id == log_id and (not cache.position or await self._stands(cache.mark)):
            return
        if cache.position:
            log.warning("read_cache_dropped", reason=f"made of log {cache.log_id} up to {cache.position}", head=head)
        self.caught_up.clear()
        self._projection.clear(log_id)

    async def _stands(self, mark: Mark | None) -> bool:
        if mark is None:
            return False
        found = await self._store.read_stream(mark.stream, after=mark.revision - 1, limit=1)
        return [Mark.of(event) for event in found] == [mark]

    async def _fold_until_it_ends(self, target: int) -> None:
        told = self._clock.monotonic()
        async with aclosing(self._store.subscribe(after=self.position)) as batches:
            async for batch in batches:
                for start in range(0, len(batch), SLICE):
                    # answers go out before, and a long catch-up must let commands through
                    for _ in range(1 if self.caught_up.is_set() else PASSES):
                        await asyncio.sleep(0)
                    self._fold(batch[start : start + SLICE])
                if not self.caught_up.is_set() and self.position >= target:
                    self._set_caught_up()
                    log.info("read_cache_caught_up", position=self.position)
                elif not self.caught_up.is_set() and self._clock.monotonic() - told > PROGRESS_INTERVAL:
                    told = self._clock.monotonic()
                    log.info("read_cache_catching_up", position=self.position, head=target)

    def _set_caught_up(self) -> None:
        if not self.caught_up.is_set():
            self.caught_up.set()
            self._on_caught_up()

    def _fold(self, batch: Sequence[RecordedEvent]) -> None:
        touched = self._projection.apply(batch)
        for failure in self._projection.take_failures():
            told = {"projection": failure.name, "device": failure.device, "position": failure.position}
            log.error("projection_failed", **told, exc_info=failure.error)
        while self._waiting and self._waiting[0][0] <= self.position:
            _, _, future = heapq.heappop(self._waiting)
            if future.done():
                self._given_up -= 1
            else:
                future.set_result(None)
        for listener in self.listeners:
            listener(touched)


async def _cancel(task: "asyncio.Task[object]") -> None:
    task.cancel()
    await asyncio.wait((task,))
