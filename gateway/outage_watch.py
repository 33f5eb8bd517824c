"""What counts as an outage, and what each of them may have cost."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from gateway.outages import OutageLedger
from gateway.parking import Parking
from gateway.ports import Clock

log = structlog.get_logger()

CLOCK_INTERVAL: Final = 5.0


class OutageWatch:
    """Tells the ledger what happens to the gateway.

    Attributes:
        clock_tolerance: seconds by which the clock may jump without a word.
    """

    def __init__(self, ledger: OutageLedger, parking: Parking, clock: Clock, clock_tolerance: float) -> None:
        self.clock_tolerance = clock_tolerance
        self._ledger = ledger
        self._parking = parking
        self._clock = clock
        parking.listeners.append(self._store)

    async def start(self, last_alive: datetime | None, *, crashed: bool) -> None:
        """Take up what an earlier run left behind, and how it ended.

        Args:
            last_alive: when that run gave its last sign of life.
            crashed: whether it ended without closing its database.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        await self._ledger.load()
        if last_alive is None:
            return
        if crashed:
            log.warning("crash_found", last_alive=last_alive.isoformat(), parked=self._parking.count)
            affected = f"what was under way is delivered again by the broker; {self._parking.count} commands are parked"
            self._ledger.note("crash", last_alive, "the last run did not end in good order", affected)
        back = (last_alive - self._clock.now()).total_seconds()
        if back > self.clock_tolerance:
            self._jumped(last_alive, -back)

    def connected(self, *, session_lost: bool) -> None:
        """There is a broker."""
        now = self._clock.now()
        since = self._ledger.began("broker") or now
        if session_lost:
            self._ledger.note(
                "session",
                since,
                "the broker did not know our session any more",
                "commands that the broker held for the gateway are lost: who has no acknowledgement sends again",
            )
        self._ledger.end("broker", "commands waited at the broker; states and events were told late")

    def lost(self, reason: str) -> None:
        """There is none."""
        self._ledger.begin("broker", reason)

    async def watch_clock(self) -> None:
        """Notice jumps of the clock, for ever. A machine that slept looks the same."""
        while True:
            then, at = self._clock.now(), self._clock.monotonic()
            await asyncio.sleep(CLOCK_INTERVAL)
            passed = self._clock.monotonic() - at
            jumped = (self._clock.now() - then).total_seconds() - passed
            if abs(jumped) > self.clock_tolerance:
                self._jumped(then, jumped)

    @staticmethod
    async def show_life(sign: Callable[[], None], interval: float) -> None:
        """Leave a sign of life now and then, for ever: after a crash it tells when that was, to within ``interval``."""
        while True:
            try:
                await asyncio.to_thread(sign)
            except OSError as error:
                log.warning("no_sign_of_life", error=str(error))
            await asyncio.sleep(interval)

    async def save(self) -> None:
        """Keep what goes on, for the next run.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        await self._ledger.save()

    def _jumped(self, since: datetime, seconds: float) -> None:
        log.warning("clock_jumped", seconds=round(seconds, 3))
        self._ledger.note(
            "clock", since, f"the clock jumped by {seconds:+.1f} s", "expiry of commands; times of events"
        )

    def _store(self, reason: str | None) -> None:
        if reason is not None:
            self._ledger.begin("store", reason)
        else:
            self._ledger.end("store", f"{self._parking.count} commands were still parked when it came back")
