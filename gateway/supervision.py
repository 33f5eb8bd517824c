"""What the supervisor of the process is told: that it is up, how it goes, and, by the watchdog, that it gets on.

Up means that the work has begun, not that there is a broker or a store: a machine must boot without its network.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from gateway.heartbeats import Heartbeats
from gateway.parking import Parking
from gateway.ports import Supervisor

BEATS: Final = 3
"""Times that the watchdog is fed in the time that it waits: one that comes late costs nothing."""

INTERVAL: Final = 5.0


class Supervision:
    """Keeps the supervisor informed."""

    def __init__(self, supervisor: Supervisor, heartbeats: Heartbeats, status: Callable[[], str]) -> None:
        """Tell nothing yet; ``status`` says in a line how it goes."""
        self._supervisor = supervisor
        self._heartbeats = heartbeats
        self._status = status
        self._interval = interval(supervisor.watchdog)

    async def run(self) -> None:
        """Tell it for ever. Whoever starts this has begun all other work."""
        self._supervisor.ready()
        told = ""
        while True:
            if await self._heartbeats.all_there():
                self._supervisor.alive()
            status = self._line()
            if status != told:
                self._supervisor.status(status)
                told = status
            await asyncio.sleep(self._interval)

    def _line(self) -> str:
        missing = self._heartbeats.missing
        return f"STUCK: {', '.join(missing)}; {self._status()}" if missing else self._status()


def interval(watchdog: float | None) -> float:
    """Seconds between two times that the supervisor hears something."""
    return INTERVAL if watchdog is None else min(INTERVAL, watchdog / BEATS)


def status_line(*, connected: bool, lost_at: datetime | None, parking: Parking, catching_up: bool) -> str:
    """How it goes, in a line for a person.

    Args:
        connected: whether there is a broker.
        lost_at: when the last one was lost, if one was.
        parking: what waits for the store, and since when.
        catching_up: whether the read cache lacks events.
    """
    broker = "broker connected" if connected else f"broker away{_since(lost_at)}"
    store = "event store there" if parking.since is None else f"event store away{_since(parking.since)}"
    parts = [broker, store]
    if parking.count:
        parts.append(f"{parking.count} commands parked")
    if catching_up:
        parts.append("read cache catching up")
    return "; ".join(parts)


def _since(at: datetime | None) -> str:
    return f" since {at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""
