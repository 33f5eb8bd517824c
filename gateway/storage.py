"""Where the events live: the event store that the settings name, and the memory of outcomes that goes with it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.domain.catalogue import Catalogue
from gateway.ports import EventStore, Outcomes
from gateway.settings import EventStoreSettings


@dataclass(frozen=True, slots=True)
class Storage:
    """An event store with all that belongs to it.

    Attributes:
        work: what has to run as long as the store is in use, by name.
        figures: what health tells of it.
    """

    store: EventStore
    outcomes: Outcomes
    figures: Callable[[], dict[str, Any]]
    work: Mapping[str, Coroutine[Any, Any, None]] = field(default_factory=dict)


@asynccontextmanager
async def open_storage(
    settings: EventStoreSettings, database: Database, catalogue: Catalogue
) -> AsyncIterator[Storage]:
    """The embedded store, or the one at ``event_store.url``, which may be away."""
    if settings.url:
        async with open_eventstoredb(settings, database, catalogue) as storage:
            yield storage
    else:
        yield Storage(SqliteLog(database), SqliteOutcomes(database), lambda: {"kind": "embedded"})


@asynccontextmanager
async def open_eventstoredb(
    settings: EventStoreSettings, database: Database, catalogue: Catalogue
) -> AsyncIterator[Storage]:
    """The store at ``event_store.url``."""
    raise NotImplementedError(settings, database, catalogue)
    yield
