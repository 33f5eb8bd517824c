"""The event store: there, readable, and quick to answer."""

import asyncio
import time
from collections.abc import Iterator

from gateway.adapters.sqlite import DATABASE_FILE
from gateway.adapters.sqlite_reader import open_read_only
from gateway.doctor.findings import Finding, failed, fine, skipped
from gateway.errors import SettingsError, StateError, StoreUnavailable
from gateway.settings import EventStoreSettings, Settings, load_catalogue


def check_event_store(settings: Settings) -> Iterator[Finding]:
    """The file, and the store elsewhere where the settings name one."""
    database = settings.gateway.state_dir / DATABASE_FILE
    if database.exists():
        try:
            with open_read_only(database) as log:
                yield fine(f"{database} can be read, {database.stat().st_size / 2**20:,.1f} MiB, {log.head()} events")
        except StateError as error:
            yield failed(str(error), "run the doctor as the gateway's user; else start the gateway, it says what to do")
    else:
        yield skipped(f"{database} does not exist yet: the first start makes it")
    if settings.event_store.url:
        yield _ask(settings.event_store, settings)


def _ask(store: EventStoreSettings, settings: Settings) -> Finding:
    began = time.perf_counter()
    try:
        head = asyncio.run(_head(settings))
    except SettingsError as error:
        return failed(str(error), "correct [event_store]; edge-gateway check-config tells more")
    except StoreUnavailable as error:
        return failed(
            f"{store.url} does not answer: {error}", "commands are parked meanwhile: start it, or the network"
        )
    taken = (time.perf_counter() - began) * 1_000
    return fine(f"{store.url} answered in {taken:.0f} ms, its log ends at position {head}; no write was tried")


async def _head(settings: Settings) -> int:
    from gateway.storage import open_remote_log

    async with open_remote_log(settings.event_store, load_catalogue(settings.domain)) as (log, _):
        return await log.head()
