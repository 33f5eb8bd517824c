"""The machine's own time."""

import time
from datetime import UTC, datetime


class SystemClock:
    """See :class:`~gateway.ports.Clock`."""

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment in the past."""
        return time.monotonic()
