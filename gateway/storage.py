"""Where the events live: the event store that the settings name, and the memory of outcomes that goes with it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.adapters.esdb_options import EsdbOptions
from gateway.adapters.event_index import EventIndex
from gateway.adapters.indexed_store import IndexedOutcomes, IndexedStore
from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.domain.catalogue import Catalogue
from gateway.errors import SettingsError
from gateway.ports import AppendNew, EventStore, SearchableOutcomes
from gateway.settings import EventStoreSettings

if TYPE_CHECKING:
    from gateway.adapters.esdb_follower import EsdbFollower
    from gateway.adapters.eventstoredb import EventStoreDBLog

INDEX_FLUSH_INTERVAL: Final = 1.0

LATE: Final = 120.0
"""Seconds; longer than Linux delivers what a killed process has written to a connection that is stuck."""


@dataclass(frozen=True, slots=True)
class Storage:
    """An event store with all that belongs to it.

    Attributes:
        figures: what health tells of it.
        append_new: see :class:`~gateway.ports.AppendNew`; ``None`` where verdicts are not kept with the log.
        late: seconds from a start after a crash in which an append of the gateway that ran before may still land.
        work: what has to run as long as the store is in use, by name.
    """

    store: EventStore
    outcomes: SearchableOutcomes
    figures: Callable[[], dict[str, Any]]
    append_new: AppendNew | None = None
    late: float = 0.0
    work: Mapping[str, Coroutine[Any, Any, None]] = field(default_factory=dict)


@asynccontextmanager
async def open_storage(
    settings: EventStoreSettings, database: Database, catalogue: Catalogue
) -> AsyncIterator[Storage]:
    """The embedded store, or the one at ``event_store.url``, which may be away.

    Raises:
        SettingsError: the settings cannot be used.
    """
    if not settings.url:
        embedded = SqliteLog(database)
        yield Storage(embedded, SqliteOutcomes(database), lambda: {"kind": "embedded"}, embedded.append_new)
        return
    async with open_remote_log(settings, catalogue) as (log, follower):
        index = EventIndex(database, log)
        yield Storage(
            IndexedStore(log, index),
            IndexedOutcomes(log, index, SqliteOutcomes(database)),
            lambda: {"kind": "eventstoredb", "following": follower.connected},
            late=LATE,
            work={"store follower": follower.run(), "event index": index.keep_flushed(INDEX_FLUSH_INTERVAL)},
        )


def open_remote_log(
    settings: EventStoreSettings, catalogue: Catalogue
) -> "AbstractAsyncContextManager[tuple[EventStoreDBLog, EsdbFollower]]":
    """The log at ``event_store.url``, which may be away, and what follows it, which the caller runs.

    Raises:
        SettingsError: the settings cannot be used, or there is no client library.
    """
    # here, because it takes long, and who keeps his events in the file need not have it
    try:
        from gateway.adapters.eventstoredb import open_eventstoredb
    except ImportError as error:
        raise SettingsError(f"event_store.url: {error}") from error

    return open_eventstoredb(remote_options(settings, catalogue))


def remote_options(settings: EventStoreSettings, catalogue: Catalogue) -> EsdbOptions:
    """How the store at ``event_store.url`` is reached."""
    return EsdbOptions(
        url=settings.url,
        categories=tuple(decider.category for decider in catalogue),
        prefix=settings.prefix,
        username=settings.username,
        password=settings.password.get_secret_value(),
        ca_file=Path(settings.ca_file) if settings.ca_file else None,
        deadline=settings.deadline,
        in_flight=settings.in_flight,
        keepalive=settings.keepalive,
    )
