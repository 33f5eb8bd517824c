"""The state directory as another process sees it, whether the gateway runs or not. Writes nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.adapters.sqlite import DATABASE_FILE
from gateway.adapters.sqlite_reader import SqliteReader, open_read_only
from gateway.adapters.tinydb_cache import CACHE_FILE, ReadCache, UnusableCacheError
from gateway.cli.options import catalogue_of
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.projection import Projection
from gateway.settings_loader import load_settings

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class ReadSide:
    """The log, and the read caches that can be made of it."""

    state_dir: Path
    catalogue: Catalogue
    log: SqliteReader

    def current_cache(self) -> ReadCache:
        """The read cache as of the newest event: the running gateway writes its file only now and then."""
        try:
            cache = self.filed_cache()
        except UnusableCacheError:
            cache = self.empty_cache()
        self.fold(cache, self.log.head())
        return cache

    def filed_cache(self) -> ReadCache:
        """The read cache as its file has it.

        Raises:
            UnusableCacheError: there is none, or it does not belong to this log.
        """
        cache = self.empty_cache()
        cache.load()
        if cache.log_id != self.log.log_id or cache.position > self.log.head():
            raise UnusableCacheError("it belongs to another log")
        return cache

    def empty_cache(self) -> ReadCache:
        """A read cache for this log, with nothing in it yet."""
        return ReadCache(self.state_dir / CACHE_FILE, self.log.log_id)

    def fold(self, cache: ReadCache, until: int, progress: Callable[[int], None] = lambda _position: None) -> None:
        """Fold what the cache lacks into it, up to this position; tell the position after each page."""
        projection = Projection(cache, self.catalogue, EventCodec(self.catalogue))
        # positions have no gaps, so the last page ends where it should
        while page := self.log.read_all(after=cache.position, limit=min(_PAGE, until - cache.position)):
            projection.apply(page)
            progress(cache.position)


@contextmanager
def open_read_side(config: Path | None) -> Iterator[ReadSide]:
    """The read side that the settings in this file name.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
    """
    settings = load_settings(config).settings
    state_dir = settings.gateway.state_dir
    with open_read_only(state_dir / DATABASE_FILE) as log:
        yield ReadSide(state_dir, catalogue_of(settings), log)
