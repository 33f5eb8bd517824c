"""The event log: the truth of it, and the two ways in which a gateway reaches it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from gateway.codec import follows, outcome_of
from gateway.errors import StoreUnavailable, WrongExpectedRevision
from gateway.messages import NO_STREAM, Appended, NewEvent, Outcome, RecordedEvent, Verdict
from tests.simulation.disk import Database, DiskVerdicts, Process
from tests.simulation.faults import LATEST
from tests.simulation.world import World, fail, resolve, settle

R = TypeVar("R")

PAGE = 500
DEADLINE = 5.0
INDEX_LAG = timedelta(seconds=1)
"""What a gateway had heard of so shortly before its end, the next one may not know."""

LOG_ID = "the-log"


class Log:
    """What has happened, once and for all."""

    def __init__(self, world: World) -> None:
        self.events: list[RecordedEvent] = []
        self.streams: defaultdict[str, list[RecordedEvent]] = defaultdict(list)
        self.by_id: dict[UUID, RecordedEvent] = {}
        self.grown = asyncio.Event()
        self._world = world

    def append(self, stream: str, expected: int, events: Sequence[NewEvent], by: str) -> Appended:
        there = self.streams[stream]
        again = there[expected + 1 : expected + 1 + len(events)]
        if again and [event.id for event in again] == [event.id for event in events]:
            if [event.metadata for event in again] != [event.metadata for event in events]:
                # the same command, appended by somebody else: what is answered must be what stands there
                raise WrongExpectedRevision(stream, expected, len(there) - 1)
            return Appended(tuple(event.position for event in again), again[-1].recorded_at)
        if expected != len(there) - 1:
            raise WrongExpectedRevision(stream, expected, len(there) - 1)
        now = self._world.now()
        for event in events:
            place = (len(self.events) + 1, stream, len(there), now)
            recorded = RecordedEvent(*place, event.id, event.type, event.data, event.metadata)
            self.events.append(recorded)
            there.append(recorded)
            self.by_id[event.id] = recorded
            self._world.tell("log", by, recorded.position, stream, recorded.revision, event.type, _short(event.id))
        self.grown.set()
        self.grown = asyncio.Event()
        return Appended(tuple(event.position for event in there[-len(events) :]), now)

    def outcome(self, key: UUID) -> Outcome | None:
        """Of the command whose first event has this id."""
        first = self.by_id.get(key)
        if first is None:
            return None
        caused = [first]
        for event in self.streams[first.stream][first.revision + 1 :]:
            if not follows(event, caused):
                break
            caused.append(event)
        return outcome_of(caused)


class Access:
    """How a gateway reaches the log; see :class:`~gateway.ports.EventStore`. Subclasses say how a call goes.

    Attributes:
        heard: ids of the events that have passed here: what an index beside a remote log knows without asking.
    """

    def __init__(self, world: World, log: Log, process: Process) -> None:
        self.log = log
        self._world = world
        self._process = process
        now = world.now()
        self.heard = {e.id for e in log.events if now - e.recorded_at > INDEX_LAG or world.chance(0.5)}

    def call(self, effect: Callable[[], R], *, writes: bool = False) -> "asyncio.Future[R]":
        raise NotImplementedError

    @property
    def newest(self) -> int:
        return len(self.log.events)

    async def identify(self) -> str:
        return LOG_ID

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        by = f"gateway {self._process.number}"
        appended = await self.call(lambda: self.log.append(stream, expected, events, by), writes=True)
        self.heard.update(event.id for event in events)
        return appended

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        return self._hear(await self.call(lambda: self.log.streams[stream][after + 1 : after + 1 + limit]))

    async def read_all(self, *, after: int, limit: int = 1_000) -> Sequence[RecordedEvent]:
        return self._hear(await self.call(lambda: self.log.events[after : after + limit]))

    async def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        while True:
            grown = self.log.grown
            if page := await self.read_all(after=after, limit=PAGE):
                yield page
                after = page[-1].position
            else:
                await grown.wait()

    async def head(self) -> int:
        return await self.call(lambda: len(self.log.events))

    def _hear(self, events: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        self.heard.update(event.id for event in events)
        return events


class EmbeddedLog(Access):
    """In the gateway's own database."""

    def __init__(self, world: World, log: Log, process: Process, database: Database) -> None:
        super().__init__(world, log, process)
        self._database = database

    def call(self, effect: Callable[[], R], *, writes: bool = False) -> "asyncio.Future[R]":
        return self._database.write(effect) if writes else self._database.read(effect)

    async def append_new(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        by = f"gateway {self._process.number}"

        def effect() -> Appended:
            if any(event.id in self.log.by_id or event.id in self._database.disk.outcomes for event in events):
                raise WrongExpectedRevision(stream, expected, len(self.log.streams[stream]) - 1)
            return self.log.append(stream, expected, events, by)

        return await self.call(effect, writes=True)


class RemoteLog(Access):
    """On a server, over a network: what was sent may arrive late, and answers may never."""

    def call(self, effect: Callable[[], R], *, writes: bool = False) -> "asyncio.Future[R]":
        world, dice, future = self._world, self._world.dice, self._world.loop.create_future()
        later = world.loop.call_later
        weather = world.weather
        if weather.store == "refusing":
            later(dice.uniform(0.001, 0.05), fail, future, StoreUnavailable("the store refuses"))
        elif (
            weather.store == "silent"
            or world.chance(weather.store_loss)
            or (writes and world.chance(weather.write_loss))
        ):
            fate = "lost" if not writes else dice.choice(("lost", "done", "late", "late"))
            if writes:
                world.tell("store", f"call of gateway {self._process.number} without an answer", fate)
            if fate != "lost":
                nobody = world.loop.create_future()
                later(dice.uniform(0.001, 0.05 if fate == "done" else LATEST), settle, nobody, effect)
                nobody.add_done_callback(_seen)
            heard = DEADLINE if weather.store == "silent" or world.chance(0.3) else dice.uniform(0.01, 1)
            later(heard, fail, future, StoreUnavailable("no answer of the store"))
        else:
            there = dice.uniform(0.001, 0.05 if world.chance(0.9) else 0.5)
            later(there, self._serve, effect, future)
        return future

    def _serve(self, effect: Callable[[], R], future: "asyncio.Future[R]") -> None:
        world = self._world
        done: asyncio.Future[R] = world.loop.create_future()
        settle(done, effect)
        error = done.exception()
        back = world.dice.uniform(0.001, 0.03)
        if error is None:
            world.loop.call_later(back, resolve, future, done.result())
        else:
            world.loop.call_later(back, fail, future, error)


class Memory:
    """The memory of outcomes; see :class:`~gateway.ports.Outcomes`."""

    def __init__(self, world: World, access: Access, verdicts: DiskVerdicts) -> None:
        self._world = world
        self._access = access
        self._verdicts = verdicts

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        return {
            **await self._verdicts.find(keys),
            **await self._access.call(lambda: self._in_log(stream, revision, keys)),
        }

    async def remember(self, verdicts: Sequence[Verdict]) -> None:
        await self._verdicts.remember(verdicts)

    async def prune(self, before: datetime) -> int:
        return await self._verdicts.prune(before)

    def _in_log(self, stream: str, revision: int, keys: Sequence[UUID]) -> dict[UUID, Outcome]:
        found: dict[UUID, Outcome] = {}
        for key in keys:
            outcome = self._access.log.outcome(key)
            if outcome is not None and self._is_indexed(self._access.log.by_id[key], stream, revision):
                found[key] = outcome
        return found

    def _is_indexed(self, first: RecordedEvent, stream: str, revision: int) -> bool:
        asked_for = first.stream == stream and first.revision <= revision
        return self._world.limits.embedded or asked_for or first.id in self._access.heard


def _seen(future: "asyncio.Future[object]") -> None:
    future.exception()


def _short(key: UUID) -> str:
    return key.hex[-6:]
