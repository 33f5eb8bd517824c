"""The gateway as a process: its signals, its supervisor, and how the interpreter is set."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable
from typing import Final

from gateway.adapters.systemd import Systemd
from gateway.app import run
from gateway.settings import Settings
from gateway.settings_loader import Loaded
from gateway.signals import Signals

SWITCH_INTERVAL: Final = 50e-6
"""Seconds. With Python's 5 ms a busy loop hardly ever hands over to the thread that writes: commits would stall."""


COLLECT_AFTER: Final = 20_000, 20, 20
"""Objects and rounds, as :func:`gc.set_threshold` takes them. Nearly everything is freed by counting references: with
Python's 700 objects the collector walks through all commands in hand several times before the first is done."""


def serve(settings: Settings, reread: Callable[[], Loaded]) -> None:
    """Run until a signal asks for the end; see :class:`~gateway.signals.Signals`.

    Args:
        settings: to begin with.
        reread: reads the settings again, when a signal asks for it.

    Raises:
        StateError: the state directory or the database cannot be used.
        StoreUnavailable: the disk does not let the database be opened.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*COLLECT_AFTER)
    asyncio.run(_until_signalled(settings, reread))


async def _until_signalled(settings: Settings, reread: Callable[[], Loaded]) -> None:
    signals = Signals()
    signals.listen()
    await run(settings, signals, Systemd.of(os.environ), reread)
