"""A gateway whose wall clock a test sets while it runs: ``python -m tests.support.settable_clock run --config FILE``.

The machine's own clock is left alone: it belongs to everybody. Monotonic time goes on as it does when a clock is set.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.adapters.clock import SystemClock
from gateway.cli import main as command
from tests.support.gateway_process import GatewayProcess

OFFSET: Final = "clock"
"""A file beside the settings: seconds that the clock is ahead."""


class GatewayWithClock(GatewayProcess):
    """Its wall clock shows what the test says."""

    module = "tests.support.settable_clock"

    def set_clock(self, ahead: timedelta) -> None:
        """From now on the wall clock is so far ahead of the machine's."""
        new = self.config.with_name("clock.new")
        new.write_text(str(ahead // timedelta(microseconds=1)))
        new.replace(self.config.with_name(OFFSET))


def main(argv: list[str]) -> int:
    """Run the command with a clock of its own."""
    offset = Path(argv[argv.index("--config") + 1]).with_name(OFFSET)
    machines_time = time.time_ns

    def time_ns() -> int:
        ahead = int(offset.read_text()) if offset.exists() else 0
        return machines_time() + ahead * 1_000

    def now(_clock: SystemClock) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns() // 1_000)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    SystemClock.now = now  # type: ignore[assignment, method-assign]
    return command(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
