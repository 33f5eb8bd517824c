"""One run: a seed, a gateway, troubles, senders; and what came of it."""

import asyncio
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import orjson
import structlog

from gateway.adapters import tinydb_cache
from gateway.ids import event_id
from gateway.messages import NewEvent
from tests.simulation import faults, laws
from tests.simulation.broker import Broker
from tests.simulation.disk import Disk, replace_in_memory
from tests.simulation.event_log import Log
from tests.simulation.faults import CALM_AFTER, Trouble
from tests.simulation.gateway import Gateway, Outside, Parts, start
from tests.simulation.senders import Ledger, Senders, scripts
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import Limits, Weather, World

PATIENCE: Final = 200.0
"""Seconds within which all is well again, after the last trouble."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run.

    Attributes:
        trace: all that happened.
        faults: the promises that it broke.
    """

    seed: int
    trace: list[tuple[Any, ...]]
    faults: list[str]
    commands: int


def simulate(seed: int, parts: Parts | None = None) -> Run:
    """The run of this seed: the same each time."""
    dice = Random(seed)
    loop = VirtualLoop(dice)
    world = World(seed, dice, loop, Limits.drawn(dice))
    loop.set_exception_handler(lambda _loop, context: world.broken(f"an error that nobody saw: {context}"))
    with _surroundings(world):
        try:
            course = loop.run_until_complete(_Course.begin(world, parts or Parts()))
        finally:
            loop.close()
    return Run(seed, world.trace, world.faults, len(course.ledger.sent))


@contextmanager
def _surroundings(world: World) -> Iterator[None]:
    """What the gateway takes from its surroundings without asking, made to follow from the seed."""
    state, configuration = random.getstate(), structlog.get_config()
    random.seed(world.seed)
    structlog.configure(wrapper_class=_log_of(world), cache_logger_on_first_use=False)
    try:
        with patch.object(tinydb_cache, "_replace", replace_in_memory):
            yield
    finally:
        random.setstate(state)
        structlog.configure(**configuration)


def _log_of(world: World) -> type:
    """The gateway's log, as part of the trace; to render it would take longer than all else."""

    class Log:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def bind(self, **_: Any) -> "Log":
            return self

        def debug(self, *_: Any, **__: Any) -> None: ...

        def info(self, event: str, **fields: Any) -> None:
            world.tell("gateway log", event, *fields.values())

        warning = error = info

        def exception(self, event: str, **fields: Any) -> None:
            world.broken(f"a fault in the gateway: {event} {fields} {sys.exc_info()[1]!r}")

    return Log


