"""The event store: there, readable, writable, and quick to answer."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.adapters.sqlite import DATABASE_FILE
from gateway.adapters.sqlite_reader import open_read_only
from gateway.doctor.findings import Finding, failed, fine, skipped
from gateway.errors import SettingsError, StateError, StoreUnavailable
from gateway.settings import EventStoreSettings, Settings, load_catalogue

_CATEGORY: Final = "doctor"
_TO_WRITE: Final = "chown it to the gateway's user, and look whether the disk is mounted read-only"


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
            yield from _open_for_writing(database)
    else:
        yield skipped(f"{database} does not exist yet: the first start makes it")
    if settings.event_store.url:
        yield from _ask(settings.event_store, settings)


def _open_for_writing(database: Path) -> Iterator[Finding]:
    """As far as it goes beside a gateway: two that write could damage the file, so no transaction is begun."""
    for file in sorted(database.parent.glob(f"{database.name}*")):
        try:
            # of what SQLite keeps beside it as well; not a byte is changed
            file.open("r+b").close()
        except OSError as error:
            yield failed(f"{file} cannot be written: {error.strerror}", _TO_WRITE)
            return
    yield fine(f"{database} can be opened for writing; the disk check has written beside it")


def _ask(store: EventStoreSettings, settings: Settings) -> Iterator[Finding]:
    began = time.perf_counter()
    try:
        head = asyncio.run(_head(settings))
    except SettingsError as error:
        yield failed(str(error), "correct [event_store]; edge-gateway check-config tells more")
        return
    except StoreUnavailable as error:
        yield failed(f"{store.url} does not answer: {error}", "commands are parked meanwhile: start it, or the network")
        return
    taken = (time.perf_counter() - began) * 1_000
    yield fine(f"{store.url} answered in {taken:.0f} ms, its log ends at position {head}")
    yield _write(store, settings)


async def _head(settings: Settings) -> int:
    from gateway.storage import open_remote_log

    async with open_remote_log(settings.event_store, load_catalogue(settings.domain)) as (log, _):
        return await log.head()


def _write(store: EventStoreSettings, settings: Settings) -> Finding:
    """One event into a stream of the doctor's own, beside the log: the store keeps the last one only."""
    from gateway.adapters.esdb_trial import try_write
    from gateway.storage import remote_options

    catalogue = load_catalogue(settings.domain)
    if any(decider.category == _CATEGORY for decider in catalogue):
        return skipped(f"no write was tried: the log itself has streams of the category {_CATEGORY}")
    began = time.perf_counter()
    try:
        asyncio.run(try_write(remote_options(store, catalogue), f"{_CATEGORY}-{settings.gateway.id}"))
    except (StoreUnavailable, ValueError) as error:
        return failed(
            f"{store.url} takes no write: {error}",
            "let the gateway's user write; look for a read-only node, a full disk",
        )
    taken = (time.perf_counter() - began) * 1_000
    return fine(f"{store.url} took an event beside the log and gave it back, in {taken:.0f} ms")
