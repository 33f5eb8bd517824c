"""EventStoreDB as the event store."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final
from uuid import uuid4

import orjson

from gateway.adapters import esdb_client
from gateway.adapters.esdb_connection import EsdbConnection
from gateway.adapters.esdb_follower import EsdbFollower
from gateway.adapters.esdb_options import EsdbOptions
from gateway.adapters.esdb_records import StreamNames, from_store, to_store
from gateway.adapters.page_size import PageSize
from gateway.adapters.recent_events import DEFAULT_LIMITS, RecentEvents
from gateway.errors import NoSuchPosition, StoreUnavailable, WrongExpectedRevision
from gateway.messages import NO_STREAM, Appended, NewEvent, RecordedEvent

IDENTITY: Final = "log-identity"
_PAGE: Final = 1_000
"""The most events of a stream that one call asks for."""

_REMEMBERED_HEADS: Final = 16_384

_NO_POSITION: Final = ("ReadAllResult: InvalidPosition", "ReadAllResult: Error")
"""How servers from 24 on, and before, refuse to read from a place where no record begins."""

_SEEN_WITHIN: Final = 0.1
"""Seconds in which the follower is expected to show what was just written; else it is read."""


class EventStoreDBLog:
    """An event store in EventStoreDB or KurrentDB; see :class:`~gateway.ports.EventStore`.

    The store compares ids only with those at the place of an append. So every append names its exact revision, and
    whoever appends looks first whether a command has left events elsewhere: :mod:`gateway.adapters.event_index`.
    """

    def __init__(self, connection: EsdbConnection, names: StreamNames, recent: RecentEvents) -> None:
        """Read and write over one connection; ``recent`` is what a follower puts the newest events into."""
        self._connection = connection
        self._names = names
        self._recent = recent
        self._page = PageSize(_PAGE)
        self._log_id: str | None = None
        self._written = 0
        # the last revision of streams, as far as seen: an append behind it is no repetition
        self._heads: OrderedDict[str, int] = OrderedDict()

    @property
    def newest(self) -> int:
        """The highest position that the subscription has told, or the answer to an append, which may be ahead of it."""
        return max(self._recent.head, self._written)

    async def identify(self) -> str:
        """Identity of this log: what the first gateway that came wrote into a stream of its own.

        Raises:
            StoreUnavailable: the store is away.
        """
        if self._log_id is None:
            found = await self.read_stream(IDENTITY, limit=1)
            if not found:
                name = orjson.dumps({"log_id": uuid4().hex})
                created = [NewEvent(uuid4(), "LogCreated", name, b"{}")]
                # somebody else may be first
                with suppress(WrongExpectedRevision):
                    await self._append(IDENTITY, NO_STREAM, created, [datetime.now(UTC)])
                found = await self.read_stream(IDENTITY, limit=1)
            if not found:
                raise StoreUnavailable("the log does not tell its identity yet")
            self._log_id = str(orjson.loads(found[0].data)["log_id"])
        return self._log_id

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        """Write all the events, or none, behind the revision ``expected``.

        Raises:
            WrongExpectedRevision: the stream is elsewhere: nothing was written.
            StoreUnavailable: whether it was written is unknown; the same call again finds out.
            ValueError: there are no events, they are too large, or their metadata are no objects.
        """
        now = datetime.now(UTC)
        appended = await self._append(stream, expected, events, [now] * len(events))
        self._written = max(self._written, appended.positions[-1])
        return appended

    async def append_recorded(self, stream: str, expected: int, events: Sequence[RecordedEvent]) -> None:
        """Write events of another log as :meth:`append` does, but with the times that they have."""
        new = [NewEvent(event.id, event.type, event.data, event.metadata) for event in events]
        await self._append(stream, expected, new, [event.recorded_at for event in events])

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order; none for an unknown stream.

        Raises:
            StoreUnavailable: the store is away.
        """
        try:
            with self._page.tried():
                found = await self._read_pieces(stream, after, limit, self._page.now)
        except (esdb_client.NotFound, esdb_client.StreamIsDeleted):
            self._remember(stream, NO_STREAM)
            return ()
        events = [from_store(event, self._names) for event in found]
        if any(one.revision + 1 != next_one.revision for one, next_one in pairwise(events)):
            raise StoreUnavailable(f"{stream} was read with a gap")
        if len(events) < limit:
            self._remember(stream, events[-1].revision if events else after)
        return events

    async def _read_pieces(self, stream: str, after: int, limit: int, most: int) -> Sequence[Any]:
        """As many calls as it takes; all of one size, as one that fails makes all of them vain."""
        found: list[Any] = []
        while len(found) < limit:
            size = min(most, limit - len(found))
            piece = await self._read_piece(stream, after + 1 + len(found), size)
            found += piece
            if len(piece) < size:
                break
        return found

    async def _read_piece(self, stream: str, begin: int, size: int) -> Sequence[Any]:
        async def read(client: Any) -> Sequence[Any]:  # noqa: ANN401 - the client has no common type
            found: Sequence[Any] = await client.get_stream(
                self._names.in_store(stream), stream_position=begin, limit=size, timeout=self._connection.deadline
            )
            return found

        return await self._connection.read(read)

    async def read_all(self, *, after: int, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order.

        Raises:
            NoSuchPosition: the store has told no such position.
            StoreUnavailable: the store is away.
        """

        async def read(client: Any) -> list[Any]:  # noqa: ANN401 - the client has no common type
            # what stands at the position itself comes, too
            response = await client.read_all(
                commit_position=after or None,
                filter_include=self._names.pattern,
                filter_by_stream_name=True,
                limit=limit + 1,
                timeout=self._connection.deadline,
            )
            async with response:
                return [event async for event in response]

        try:
            found = await self._connection.read(read)
        except StoreUnavailable as error:
            if after and any(text in str(error) for text in _NO_POSITION):
                raise NoSuchPosition(f"no event stands at position {after}") from error
            raise
        ours = [event for event in found if event.commit_position > after and self._names.is_ours(event.stream_name)]
        return [from_store(event, self._names) for event in ours[:limit]]

    async def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        """Every event with a position over ``after``, in order, without gap or repeat, for ever.

        Raises:
            StoreUnavailable: the store is away, and what is wanted is not in memory.
        """
        async with aclosing(self._recent.follow(after, self.read_all)) as pages:
            async for page in pages:
                yield page

    async def head(self) -> int:
        """Position of the last event; 0 for an empty log.

        Raises:
            StoreUnavailable: the store is away.
        """

        async def ask(client: Any) -> int:  # noqa: ANN401 - the client has no common type
            position: int = await client.get_commit_position(
                filter_include=self._names.pattern, filter_by_stream_name=True, timeout=self._connection.deadline
            )
            return position

        return await self._connection.read(ask)

    async def _append(
        self, stream: str, expected: int, events: Sequence[NewEvent], times: Sequence[datetime]
    ) -> Appended:
        if not events:
            raise ValueError("an append needs at least one event")
        # a list: it may be tried again, and an iterator would then be at its end
        records = [to_store(event, at) for event, at in zip(events, times, strict=True)]
        revision = expected if expected != NO_STREAM else esdb_client.StreamState.NO_STREAM
        name = self._names.in_store(stream)

        is_new = self._heads.pop(stream, None) == expected
        try:
            position = await self._connection.append(name, revision, records)
        except esdb_client.WrongCurrentVersion:
            return await self._conflict(stream, expected, events)
        except esdb_client.StreamIsDeleted as error:
            raise ValueError(f"{name} is deleted for good") from error
        if is_new and len(events) == 1 and position:
            self._remember(stream, expected + 1)
            return Appended((position,), times[0])
        # the client tells the last position only, and the time not at all where these events stood there before
        if is_new and (seen := await self._seen(stream, expected, events, position)) is not None:
            return seen
        found = await self._found_at(stream, expected, events)
        if found is None:
            raise StoreUnavailable(f"{stream} was written, but does not show it yet")
        return found

    async def _conflict(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        found = await self._found_at(stream, expected, events)
        if found is not None:
            return found
        last = await self._connection.read(lambda client: self._last_revision(client, stream))
        raise WrongExpectedRevision(stream, expected, last)

    async def _last_revision(self, client: Any, stream: str) -> int:  # noqa: ANN401 - the client has no common type
        try:
            version = await client.get_current_version(self._names.in_store(stream), timeout=self._connection.deadline)
        except esdb_client.StreamIsDeleted:
            return NO_STREAM
        return NO_STREAM if version is esdb_client.StreamState.NO_STREAM else int(version)

    async def _found_at(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended | None:
        """The answer to an append, from the events as they stand; ``None`` if others stand there.

        Raises:
            WrongExpectedRevision: the same command was appended by somebody else, such as this gateway before it was
                killed, whose append came late: what is answered must be what stands there.
        """
        stand = await self.read_stream(stream, after=expected, limit=len(events))
        if [event.id for event in stand] != [event.id for event in events]:
            return None
        if [event.metadata for event in stand] != [event.metadata for event in events]:
            raise WrongExpectedRevision(stream, expected, stand[-1].revision)
        return _as_appended(stand)

    async def _seen(self, stream: str, expected: int, events: Sequence[NewEvent], position: int) -> Appended | None:
        """The answer to an append that ends at this position, from what is followed; ``None`` if it does not show it.

        Reading the events would cost as much as writing them, and they are on their way all the same.
        """
        seen = await self._recent.up_to(position, len(events), _SEEN_WITHIN)
        places = [(stream, expected + number, event.id, event.metadata) for number, event in enumerate(events, 1)]
        if [(event.stream, event.revision, event.id, event.metadata) for event in seen] != places:
            return None
        self._remember(stream, seen[-1].revision)
        return _as_appended(seen)

    def _remember(self, stream: str, revision: int) -> None:
        self._heads[stream] = revision
        self._heads.move_to_end(stream)
        if len(self._heads) > _REMEMBERED_HEADS:
            self._heads.popitem(last=False)


def _as_appended(events: Sequence[RecordedEvent]) -> Appended:
    return Appended(tuple(event.position for event in events), events[-1].recorded_at)


@asynccontextmanager
async def open_eventstoredb(options: EsdbOptions) -> AsyncIterator[tuple[EventStoreDBLog, EsdbFollower]]:
    """The log in an EventStoreDB, which may be away, and what follows it, which the caller runs.

    Raises:
        SettingsError: the client library does not take the URL, or the CA file cannot be read.
    """
    names = StreamNames(options.prefix, options.categories)
    recent = RecentEvents(0, DEFAULT_LIMITS)
    # a client ends its subscriptions whenever it connects anew for a call that failed: they have one of their own
    writing, following = EsdbConnection(options), EsdbConnection(options)
    try:
        yield EventStoreDBLog(writing, names, recent), EsdbFollower(following, names, recent, options.silence)
    finally:
        await following.close()
        await writing.close()
