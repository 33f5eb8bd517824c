"""The read cache as another process sees it: its file, brought up to date from the log. Writes nothing."""

from collections.abc import Callable
from typing import Final

from gateway.adapters.sqlite_reader import SqliteReader
from gateway.adapters.tinydb_cache import CACHE_FILE, ReadCache, UnusableCacheError
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.projection import Projection
from gateway.settings import Settings

_PAGE: Final = 1_000


def cache_as_filed(settings: Settings, log: SqliteReader) -> ReadCache:
    """The read cache as its file has it.

    Raises:
        UnusableCacheError: there is none, or it does not belong to this log.
    """
    cache = empty_cache(settings, log)
    cache.load()
    if cache.position > (head := log.head()):
        raise UnusableCacheError(f"it is at position {cache.position}, but the log ends at {head}")
    return cache


def current_cache(settings: Settings, catalogue: Catalogue, log: SqliteReader) -> ReadCache:
    """The read cache as of the newest event: the running gateway writes its file only now and then."""
    try:
        cache = cache_as_filed(settings, log)
    except UnusableCacheError:
        cache = empty_cache(settings, log)
    fold(log, cache, catalogue, until=log.head())
    return cache


def empty_cache(settings: Settings, log: SqliteReader) -> ReadCache:
    """A read cache for this log, with nothing in it yet."""
    return ReadCache(settings.gateway.state_dir / CACHE_FILE, log.log_id)


def fold(
    log: SqliteReader,
    cache: ReadCache,
    catalogue: Catalogue,
    *,
    until: int,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Fold what the cache lacks into it, up to and with the position ``until``; tell the position after each page."""
    projection = Projection(cache, catalogue, EventCodec(catalogue))
    # positions have no gaps, so the last page ends where it should
    while page := log.read_all(after=cache.position, limit=min(_PAGE, until - cache.position)):
        projection.apply(page)
        progress(cache.position)
