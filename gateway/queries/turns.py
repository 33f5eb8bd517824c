"""The event loop's time for all queries together: a little at a stretch, so that commands get through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

SECONDS: Final = 0.0005
"""That a turn takes in one go. How many documents or events that are depends on what is asked of each."""

PASSES: Final = 2
"""Of the loop, between two turns of one query: what waits is woken in the first, and gets on in the second."""


class Turns:
    """Only one query works at a time; whatever waits for the store does not have the turn."""

    def __init__(self) -> None:
        self._free = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator["Turn"]:
        """Wait for the turn, and have it; around work on what is there, not around waiting."""
        turn = Turn(self._free)
        await turn.begin()
        try:
            yield turn
        finally:
            turn.end()


class Turn:
    """Of one query."""

    def __init__(self, free: asyncio.Lock) -> None:
        self._free = free
        self._mine = False
        self._until = 0.0

    async def begin(self) -> None:
        """Wait until nobody else has the turn."""
        await self._free.acquire()
        self._mine = True
        self._until = asyncio.get_running_loop().time() + SECONDS

    def end(self) -> None:
        """The next one may have it."""
        if self._mine:
            self._mine = False
            self._free.release()

    async def pause(self) -> None:
        """After each piece of work: when it has taken long, others get on before this query does."""
        if asyncio.get_running_loop().time() >= self._until:
            self.end()
            for _ in range(PASSES):
                await asyncio.sleep(0)
            await self.begin()
