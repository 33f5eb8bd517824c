"""What is asked of the daemon by signals. A handler only takes note; whoever waits for it acts."""

import asyncio
import os
import signal
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signals:
    """What is asked for, each set by a signal.

    Attributes:
        stop: SIGTERM or SIGINT: finish what was taken, and end; a second one ends the process at once.
        rebuild: SIGUSR1: fold the read cache anew.
        reload: SIGHUP: read the settings again.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    rebuild: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    def listen(self) -> None:
        """Take note of signals from now on, on the running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_or_abort, number)
        loop.add_signal_handler(signal.SIGUSR1, self.rebuild.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def _stop_or_abort(self, number: int) -> None:
        if self.stop.is_set():
            os._exit(128 + number)
        self.stop.set()
