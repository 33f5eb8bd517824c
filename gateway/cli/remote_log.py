"""A log in EventStoreDB for the command line, which waits for each answer."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Final, TypeVar

from gateway.adapters.event_index import Place
from gateway.adapters.indexed_store import events_at
from gateway.adapters.sqlite_reader import SqliteReader
from gateway.codec import verdict_of
from gateway.domain.catalogue import Catalogue
from gateway.ids import event_id_range
from gateway.messages import NO_STREAM, RecordedEvent, Verdict
from gateway.ports import EventStore
from gateway.settings import EventStoreSettings
from gateway.storage import open_remote_log

T = TypeVar("T")

_PAGE: Final = 1_000


class RemoteLog:
    """The questions of :class:`~gateway.cli.read_side.Log`, to a store elsewhere and to the gateway's own database."""

    def __init__(self, runner: asyncio.Runner, store: EventStore, own: SqliteReader) -> None:
        self._runner = runner
        self._store = store
        self._own = own

    @property
    def log_id(self) -> str:
        """Identity of the event log."""
        return self._wait(self._store.identify())

    def head(self) -> int:
        """Position of the last event; 0 for an empty log."""
        return self._wait(self._store.head())

    def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = _PAGE) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order; none for an unknown stream."""
        return self._wait(self._store.read_stream(stream, after=after, limit=limit))

    def read_all(self, *, after: int, limit: int = _PAGE) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        return self._wait(self._store.read_all(after=after, limit=limit))

    def find_by_command_id(self, command_id: str) -> list[Verdict]:
        """The verdicts on the commands that carry this id, whoever sent them and for whichever device."""
        verdicts = {verdict.key: verdict for verdict in self._own.find_by_command_id(command_id)}
        low, high = event_id_range(command_id)
        places = dict.fromkeys(Place(*place) for place in self._own.indexed_between(low, high))
        # the index of a running gateway is written now and then
        after = self._own.index_position()
        while page := self.read_all(after=after, limit=_PAGE):
            places |= dict.fromkeys(Place(event.stream, event.revision) for event in page if low <= event.id <= high)
            after = page[-1].position
        for place in places:
            events = self._wait(events_at(self._store, place))
            verdict = verdict_of(events, command_id) if events else None
            if verdict is not None:
                verdicts.setdefault(verdict.key, verdict)
        return sorted(verdicts.values(), key=lambda verdict: verdict.outcome.received_at)

    def _wait(self, answer: Awaitable[T]) -> T:
        async def wait() -> T:
            return await answer

        return self._runner.run(wait())


@contextmanager
def open_log(settings: EventStoreSettings, catalogue: Catalogue, own: SqliteReader) -> Iterator[RemoteLog]:
    """The log at ``event_store.url``.

    Raises:
        SettingsError: the settings cannot be used.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        store, _ = runner.run(stack.enter_async_context(open_remote_log(settings, catalogue)))
        try:
            yield RemoteLog(runner, store, own)
        finally:
            runner.run(stack.aclose())
