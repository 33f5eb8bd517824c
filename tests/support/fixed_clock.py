"""A clock that a test sets."""

from datetime import datetime, timedelta


class FixedClock:
    def __init__(self, now: datetime) -> None:
        self._now = now
        self._start = now

    def advance(self, by: timedelta) -> None:
        self._now += by

    def jump(self, by: timedelta) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._now += by
        self._start += by

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()
