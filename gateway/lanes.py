"""Per device in order and in batches, devices side by side."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """One lane for each key that has something waiting; a lane works on one batch at a time.

    What arrives while a batch is worked on waits, and becomes the next batch: the busier a device, the larger its
    batches. ``work`` must be total: an exception from it ends the task group, and with it the gateway.
    """

    def __init__(self, group: asyncio.TaskGroup, work: Callable[[str, list[T]], Awaitable[None]], batch: int) -> None:
        self._group = group
        self._work = work
        self._batch = batch
        self._waiting: dict[str, deque[T]] = {}
        # the batches under way, each by its number, the oldest first
        self._under_way: dict[str, int] = {}
        self._batches = count()
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, key: str, item: T) -> None:
        """Put an item behind the others of its key."""
        lane = self._waiting.get(key)
        if lane is not None:
            lane.append(item)
            return
        self._waiting[key] = deque((item,))
        self._idle.clear()
        self._group.create_task(self._run(key), name=f"lane {key}")

    @property
    def oldest(self) -> int | None:
        """Number of the batch that has been worked on longest, which is another one when it is done."""
        return next(iter(self._under_way.values()), None)

    async def idle(self) -> None:
        """Wait until no lane has anything to do."""
        await self._idle.wait()

    async def _run(self, key: str) -> None:
        lane = self._waiting[key]
        try:
            while lane:
                self._under_way[key] = next(self._batches)
                await self._work(key, [lane.popleft() for _ in range(min(len(lane), self._batch))])
                del self._under_way[key]
        finally:
            self._under_way.pop(key, None)
            del self._waiting[key]
            if not self._waiting:
                self._idle.set()
