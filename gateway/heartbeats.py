"""Whether every task gets on, so that a supervisor may believe that the gateway is alive.

A task that has ended is dead. One that has something to do and gets no further is stuck, unless it waits for a
store that is away: an outage is no fault of ours, and no restart would heal it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from gateway.errors import StoreUnavailable
from gateway.ports import EventStore

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pulse:
    """How to see that a task gets on.

    Attributes:
        behind: whether there is something that it should be doing.
        progress: is another value each time that it has got on.
        patience: seconds that one step may take.
    """

    behind: Callable[[], bool]
    progress: Callable[[], object]
    patience: float


@dataclass(frozen=True, slots=True)
class _Beat:
    progress: object
    at: float


class Heartbeats:
    """Listens to the tasks' hearts.

    Attributes:
        missing: the names of those that did not beat when it last listened.
    """

    def __init__(
        self,
        tasks: "Mapping[str, asyncio.Task[None]]",
        pulses: Mapping[str, Pulse],
        store_answers: Callable[[], Awaitable[bool]],
        monotonic: Callable[[], float],
    ) -> None:
        """Listen to nobody yet.

        Args:
            tasks: those that never end, by name.
            pulses: of work that can be seen to get on, by name.
            store_answers: asks the store, and does not take long.
            monotonic: seconds that never jump.
        """
        self.missing: tuple[str, ...] = ()
        self._tasks = tasks
        self._pulses = pulses
        self._store_answers = store_answers
        self._monotonic = monotonic
        self._beats: dict[str, _Beat] = {}

    async def all_there(self) -> bool:
        """Whether every task is alive, and gets on or has nothing to do."""
        dead = [name for name, task in self._tasks.items() if task.done()]
        stuck = [name for name, pulse in self._pulses.items() if self._is_late(name, pulse)]
        if stuck and not await self._store_answers():
            # they get their full time again once the store is back
            for name in stuck:
                del self._beats[name]
            stuck = []
        missing = tuple(dead + stuck)
        if missing and missing != self.missing:
            log.error("heartbeats_missing", dead=dead, stuck=stuck, meaning="the watchdog is not fed any more")
        self.missing = missing
        return not missing

    def _is_late(self, name: str, pulse: Pulse) -> bool:
        now = self._monotonic()
        if not pulse.behind():
            self._beats.pop(name, None)
            return False
        progress = pulse.progress()
        beat = self._beats.get(name)
        if beat is None or beat.progress != progress:
            self._beats[name] = beat = _Beat(progress, now)
        return now - beat.at > pulse.patience


async def store_answers(store: EventStore, stream: str, patience: float) -> bool:
    """Whether the store is there: it tells within so many seconds what is in a stream, and not from memory."""
    try:
        async with asyncio.timeout(patience):
            await store.read_stream(stream, limit=1)
    except (TimeoutError, StoreUnavailable):
        return False
    return True
