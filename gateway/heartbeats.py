"""Whether every task gets on, so that a supervisor may believe that the gateway is alive.

A task that has ended is dead. One that has something to do and gets no further is stuck, unless it waits for a
store that is away: an outage is no fault of ours, and no restart would heal it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

from gateway.errors import StoreUnavailable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pulse:
    """How to see that a task gets on.

    Attributes:
        behind: whether there is something that it should be doing.
        progress: is another value each time that it has got on.
        patience: seconds that one step may take.
        could: asks, off the beaten track, whether it could really get on. While the store is away it could not.
    """

    behind: Callable[[], bool]
    progress: Callable[[], object]
    patience: float
    could: Callable[[], Awaitable[bool]]


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
        monotonic: Callable[[], float],
        patience: float,
    ) -> None:
        """Listen to nobody yet.

        Args:
            tasks: those that never end, by name.
            pulses: of work that can be seen to get on, by name.
            monotonic: seconds that never jump.
            patience: seconds after which a store that does not answer counts as away.
        """
        self.missing: tuple[str, ...] = ()
        self._tasks = tasks
        self._pulses = pulses
        self._monotonic = monotonic
        self._patience = patience
        self._beats: dict[str, _Beat] = {}

    async def all_there(self) -> bool:
        """Whether every task is alive, and gets on or has nothing to do."""
        dead = [name for name, task in self._tasks.items() if task.done()]
        stuck = [
            name
            for name, pulse in self._pulses.items()
            if self._is_late(name, pulse) and await self._could(name, pulse)
        ]
        missing = tuple(dead + stuck)
        if missing and missing != self.missing:
            log.error("heartbeats_missing", dead=dead, stuck=stuck, meaning="the watchdog is not fed any more")
        self.missing = missing
        return not missing

    async def _could(self, name: str, pulse: Pulse) -> bool:
        with suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(self._patience):
                if await pulse.could():
                    return True
        # it gets its full time again from now on
        self._beats.pop(name, None)
        return False

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
