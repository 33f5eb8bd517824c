"""An index beside a store that has none, here one in memory."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway.adapters.event_index import EventIndex
from gateway.adapters.indexed_store import IndexedOutcomes, IndexedStore
from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.sqlite_reader import SqliteReader
from gateway.errors import StoreUnavailable
from gateway.messages import NewEvent, RecordedEvent
from tests.support.memory_store import MemoryStore
from tests.support.new_events import events_of_command

STREAM = "device-pump-7"
OTHER = "device-pump-8"


class Counting(MemoryStore):
    """Counts how often a stream is read, and may be another log than it was, or not tell which it is."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.log_id: str | None = "a log"

    async def identify(self) -> str:
        if self.log_id is None:
            raise StoreUnavailable("away")
        return self.log_id

    async def read_stream(self, *args: Any, **options: Any) -> Any:
        self.reads += 1
        return await super().read_stream(*args, **options)


@dataclass
class Bench:
    """A gateway's index and outcomes on a store that others write to as well."""

    store: Counting
    database: Database

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all that is not in the database."""
        self.index = EventIndex(self.database, self.store)
        self.indexed = IndexedStore(self.store, self.index)
        self.outcomes = IndexedOutcomes(self.store, self.index, SqliteOutcomes(self.database))

    async def known(self, revision: int, *ids: UUID) -> set[UUID]:
        return set(await self.outcomes.find(STREAM, revision, ids))

    async def followed(self, after: int) -> Sequence[RecordedEvent]:
        """What comes first to whoever follows the log from a position."""
        async with aclosing(self.indexed.subscribe(after=after)) as pages:
            async for page in pages:
                return page
        raise AssertionError

    async def written_up_to(self) -> int:
        """The position up to which the database claims to have every event."""
        return await self.database.reader.call(lambda connection: SqliteReader(connection).index_position())


def command(number: int) -> list[NewEvent]:
    return list(events_of_command(f"c{number}"))


def key(number: int) -> UUID:
    return command(number)[0].id
