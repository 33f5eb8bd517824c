"""Per device in order and in batches, devices side by side."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
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

    async def idle(self) -> None:
        """Wait until no lane has anything to do."""
        await self._idle.wait()

    async def _run(self, key: str) -> None:
        lane = self._waiting[key]
        try:
            while lane:
                await self._work(key, [lane.popleft() for _ in range(min(len(lane), self._batch))])
        finally:
            del self._waiting[key]
            if not self._waiting:
                self._idle.set()
