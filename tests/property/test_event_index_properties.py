"""The index against the log, whatever happens to the two."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.event_index import EventIndex, Place
from gateway.adapters.indexed_store import IndexedStore
from gateway.adapters.sqlite import Database, open_database
from gateway.messages import NO_STREAM, NewEvent
from gateway.ports import EventStore
from tests.support.memory_store import MemoryStore

STREAMS = ("device-p", "device-q")


class Log(MemoryStore):
    """A log that may be lost and begun anew."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    async def identify(self) -> str:
        return f"log {self.number}"


@dataclass
class World:
    """A gateway's index, and a log that others write to as well."""

    database: Database
    log: Log = field(default_factory=lambda: Log(0))
    ids: list[UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.crash()

    def truth(self, stream: str) -> dict[UUID, Place]:
        return {event.id: Place(stream, event.revision) for event in self.log.events if event.stream == stream}

    def crash(self) -> None:
        """What is not in the database is gone."""
        self.index = EventIndex(self.database, self.log)
        self.indexed = IndexedStore(self.log, self.index)

    def replace_log(self) -> None:
        """The gateway comes up with another log, in which the same events stand elsewhere."""
        self.log = Log(self.log.number + 1)
        self.crash()

    async def append(self, stream: str, count: int, store: Callable[["World"], EventStore]) -> None:
        expected = len(self.truth(stream)) - 1
        # ids of a lost log come again, as those of a command that is sent again would
        events = [NewEvent(UUID(int=len(self.log.events) + n + 1), "Counted", b"{}", b"{}") for n in range(count)]
        self.ids += [event.id for event in events]
        await store(self).append(stream, expected, events)

    async def read(self, stream: str, after: int, limit: int) -> None:
        await self.indexed.read_stream(stream, after=after, limit=limit)

    async def follow(self, after: int) -> None:
        after = min(after, len(self.log.events) - 1)
        if after >= 0:
            async with aclosing(self.indexed.subscribe(after=after)) as pages:
                async for page in pages:
                    assert page[0].position == after + 1
                    break

    async def check(self, streams: Sequence[str]) -> None:
        """Of these streams the index knows everything; of the others it knows nothing that is not so."""
        for stream in streams:
            await self.index.cover(stream, len(self.truth(stream)) - 1)
        located = await self.index.locate(self.ids)
        truth = {id: place for stream in STREAMS for id, place in self.truth(stream).items()}
        assert located.items() <= truth.items()
        assert {id for id, place in truth.items() if place.stream in streams} <= located.keys()

    async def flush(self) -> None:
        await self.index.flush()

    async def check_database(self) -> None:
        """The events up to the position that the database claims are all in it."""
        await self.flush()
        reached = await self.database.reader.call(
            lambda connection: connection.execute("SELECT value FROM identity WHERE name = 'index_position'").fetchone()
        )
        written = await self.database.reader.call(
            lambda connection: connection.execute("SELECT event_id FROM event_index").fetchall()
        )
        claimed = self.log.events[: reached[0] if reached else 0]
        assert {event.id for event in claimed} <= {UUID(bytes=id) for (id,) in written}


Step = Callable[[World], object]
stream = st.sampled_from(STREAMS)
count = st.integers(1, 4)
revision = st.integers(NO_STREAM, 6)

steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda s, n: partial(World.append, stream=s, count=n, store=lambda world: world.indexed), stream, count),
    st.builds(lambda s, n: partial(World.append, stream=s, count=n, store=lambda world: world.log), stream, count),
    st.builds(lambda s, a, n: partial(World.read, stream=s, after=a, limit=n), stream, revision, count),
    st.builds(lambda a: partial(World.follow, after=a), st.integers(0, 8)),
    st.builds(lambda s: partial(World.check, streams=[s]), stream),
    st.sampled_from([World.crash, World.replace_log, World.flush, lambda world: world.index.forget_all()]),
    st.just(World.flush),
)


async def run(path: Path, history: Sequence[Step]) -> None:
    async with open_database(path) as database:
        world = World(database)
        for step in history:
            done = step(world)
            if asyncio.iscoroutine(done):
                await done
        await world.check(STREAMS)
        await world.check_database()


@settings(max_examples=100)
@given(history=st.lists(steps, max_size=20))
def test_the_index_never_lacks_or_invents_an_event_of_a_stream_that_it_covers(history: list[Step]) -> None:
    with TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory) / "gateway.db", history))
