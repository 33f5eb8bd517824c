"""The state directory as another process sees it, whether the gateway runs or not. Writes nothing."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from gateway.adapters.sqlite import DATABASE_FILE
from gateway.adapters.sqlite_reader import SqliteReader, open_read_only
from gateway.adapters.tinydb_cache import CACHE_FILE, ReadCache, UnusableCacheError
from gateway.codec import EventCodec
from gateway.custom_projection import CustomProjection
from gateway.domain.catalogue import Catalogue
from gateway.messages import NO_STREAM, Mark, RecordedEvent, Verdict
from gateway.ports import Devices, LogReader, OutcomeSearch
from gateway.projection import Projection
from gateway.settings import load_catalogue, load_projections
from gateway.settings_loader import load_settings

_PAGE: Final = 1_000


class Log(LogReader, OutcomeSearch, Protocol):
    """What can be asked of the log, wherever it is."""


class EmbeddedLog:
    """The log in the gateway's own database; see :class:`Log`."""

    def __init__(self, own: SqliteReader) -> None:
        self._own = own

    async def identify(self) -> str:
        """Identity of the log."""
        return self._own.log_id

    async def head(self) -> int:
        """Position of the last event; 0 for an empty log."""
        return self._own.head()

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = _PAGE) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order; none for an unknown stream."""
        return self._own.read_stream(stream, after=after, limit=limit)

    async def read_all(self, *, after: int, limit: int = _PAGE) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        return self._own.read_all(after=after, limit=limit)

    async def find_by_command_id(
        self, command_id: str, *, of: Devices | None = None, after: UUID | None = None, limit: int = 100
    ) -> tuple[Sequence[Verdict], UUID | None]:
        """The verdicts on the commands that carry this id, for these devices."""
        return self._own.find_by_command_id(command_id, of=of, after=after, limit=limit)

    async def find_by_event_id(self, id: UUID) -> Verdict | None:
        """The verdict on the command that caused this event, or whose key it is."""
        return self._own.find_by_event_id(id)


@dataclass(frozen=True, slots=True)
class ReadSide:
    """The log, and the read caches that can be made of it.

    Attributes:
        gateway: name of the gateway.
        own: its own database.
        custom: the projections that the settings name.
    """

    gateway: str
    own: SqliteReader
    state_dir: Path
    catalogue: Catalogue
    log: Log
    custom: Sequence[CustomProjection] = ()

    async def current_cache(self) -> ReadCache:
        """The read cache as of the newest event: the running gateway writes its file only now and then."""
        try:
            cache = await self.filed_cache()
        except UnusableCacheError:
            cache = await self.empty_cache()
        await self.fold(cache, await self.log.head())
        return cache

    async def filed_cache(self) -> ReadCache:
        """The read cache as its file has it.

        Raises:
            UnusableCacheError: there is none, or it does not belong to this log.
        """
        cache = await self.empty_cache()
        cache.load()
        if cache.log_id != await self.log.identify() or not await self._has(cache):
            raise UnusableCacheError("it belongs to another log")
        if not self._projection(cache).is_as_configured():
            raise UnusableCacheError("it has other projections than the settings name, or other versions")
        return cache

    async def _has(self, cache: ReadCache) -> bool:
        mark = cache.mark
        if mark is None:
            return not cache.position
        found = await self.log.read_stream(mark.stream, after=mark.revision - 1, limit=1)
        return [Mark.of(event) for event in found] == [mark]

    async def empty_cache(self) -> ReadCache:
        """A read cache for this log, with nothing in it yet."""
        return ReadCache(self.state_dir / CACHE_FILE, await self.log.identify())

    async def fold(
        self, cache: ReadCache, until: int, progress: Callable[[int], None] = lambda _position: None
    ) -> None:
        """Fold what the cache lacks into it, up to this position; tell the position after each page."""
        projection, position = self._projection(cache), cache.position
        while position < until and (page := await self.log.read_all(after=position, limit=_PAGE)):
            # nobody looks at the documents meanwhile, so each is written once
            projection.gather([event for event in page if event.position <= until])
            position = page[-1].position
            progress(position)
        projection.settle()

    def _projection(self, cache: ReadCache) -> Projection:
        return Projection(cache, self.catalogue, EventCodec(self.catalogue), custom=self.custom)


@asynccontextmanager
async def open_read_side(config: Path | None) -> AsyncIterator[ReadSide]:
    """The read side that the settings in this file name.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
        StoreUnavailable: the log is elsewhere, and the store is away.
    """
    settings = load_settings(config).settings
    gateway, state_dir = settings.gateway.id, settings.gateway.state_dir
    catalogue, custom = load_catalogue(settings.domain), load_projections(settings.readmodel)
    with open_read_only(state_dir / DATABASE_FILE) as own:
        if not settings.event_store.url:
            yield ReadSide(gateway, own, state_dir, catalogue, EmbeddedLog(own), custom)
            return
        from gateway.cli.remote_log import RemoteLog
        from gateway.storage import open_remote_log

        async with open_remote_log(settings.event_store, catalogue) as (store, _):
            yield ReadSide(gateway, own, state_dir, catalogue, RemoteLog(store, own), custom)
