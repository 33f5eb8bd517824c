"""``edge-gateway rebuild``: make the read cache anew from the log."""

import os
import signal
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config
from gateway.cli.output import note

if TYPE_CHECKING:
    from gateway.cli.read_side import ReadSide

SUMMARY: Final = "make the read cache anew from the log"

PROGRESS_INTERVAL: Final = 1.0


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Rebuild, or have it rebuilt.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, it cannot be read, or the state directory cannot be used.
    """
    import asyncio

    asyncio.run(_have_rebuilt(options))
    return Exit.OK


async def _have_rebuilt(options: Namespace) -> None:
    from gateway.adapters.state_dir import process_in
    from gateway.cli.read_side import open_read_side

    async with open_read_side(options.config) as side:
        process = process_in(side.state_dir)
        if process is None:
            await _rebuild(side)
        else:
            os.kill(process, signal.SIGUSR1)
            note(f"the gateway runs with process id {process}; it was told to rebuild, and serves on meanwhile")


async def _rebuild(side: "ReadSide") -> None:
    from gateway.adapters.state_dir import claim_state_dir

    # a second rebuild takes whoever holds the state directory for the gateway
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    with claim_state_dir(side.state_dir):
        head = await side.log.head()
        cache = await side.empty_cache()
        await side.fold(cache, head, _progress(head))
        if not cache.position:
            cache.advance(0)  # without it, the empty cache of an empty log would not be written
        await cache.flush()
    note(f"the read cache is rebuilt from {head} events")


def _progress(head: int) -> Callable[[int], None]:
    told = time.monotonic()

    def progress(position: int) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_INTERVAL:
            told = time.monotonic()
            note(f"{position} of {head} events")

    return progress
