"""What the log does not hold need not be kept for ever: old refusals are forgotten, once a day."""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from gateway.errors import StoreUnavailable
from gateway.ports import Clock, Outcomes

log = structlog.get_logger()

DELAY: Final = 3_600.0
"""Seconds after the start: a clock that was wrong at boot is right by then, and makes nothing forgotten too early."""

INTERVAL: Final = 24 * 3_600.0


async def prune_daily(outcomes: Outcomes, clock: Clock, keep: timedelta) -> None:
    """Forget refusals that are older than ``keep``, for ever."""
    await asyncio.sleep(DELAY)
    while True:
        try:
            if forgotten := await outcomes.prune(clock.now() - keep):
                log.info("refusals_forgotten", count=forgotten)
        except StoreUnavailable as error:
            log.warning("refusals_not_pruned", error=str(error))
        await asyncio.sleep(INTERVAL)
