"""The way of a command, as a table of contents: accept → settle → answer. Decides nothing itself.

The order is the contract: append, then acknowledge, then PUBACK. A crash between any two is healed by the broker's
redelivery and by the memory of outcomes.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Final

import structlog

from gateway.acks import acknowledgement, status_of
from gateway.batch import refused
from gateway.deadletter import dead_letter
from gateway.errors import (
    BadEnvelope,
    Fault,
    LinkLost,
    Overloaded,
    PublishRefused,
    StorageFull,
    StoreUnavailable,
    TimedOut,
    TooFast,
    TooLarge,
    UnreadableTopic,
)
from gateway.handler import Handler
from gateway.intake import Intake
from gateway.lanes import Lanes
from gateway.log_limits import RefusalLog
from gateway.messages import Answer, Request, WaitFor
from gateway.ports import Clock, Delivery, MessageProperties, Publisher
from gateway.rate import RateLimit

log = structlog.get_logger()

FIRST_PAUSE: Final = 0.05
PROJECTION_PATIENCE: Final = 5.0
RETRY_AFTER_FAULT: Final = 5_000

_JSON = MessageProperties(content_type="application/json")


@dataclass(frozen=True, slots=True)
class _Item:
    """A request, and the delivery to acknowledge when it is answered."""

    delivery: Delivery
    request: Request


class Pipeline:
    """Takes deliveries, and acknowledges each once its answer is with the broker.

    Attributes:
        in_flight: deliveries accepted and not acknowledged yet.
        counters: what happened how often, by name.
    """

    def __init__(
        self,
        parts: "PipelineParts",
        group: asyncio.TaskGroup,
        counters: "Counter[str]",
    ) -> None:
        self.in_flight = 0
        self.counters = counters
        self._parts = parts
        self._group = group
        self._lanes: Lanes[_Item] = Lanes(group, self._settle, parts.batch)
        self._refusals = RefusalLog(log, parts.clock.monotonic)
        self._stopped = False
        self._drained = asyncio.Event()
        self._drained.set()

    def accept(self, delivery: Delivery) -> None:
        """Take a delivery. Total: whatever it holds, it ends in an acknowledgement or in the dead-letter topic."""
        if self._stopped:
            return  # not acknowledged, so the broker keeps it
        self.in_flight += 1
        self._drained.clear()
        self.counters["received"] += 1
        parts = self._parts
        try:
            # 1. a delivery becomes a request
            request = parts.intake.read_command(delivery, parts.clock.now())
        except UnreadableTopic as error:
            self._bury(delivery, "unreadable-topic", str(error), settle=True)
            return
        except Exception as error:
            log.exception("intake_fault", topic=delivery.topic)
            self._bury(delivery, "gateway-fault", repr(error), settle=True)
            return
        if isinstance(request.refusal, BadEnvelope | TooLarge):
            self._bury(delivery, request.refusal.type, request.refusal.message)
        # 2. behind the others of its device, unless its actor is too fast
        wait = parts.rate.take(request.actor, parts.clock.monotonic())
        if wait:
            too_fast = TooFast(f"{request.actor} sends too fast", retry_after_ms=ceil(wait * 1_000))
            self._answer(_Item(delivery, request), Answer(refused(too_fast, request)))
        else:
            self._lanes.submit(request.device, _Item(delivery, request))

    def stop(self) -> None:
        """Take no more deliveries; what was taken is finished."""
        self._stopped = True

    async def drained(self) -> None:
        """Wait until everything taken is acknowledged, or its connection is gone."""
        await self._drained.wait()

    async def _settle(self, items: list[_Item]) -> None:
        """3. A batch of one device becomes answers: the one place where a fault of ours is caught."""
        requests = [item.request for item in items]
        # each lane is a task, so this binding is its own
        structlog.contextvars.bind_contextvars(
            device=requests[0].device,
            actor=requests[0].actor,
            command_id=requests[0].command_id if len(requests) == 1 else [request.command_id for request in requests],
        )
        try:
            answers = await self._handle(requests)
        except StoreUnavailable as error:
            log.warning("store_unavailable", error=str(error), commands=len(items))
            answers = [Answer(refused(Overloaded(str(error)), request)) for request in requests]
        except Exception as error:
            if len(items) > 1:
                # the others shall not suffer from the one
                for item in items:
                    await self._settle([item])
                return
            log.exception("command_fault", command=requests[0].name)
            self._bury(items[0].delivery, "gateway-fault", repr(error))
            fault = Fault(
                "a fault in the gateway; the command is in the dead-letter topic", retry_after_ms=RETRY_AFTER_FAULT
            )
            answers = [Answer(refused(fault, requests[0]))]
        for item, answer in zip(items, answers, strict=True):
            self._answer(item, answer)

    async def _handle(self, requests: list[Request]) -> list[Answer]:
        """Handle a batch, again and again while the store is away and patience lasts."""
        parts = self._parts
        deadline = parts.clock.monotonic() + parts.patience
        pause = FIRST_PAUSE
        while True:
            try:
                return await parts.handler.handle(requests)
            except StorageFull:
                raise  # waiting does not help
            except StoreUnavailable:
                if parts.clock.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    def _answer(self, item: _Item, answer: Answer) -> None:
        """4. The answer goes out, at once or when the read cache shows its effect."""
        self._count(item.request, answer)
        position = answer.outcome.position
        if item.request.wait_for is WaitFor.PROJECTED and position is not None:
            self._group.create_task(self._answer_projected(item, answer, position), name="answer when projected")
        else:
            self._publish(item, answer)

    async def _answer_projected(self, item: _Item, answer: Answer, position: int) -> None:
        try:
            await self._parts.reached(position, PROJECTION_PATIENCE)
        except TimedOut as error:
            answer = Answer(refused(error, item.request))
        self._publish(item, answer)

    def _publish(self, item: _Item, answer: Answer) -> None:
        topic, payload, properties = acknowledgement(
            item.request, answer, gateway=self._parts.gateway, epoch=self._parts.epoch()
        )
        published = self._parts.publisher.publish(topic, payload, properties=properties)
        published.add_done_callback(partial(self._published, item.delivery))

    def _bury(self, delivery: Delivery, reason: str, message: str, *, settle: bool = False) -> None:
        """Publish a dead letter; with ``settle`` nothing else is said of the delivery, so it ends with it."""
        self.counters["dead_letters"] += 1
        log.warning("dead_letter", reason=reason, topic=delivery.topic, message=message)
        letter = dead_letter(delivery, reason, message, self._parts.clock.now())
        published = self._parts.publisher.publish(self._parts.deadletter_topic, letter, properties=_JSON)
        if settle:
            published.add_done_callback(partial(self._published, delivery))

    def _published(self, delivery: Delivery, published: "asyncio.Future[None]") -> None:
        """5. The broker has the answer: PUBACK. Without a connection there is nobody to tell, and it comes again."""
        error = None if published.cancelled() else published.exception()
        if isinstance(error, PublishRefused):
            # it has been settled: leaving it unacknowledged would only block all those behind it
            log.error("answer_refused_by_broker", topic=delivery.topic, reason=str(error))
            self.counters["answers_refused_by_broker"] += 1
        elif isinstance(error, LinkLost) or published.cancelled():
            self.counters["answers_not_confirmed"] += 1
        if not published.cancelled() and not isinstance(error, LinkLost):
            delivery.acknowledge()
        self.in_flight -= 1
        if not self.in_flight:
            self._drained.set()

    def _count(self, request: Request, answer: Answer) -> None:
        outcome = answer.outcome
        status = status_of(outcome.code)
        self.counters[f"commands_{status}"] += 1
        if answer.duplicate:
            self.counters["duplicates"] += 1
        if outcome.error is None:
            log.debug(
                "command_settled",
                command_id=request.command_id,
                device=request.device,
                command=request.name,
                actor=request.actor,
                code=outcome.code,
                revision=outcome.revision,
                duplicate=answer.duplicate,
            )
        else:
            self.counters[f"refused_{outcome.code}_{outcome.error.type}"] += 1
            self._refusals.refused(request, outcome)


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What the pipeline is put together from.

    Attributes:
        reached: waits until the read cache has a position, at most so many seconds; raises TimedOut.
        epoch: number of the current broker connection.
        patience: seconds that a command waits for the store before it is deferred.
        batch: most commands of one device that are decided together.
    """

    intake: Intake
    rate: RateLimit
    handler: Handler
    publisher: Publisher
    clock: Clock
    reached: Callable[[int, float], Awaitable[None]]
    epoch: Callable[[], int]
    gateway: str
    deadletter_topic: str
    patience: float
    batch: int
