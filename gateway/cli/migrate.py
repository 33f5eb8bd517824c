"""``edge-gateway migrate``: copy the log from one event store to another."""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config
from gateway.cli.output import note

if TYPE_CHECKING:
    from gateway.ports import ImportingStore
    from gateway.settings import Settings

SUMMARY: Final = "copy the log from one event store to another, and compare the two"

EMBEDDED: Final = "embedded"
PROGRESS_INTERVAL: Final = 1.0


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.epilog = (
        "STORE is 'embedded' or a URL such as esdb://store.example:2113; prefix, user and password are those of the "
        "settings. Stop the gateway first. What is interrupted goes on where it stopped when it is started again."
    )
    parser.add_argument("--from", dest="source", required=True, metavar="STORE", help="where the log is")
    parser.add_argument("--to", dest="target", required=True, metavar="STORE", help="where it shall be")
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Copy, then compare.

    Raises:
        SettingsError: the settings cannot be used, or a store is not one.
        StateError: the state directory cannot be used, or the gateway runs.
        StoreUnavailable: a store is away.
        MigrationError: the target holds something else, or the copy differs.
    """
    import asyncio

    from gateway.adapters.state_dir import claim_state_dir
    from gateway.errors import SettingsError
    from gateway.settings_loader import load_settings

    if options.source == options.target:
        raise SettingsError("--from and --to are the same store")
    settings = load_settings(options.config).settings
    with claim_state_dir(settings.gateway.state_dir):
        asyncio.run(_migrate(settings, options.source, options.target))
    return Exit.OK


async def _migrate(settings: "Settings", source: str, target: str) -> None:
    from gateway.migration import compare_logs, copy_log

    async with _open(settings, source) as original, _open(settings, target) as copy:
        copied = await copy_log(original, copy, _progress("copied"))
        note(f"{copied} events copied; comparing")
        compared = await compare_logs(original, copy, _progress("compared"))
    note(f"{compared} events are the same in {source} and in {target}")
    note(f"now set event_store.url = {'' if target == EMBEDDED else target!r} and start the gateway".replace("'", '"'))


@asynccontextmanager
async def _open(settings: "Settings", store: str) -> "AsyncIterator[ImportingStore]":
    from gateway.adapters.sqlite import DATABASE_FILE, open_database
    from gateway.adapters.sqlite_log import SqliteLog
    from gateway.settings import load_catalogue
    from gateway.storage import open_remote_log

    if store == EMBEDDED:
        async with open_database(settings.gateway.state_dir / DATABASE_FILE) as database:
            yield SqliteLog(database)
    else:
        async with open_remote_log(settings.event_store.at(store), load_catalogue(settings.domain)) as (log, _):
            yield log


def _progress(done: str) -> Callable[[int], None]:
    told = time.monotonic()

    def progress(count: int) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_INTERVAL:
            told = time.monotonic()
            note(f"{count} events {done}")

    return progress
