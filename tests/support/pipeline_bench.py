"""A pipeline between a broker and a handler that do what a test says, and an inbox in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.access import Access, OperatorRule
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.errors import StoreUnavailable, TimedOut
from gateway.intake import Intake
from gateway.latency import Trace, untraced
from gateway.messages import NO_PROPERTIES, Answer, MessageProperties, Outcome, Request
from gateway.parking import Parking, ParkingLimits
from gateway.pipeline import Pipeline, PipelineParts
from gateway.rate import RateLimit
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery, command
from tests.support.fixed_clock import FixedClock
from tests.support.memory_inbox import MemoryInbox
from tests.support.memory_store import MemoryStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCEPTED = Outcome(201, b"", NOW, revision=0, position=1)

Handle = Callable[[Sequence[Request]], Awaitable[list[Answer]]]


class Script:
    """Stands where the handler does, and does what the test says."""

    def __init__(self, handle: Handle, *, is_reading: bool = False) -> None:
        self.handle = handle
        self.reading = is_reading

    def is_reading(self, _request: Request) -> bool:
        return self.reading


class Broker:
    """Collects what is published; each publish is confirmed, or fails, when the test says so."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any], asyncio.Future[None]]] = []
        self.confirms_at_once = True

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: MessageProperties = NO_PROPERTIES
    ) -> asyncio.Future[None]:
        assert not retain
        assert properties.content_type == "application/json"
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.confirms_at_once:
            future.set_result(None)
        self.published.append((topic, orjson.loads(payload), future))
        return future

    def codes(self) -> list[int]:
        return [body["code"] for topic, body, _ in self.published if "/ack/" in topic]

    def letters(self) -> list[str]:
        return [body["reason"] for topic, body, _ in self.published if topic.endswith("/deadletter")]


async def accept_all(requests: Sequence[Request]) -> list[Answer]:
    return [Answer(ACCEPTED) for _ in requests]


async def never_reached(_position: int, _timeout: float) -> None:
    raise TimedOut("not yet")


class Store(MemoryStore):
    """Answers, or is away."""

    away = False

    async def head(self) -> int:
        if self.away:
            raise StoreUnavailable("away")
        return await super().head()


class Bench:
    def __init__(self) -> None:
        self.inbox = MemoryInbox()
        self.store = Store()
        self.patience = 30.0
        self.limits = ParkingLimits(total=100, per_actor=100)
        self.parking: Parking
        self.broker = Broker()
        self.clock = FixedClock(NOW)
        self.counters: Counter[str] = Counter()
        self.trace: Trace = untraced
        self.is_reading = False
        self.pipeline: Pipeline

    @asynccontextmanager
    async def running(
        self, handle: Handle = accept_all, *, rate: float = 0, reached: Any = never_reached
    ) -> AsyncIterator[Pipeline]:
        topics = Topics(ROOT)
        self.parking = Parking(self.inbox, self.store, self.clock, self.limits)
        await self.parking.load()
        parts = PipelineParts(
            intake=Intake(topics, Catalogue(DECIDERS), Access([OperatorRule(("alice",))]), max_payload=1_000),
            rate=RateLimit(rate, burst=1),
            handler=Script(handle, is_reading=self.is_reading),  # type: ignore[arg-type]
            parking=self.parking,
            publisher=self.broker,
            clock=self.clock,
            reached=reached,
            epoch=lambda: 7,
            gateway="gw1",
            deadletter_topic=topics.deadletter,
            patience=self.patience,
            batch=10,
            trace=self.trace,
        )
        async with asyncio.TaskGroup() as group:
            self.pipeline = Pipeline(parts, group, self.counters)
            self.pipeline.connected()
            beside = [group.create_task(work) for work in (self.pipeline.probe(), self.parking.forget_finished())]
            yield self.pipeline
            for task in beside:
                task.cancel()


def report(**envelope: Any) -> FakeDelivery:
    return command("p", "p", "report", {"command_id": "c", "data": {"properties": {"rpm": 1}}, **envelope})
