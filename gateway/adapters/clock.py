"""The machine's own time."""

import time
from datetime import UTC, datetime


class SystemClock:
    """See :class:`~gateway.ports.Clock`."""

    # asked a dozen times for each command
    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)
