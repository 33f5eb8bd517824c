"""What one run has in common: its dice, its time, its weather, and what has been seen so far."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal, TypeVar

START = datetime(2026, 3, 1, 12, tzinfo=UTC)

R = TypeVar("R")


@dataclass(slots=True)
class Weather:
    """What goes wrong at the moment.

    Attributes:
        store: whether the event store answers; ``refusing`` says so at once, ``silent`` only when it is cut off.
        store_loss: how probable it is that a call to it goes wrong on its way there or back.
        write_loss: how probable it is that one that writes does, on top of that.
        disk: whether the gateway's own disk takes what is written to it.
        disk_stall: seconds that the next write takes longer.
        broker_delay: seconds, at most, after which the broker confirms what it has.
        broker_repeats: how probable it is that it confirms a second time.
    """

    store: Literal["there", "refusing", "silent"] = "there"
    store_loss: float = 0.0
    write_loss: float = 0.0
    disk: Literal["fine", "full", "broken"] = "fine"
    disk_stall: float = 0.0
    broker_up: bool = True
    broker_delay: float = 0.0
    broker_repeats: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How large things are in this run: small, so that limits are met.

    Attributes:
        indexed: whether a gateway at a remote store has its real index and memory of outcomes, not the model of them.
        packet_ids: how many the broker has, to be given again as soon as they are free.
        ordered: whether the broker keeps the order of all its messages over connections, as mosquitto does; MQTT asks
            for that only among those of one topic.
    """

    embedded: bool
    devices: int
    receive_maximum: int
    broker_queue: int
    patience: float
    batch: int
    parked: int
    parked_per_actor: int
    rate: float
    cached_devices: int
    snapshot_every: int
    flush_interval: float
    packet_ids: int
    ordered: bool
    indexed: bool

    @classmethod
    def drawn(cls, dice: Random) -> "Limits":
        roomy = dice.random() < 0.7
        receive_maximum = dice.choice((3, 8, 20))
        return cls(
            embedded=dice.random() < 0.4,
            devices=dice.randint(1, 3),
            receive_maximum=receive_maximum,
            broker_queue=dice.choice((8, 100, 1_000)),
            patience=dice.choice((0.3, 1.0, 2.0)),
            batch=dice.choice((1, 3, 64)),
            parked=1_000 if roomy else dice.randint(3, 20),
            parked_per_actor=1_000 if roomy else dice.randint(2, 10),
            rate=dice.choice((0.0, 0.0, 0.0, 2.0)),
            cached_devices=dice.choice((1, 2, 100)),
            snapshot_every=dice.choice((3, 10, 1_000)),
            flush_interval=dice.choice((0.5, 3.0, 10.0)),
            packet_ids=dice.choice((receive_maximum, 65_535)),
            ordered=dice.random() < 0.8,
            indexed=dice.random() < 0.5,
        )


@dataclass
class World:
    """One run.

    Attributes:
        trace: what happened: when, to whom, what.
        faults: the promises that were seen broken while it happened.
    """

    seed: int
    dice: Random
    loop: asyncio.AbstractEventLoop
    limits: Limits
    weather: Weather = field(default_factory=Weather)
    trace: list[tuple[Any, ...]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time())

    def monotonic(self) -> float:
        return self.loop.time()

    def tell(self, *what: Any) -> None:
        self.trace.append((round(self.loop.time(), 6), *what))

    def broken(self, promise: str) -> None:
        self.tell("BROKEN", promise)
        self.faults.append(promise)

    def wait(self, shortest: float, longest: float) -> "asyncio.Future[None]":
        """Some time."""
        future = self.loop.create_future()
        self.loop.call_later(self.dice.uniform(shortest, longest), resolve, future)
        return future

    async def until(self, moment: float) -> None:
        """A moment, if it is not over."""
        if (ahead := moment - self.loop.time()) > 0:
            await self.wait(ahead, ahead)

    def chance(self, probability: float) -> bool:
        return self.dice.random() < probability


def resolve(future: "asyncio.Future[R]", result: R | None = None) -> None:
    if not future.done():
        future.set_result(result)  # type: ignore[arg-type]


def fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever waited may be gone


def settle(future: "asyncio.Future[R]", effect: Callable[[], R]) -> None:
    """Have the effect, and tell whoever still waits."""
    try:
        result = effect()
    except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
        fail(future, error)
    else:
        resolve(future, result)
