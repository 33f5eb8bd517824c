"""For how long an event loop does not come round."""

import asyncio
import os
import time
from typing import Final

TICK: Final = 0.005


class LoopWatch:
    """Measures for how long the loop does not come round.

    What counts is the time in which this thread ran or was blocked; not the time in which it could have run and the
    machine gave its cores to others.

    Attributes:
        longest: in seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        try:
            while True:
                due, delayed = time.perf_counter() + TICK, _run_delay(descriptor)
                await asyncio.sleep(TICK)
                late = time.perf_counter() - due
                self.longest = max(self.longest, late - (_run_delay(descriptor) - delayed))
        finally:
            os.close(descriptor)


def _run_delay(descriptor: int) -> float:
    """Seconds for which this thread has waited for a core so far."""
    return int(os.pread(descriptor, 100, 0).split()[1]) / 1e9
