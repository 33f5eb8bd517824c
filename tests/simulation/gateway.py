"""The gateway, put together as the composition root does it, from what is durable and models of all that is outside."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from gateway.access import Access, OperatorRule
from gateway.adapters.event_index import EventIndex
from gateway.adapters.indexed_store import IndexedOutcomes, IndexedStore
from gateway.adapters.sqlite import Database as SqliteDatabase
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.tinydb_cache import ReadCache, UnusableCacheError
from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.errors import StoreUnavailable
from gateway.feed import Feed
from gateway.handler import Handler
from gateway.intake import Intake
from gateway.messages import NO_STREAM
from gateway.parking import Parking, ParkingLimits
from gateway.pipeline import Pipeline, PipelineParts
from gateway.ports import EventStore, Outcomes
from gateway.projection import Projection
from gateway.projector import Projector
from gateway.rate import RateLimit
from gateway.retained import Retained
from gateway.topics import Topics
from tests.simulation.broker import ROOT, Broker
from tests.simulation.disk import (
    CacheFile,
    Database,
    Disk,
    DiskCursors,
    DiskInbox,
    DiskSnapshots,
    DiskVerdicts,
    Process,
)
from tests.simulation.event_log import EmbeddedLog, Log, Memory, RemoteLog
from tests.simulation.faults import LATEST
from tests.simulation.index import FLUSH_INTERVAL, IndexFile, IndexVerdicts, new_index
from tests.simulation.link import Link
from tests.simulation.world import World

OPERATOR = "alice"
TOPICS = Topics(ROOT)
CATALOGUE = Catalogue(DECIDERS)
CODEC = EventCodec(CATALOGUE)
assert NO_STREAM == -1


class Parts:
    """How each part is made. A planted bug makes one of them otherwise."""

    link = Link
    cache = ReadCache
    index = EventIndex

    def store(self, world: World, store: EventStore) -> EventStore:  # noqa: ARG002 - for those who need it
        return store

    def outcomes(self, outcomes: Outcomes) -> Outcomes:
        return outcomes

    def handler(self, handler: Handler) -> Handler:
        return handler

    def pipeline(self, parts: PipelineParts, group: asyncio.TaskGroup, counters: "Counter[str]") -> Pipeline:
        return Pipeline(parts, group, counters)


class Gateway:
    """One life of the gateway.

    Attributes:
        found: how many parked commands an earlier life left behind.
    """

    def __init__(self, number: int, world: World, parts: Parts, outside: "Outside") -> None:
        self.process = Process(number)
        self.pipeline: Pipeline
        self.projector: Projector
        self.parking: Parking
        self.feed: Feed
        self.retained: Retained
        self.cache: ReadCache
        self.running = False
        self.found = 0
        self._counters: Counter[str] = Counter()
        self._world = world
        self._parts = parts
        self._outside = outside
        self._database = Database(world, outside.disk, self.process)
        self._link = parts.link(world, outside.broker, self._next_epoch)
        self._main = world.loop.create_task(self._run(), name=f"gateway {number}")

    @property
    def failed(self) -> BaseException | None:
        """What ended it, if nobody killed it."""
        return self._main.exception() if self._main.done() and not self._main.cancelled() else None

    @property
    def attempts(self) -> int:
        """How often it tried to connect."""
        return self._link.attempts

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has all that it published."""
        return self._link.is_confirmed

    @property
    def lost_answers(self) -> int:
        return self._counters["answers_not_confirmed"]

    @property
    def ended(self) -> bool:
        return self._main.done()

    async def kill(self) -> None:
        """As ``kill -9`` does: whatever its tasks do from now on has no effect."""
        self.process.alive = self.running = False
        self._link.kill()
        self._main.cancel()
        await asyncio.wait((self._main,))

    async def _next_epoch(self) -> int:
        def rise() -> int:
            self._outside.disk.epoch += 1
            return self._outside.disk.epoch

        return await self._database.write(rise)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            store, outcomes = self._storage(group)
            limits = self._world.limits
            self.parking = Parking(
                DiskInbox(self._database), store, self._world, ParkingLimits(limits.parked, limits.parked_per_actor)
            )
            await self.parking.load()
            self.found = self.parking.count
            self.cache = self._open_cache()
            self._build(group, store, outcomes)
            self._connect()
            interval = limits.flush_interval
            for name, work in {
                "link": self._link.run(),
                "projector": self.projector.run(),
                "retained": self.retained.run(),
                "feed": self.feed.run(),
                "feed cursor": self.feed.keep_saved(interval),
                "read cache": self.cache.keep_flushed(interval),
                "inbox": self.parking.forget_finished(),
                "store probe": self.pipeline.probe(),
            }.items():
                group.create_task(work, name=name)
            self.running = True

    def _storage(self, group: asyncio.TaskGroup) -> tuple[EventStore, Outcomes]:
        world, log, parts = self._world, self._outside.log, self._parts
        if not world.limits.embedded and world.limits.indexed:
            remote = RemoteLog(world, log, self.process)
            file = cast("SqliteDatabase", IndexFile(self._database, self._outside.index))
            index = parts.index(file, remote)
            group.create_task(index.keep_flushed(FLUSH_INTERVAL), name="event index")
            verdicts = cast("SqliteOutcomes", IndexVerdicts(self._database))
            return parts.store(world, IndexedStore(remote, index)), parts.outcomes(
                IndexedOutcomes(remote, index, verdicts)
            )
        if world.limits.embedded:
            access: EmbeddedLog | RemoteLog = EmbeddedLog(world, log, self.process, self._database)
        else:
            access = RemoteLog(world, log, self.process)
        memory = Memory(world, access, DiskVerdicts(self._database))
        return parts.store(world, access), parts.outcomes(memory)

    def _open_cache(self) -> ReadCache:
        path = cast("Path", CacheFile(self._outside.disk, self.process, self._outside.on_flush))
        cache = self._parts.cache(path)
        try:
            cache.load()
        except UnusableCacheError:
            cache = self._parts.cache(path)
        return cache

    def _build(self, group: asyncio.TaskGroup, store: EventStore, outcomes: Outcomes) -> None:
        world, limits, link = self._world, self._world.limits, self._link
        snapshots = DiskSnapshots(self._database)
        aggregates = Aggregates(
            store, snapshots, CODEC, capacity=limits.cached_devices, snapshot_every=limits.snapshot_every
        )
        projection = Projection(
            self.cache, CATALOGUE, CODEC, capacity=limits.cached_devices, at_hand=aggregates.at_hand
        )
        self.projector = Projector(store, projection, world)
        self.retained = Retained(link, projection, CATALOGUE, TOPICS, ready=self.projector.caught_up)
        self.projector.listeners.append(self.retained.projected)
        self.feed = Feed(
            store, DiskCursors(self._database), link, catalogue=CATALOGUE, topics=TOPICS, projected=self.projector.at
        )
        handler = Handler(
            store,
            outcomes,
            aggregates,
            partial(CODEC.encode, gateway="gw1"),
            world,
            # a planted store has nothing but what it was planted for
            store.append_new if isinstance(store, EmbeddedLog) else None,
            before_append=self.feed.begin,
            late_until=0.0 if limits.embedded else world.monotonic() + LATEST,
        )
        parts = PipelineParts(
            intake=Intake(TOPICS, CATALOGUE, Access([OperatorRule((OPERATOR,))]), max_payload=4_096),
            rate=RateLimit(limits.rate, burst=5),
            handler=self._parts.handler(handler),
            parking=self.parking,
            publisher=link,
            clock=world,
            reached=self.projector.reached,
            epoch=lambda: link.epoch,
            gateway="gw1",
            deadletter_topic=TOPICS.deadletter,
            patience=limits.patience,
            batch=limits.batch,
        )
        self.pipeline = self._parts.pipeline(parts, group, self._counters)

    def _connect(self) -> None:
        link = self._link

        def accept(delivery: Any) -> None:
            if self.process.alive:
                self.pipeline.accept(delivery)
                self._outside.on_load(self)

        def connected() -> None:
            self.retained.connected()
            self.feed.connected()
            self.pipeline.connected()

        def lost() -> None:
            self.retained.lost()
            self.feed.lost()
            self.pipeline.lost()

        link.accept, link.connected, link.lost = accept, connected, lost


class Outside:
    """What a gateway finds, and leaves behind."""

    def __init__(
        self,
        disk: Disk,
        log: Log,
        broker: Broker,
        on_flush: Callable[[bytes], None],
        on_load: Callable[[Gateway], None],
    ) -> None:
        self.disk = disk
        self.log = log
        self.broker = broker
        self.index = new_index()
        self.on_flush = on_flush
        self.on_load = on_load


async def start(number: int, world: World, parts: Parts, outside: Outside) -> Gateway:
    """A gateway that runs; it is started again for as long as its disk does not let it."""
    while True:
        gateway = Gateway(number, world, parts, outside)
        while not gateway.running and not gateway.ended:
            await world.wait(0.01, 0.02)
        if gateway.running:
            return gateway
        errors = gateway.failed.exceptions if isinstance(gateway.failed, BaseExceptionGroup) else ()
        if not errors or not all(isinstance(error, StoreUnavailable) for error in errors):
            world.broken(f"the gateway cannot start: {gateway.failed!r}")
            return gateway
        await world.wait(0.5, 1.0)