class _Course:
    """The run while it goes on."""

    def __init__(self, world: World, parts: Parts) -> None:
        self.world = world
        self.ledger = Ledger()
        self.disk = Disk()
        self.log = Log(world)
        self.senders = Senders(world, self.ledger)
        self.broker = Broker(world, self.senders.hear, self.disk.parked_ever.__contains__, self._is_logged)
        self.senders.broker = self.broker
        self.gateway: Gateway
        self._parts = parts
        self._lives = count(1)
        self._strangers = count(1)
        self._outside = Outside(self.disk, self.log, self.broker, self._flushed, self._loaded)
        self._restarting = asyncio.Lock()

    @classmethod
    async def begin(cls, world: World, parts: Parts) -> "_Course":
        course = cls(world, parts)
        try:
            async with asyncio.timeout(PATIENCE + CALM_AFTER):
                await course._go()
        except TimeoutError:
            course._say_what_is_stuck()
        await course.gateway.kill()
        course._outside.index.close()
        world.faults += laws.broken(course.ledger, course.broker, course.log, ordered=world.limits.ordered)
        return course

    async def _go(self) -> None:
        world = self.world
        await self._start()
        # nobody sends to a gateway that the broker has never seen
        while self.broker.session is None:
            await world.wait(0.01, 0.1)
        troubles = faults.drawn(world.dice, world.limits)
        # somebody has to send for as long as answers get lost
        late = any(trouble.kind == "store loses answers" and trouble.at > faults.LATEST for trouble in troubles)
        pace = world.dice.choice((0.5, 3.0, 3.0) if late else (0.05, 0.5, 3.0))
        async with asyncio.TaskGroup() as group:
            for trouble in troubles:
                group.create_task(self._trouble(trouble))
            group.create_task(self.senders.send_all(scripts(world, pace, troubles)))
        await self._settled()
        world.faults += laws.read_side(self.gateway.cache, self.broker, self.log)
        if self.gateway.failed is not None:
            world.broken(f"the gateway ended: {self.gateway.failed!r}")

    async def _start(self) -> None:
        self.gateway = await start(next(self._lives), self.world, self._parts, self._outside)

    async def _settled(self) -> None:
        """Nothing is under way any more."""
        while not self._is_settled():
            await self.world.wait(0.5, 1.0)

    def _is_settled(self) -> bool:
        gateway, head = self.gateway, len(self.log.events)
        return (
            not gateway.pipeline.in_flight
            and not gateway.parking.count
            and not self.disk.inbox
            and gateway.projector.position == gateway.feed.position == head
            and not gateway.retained.waiting
            and gateway.is_confirmed
            and self.broker.is_idle
        )

    def _say_what_is_stuck(self) -> None:
        world, gateway = self.world, self.gateway
        for key in self.ledger.sent:
            if self.senders.final(key) is None:
                world.broken(f"{key}: has no final answer {PATIENCE:g} s after the last trouble")
        world.broken(
            f"not settled: {gateway.pipeline.in_flight} in flight, {gateway.parking.count} parked, "
            f"{len(self.disk.inbox)} in the inbox, {gateway.projector.position} projected and "
            f"{gateway.feed.position} published of {len(self.log.events)}, {gateway.retained.waiting} to be retained"
        )

    async def _trouble(self, trouble: Trouble) -> None:
        world, weather = self.world, self.world.weather
        await world.until(trouble.at)
        world.tell("TROUBLE", trouble.kind, round(trouble.lasts, 3))
        if trouble.kind == "gateway is killed":
            await self._kill(trouble.lasts)
            return
        if trouble.kind == "broker is away":
            self.broker.cut(skew=0.05)
        if trouble.weather is not None:
            name, value = trouble.weather
            setattr(weather, name, value)
            await world.wait(trouble.lasts, trouble.lasts)
            setattr(weather, name, getattr(_FINE, name))
            return
        {
            "link is cut": self.broker.cut,
            "session is lost": self.broker.lose_session,
            "disk stalls": self._stall_disk,
            "somebody else appends": self._append_strange,
            "cache file is damaged": self._damage_cache,
        }[trouble.kind]()

    async def _kill(self, pause: float) -> None:
        # one after the other, or there would be two gateways on one disk
        async with self._restarting:
            if self.gateway.failed is not None:
                self.world.broken(f"the gateway ended: {self.gateway.failed!r}")
            await self.gateway.kill()
            await self.world.wait(pause, pause)
            await self._start()

    def _append_strange(self) -> None:
        """Another gateway on the same store has had a command for one of the devices."""
        world = self.world
        streams = sorted(stream for stream, events in self.log.streams.items() if events)
        if not streams:
            return
        stream = world.dice.choice(streams)
        device, command_id = stream.partition("-")[2], f"strange-{next(self._strangers)}"
        metadata = {"command_id": command_id, "actor": laws.STRANGER, "command_digest": "00", "v": 1}
        data = {"at": world.now(), "properties": {command_id: 1}}
        event = NewEvent(
            event_id(laws.STRANGER, device, command_id, 0),
            "PropertiesReported",
            orjson.dumps(data),
            orjson.dumps(metadata),
        )
        self.log.append(stream, len(self.log.streams[stream]) - 1, [event], laws.STRANGER)

    def _stall_disk(self) -> None:
        self.world.weather.disk_stall = self.world.dice.uniform(0.1, 6)

    def _damage_cache(self) -> None:
        if self.disk.cache_file is not None:
            self.disk.cache_file = self.world.dice.choice((None, self.disk.cache_file[:-9]))

    def _is_logged(self, id_: str) -> bool:
        return UUID(id_) in self.log.by_id

    def _flushed(self, file: bytes) -> None:
        for fault in laws.checkpoint(file, self.log):
            self.world.broken(fault)

    def _loaded(self, gateway: Gateway) -> None:
        limits = self.world.limits
        # what an earlier life had settled, but not removed yet, is found again; and an answer that a lost connection
        # swallowed puts its command back
        if gateway.parking.count > max(limits.parked, gateway.found) and not gateway.lost_answers:
            self.world.broken(f"{gateway.parking.count} commands are parked, of {limits.parked} allowed")
        # of each connection so many, and the answers to what comes out of the inbox
        most = limits.receive_maximum * gateway.attempts + len(self.disk.inbox)
        if gateway.pipeline.in_flight > most:
            self.world.broken(f"{gateway.pipeline.in_flight} deliveries are in flight")


_FINE: Final = Weather()
