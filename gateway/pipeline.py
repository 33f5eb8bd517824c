"""The way of a command, as a table of contents: accept → settle or park → answer. Decides nothing itself.

The order is the contract: append, then acknowledge, then PUBACK. A crash between any two is healed by the broker's
redelivery and by the memory of outcomes. What cannot be appended because the store is away is parked, then answered
as deferred, then PUBACKed; it goes the same way again when the store is back.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Final

import structlog

from gateway.batch import refused
from gateway.errors import (
    BadEnvelope,
    Fault,
    LongHistory,
    Overloaded,
    StorageFull,
    StoreUnavailable,
    TooFast,
    TooLarge,
    UnreadableTopic,
)
from gateway.handler import Handler
from gateway.intake import Intake
from gateway.lanes import Lanes
from gateway.latency import Observe, Step, Trace, unobserved, untraced
from gateway.log import concerning
from gateway.messages import Answer, Outcome, Request
from gateway.parking import ParkedDelivery, Parking
from gateway.patience import Patience
from gateway.ports import Clock, Delivery, Publisher
from gateway.rate import RateLimit
from gateway.replies import Item, Replies, ReplyParts

log = structlog.get_logger()

FIRST_PAUSE: Final = 0.05
RETRY_AFTER_FAULT: Final = 5_000
DEFERRED: Final = 202


class Pipeline:
    """Takes deliveries, and acknowledges each once its answer is with the broker."""

    def __init__(
        self,
        parts: "PipelineParts",
        group: asyncio.TaskGroup,
        counters: "Counter[str]",
    ) -> None:
        self._parts = parts
        self._parking = parts.parking
        self._replies = Replies(
            ReplyParts(
                parts.publisher,
                parts.clock,
                parts.reached,
                parts.parking.unsettle,
                parts.epoch,
                parts.gateway,
                parts.deadletter_topic,
                parts.observe,
                parts.trace,
            ),
            group,
            counters,
        )
        # None only wakes a lane up: something is parked for its device
        self._lanes: Lanes[Item | None] = Lanes(group, self._work, parts.batch)
        self._patience = Patience()
        self._stopped = False

    def accept(self, delivery: Delivery) -> None:
        """Take a delivery. Total: whatever it holds, it ends in an acknowledgement or in the dead-letter topic."""
        if self._stopped:
            return  # not acknowledged, so the broker keeps it
        self._replies.expect()
        self._replies.counters["received"] += 1
        parts = self._parts
        now = parts.clock.monotonic()
        try:
            # 1. a delivery becomes a request
            request = parts.intake.read_command(delivery, parts.clock.now())
        except UnreadableTopic as error:
            self._replies.bury(delivery, "unreadable-topic", str(error), settle=True)
            return
        except Exception as error:
            log.exception("intake_fault", topic=delivery.topic)
            self._replies.bury(delivery, "gateway-fault", repr(error), settle=True)
            return
        parts.observe(Step.INTAKE, parts.clock.monotonic() - now, 1)
        # 2. behind the others of its device, unless its actor is too fast
        item = Item(delivery, request, now)
        wait = parts.rate.take(request.actor, now)
        if wait:
            too_fast = TooFast(f"{request.actor} sends too fast", retry_after_ms=ceil(wait * 1_000))
            self._replies.answer(item, Answer(refused(too_fast, request)))
            return
        if isinstance(request.refusal, BadEnvelope | TooLarge):
            self._replies.bury(delivery, request.refusal.type, request.refusal.message, actor=request.actor)
        self._lanes.submit(request.device, item)

    @property
    def in_flight(self) -> int:
        """Deliveries accepted and not acknowledged yet."""
        return self._replies.in_flight

    @property
    def oldest_batch(self) -> int | None:
        """Number of the batch that has been worked on longest; see :class:`~gateway.lanes.Lanes`."""
        return self._lanes.oldest

    def stop(self) -> None:
        """Take no more deliveries; what was taken is finished."""
        self._stopped = True

    async def drained(self) -> None:
        """Wait until everything taken is acknowledged, or its connection is gone."""
        await self._replies.drained()

    def connected(self) -> None:
        """There is a broker that can take answers: whatever is parked goes on."""
        self._replies.connected.set()
        for device in self._parking.devices:
            self._wake(device)

    def lost(self) -> None:
        """There is none."""
        self._replies.connected.clear()

    async def probe(self) -> None:
        """Find out when a store that is away is back, for ever."""
        await self._parking.probe(self._wake)

    def _wake(self, device: str) -> None:
        self._lanes.submit(device, None)

    async def _work(self, device: str, items: list[Item | None]) -> None:
        """3. A lane's turn: what has come, behind what is parked, then some of what is parked."""
        fresh = [item for item in items if item is not None]
        if fresh and self._must_wait(device, fresh):
            await self._park(fresh, self._parking.reason)
        elif fresh:
            await self._settle(fresh)
        if self._parking.holds(device) and self._may_resume() and await self._resume(device):
            self._wake(device)

    def _must_wait(self, device: str, items: list[Item]) -> bool:
        # what the intake refused is settled without the store, unless something older of its device waits for it
        away = self._parking.away and any(item.request.decider is not None for item in items)
        return self._parking.holds(device) or away

    def _may_resume(self) -> bool:
        return self._replies.connected.is_set() and not self._parking.away and not self._stopped

    async def _resume(self, device: str) -> bool:
        """Settle some of what is parked for a device; whether it got on."""
        parts = self._parts
        try:
            parked = await self._parking.next_of(device, parts.batch)
        except StoreUnavailable as error:
            self._parking.lost(f"the inbox cannot be read: {error}")
            return False
        items = []
        for command in parked:
            delivery = ParkedDelivery(command, partial(self._parking.finish, command.entry))
            request = parts.intake.read_command(delivery, command.received_at, command.command_id)
            items.append(Item(delivery, request, parts.clock.monotonic(), command.entry))
        await self._settle(items)
        return not self._parking.away

    async def _park(self, items: list[Item], reason: str) -> None:
        """Keep commands until the store is back, and say so; what the limits do not allow is to be sent again."""
        kept: Sequence[bool | None] = [None] * len(items)
        try:
            # a payload that is refused for its size is refused again by the first byte that is too many
            most = self._parts.intake.max_payload + 1
            kept = await self._parking.park([(item.delivery, item.request) for item in items], most)
        except StoreUnavailable as error:
            log.warning("not_parked", error=str(error), commands=len(items))
            reason = str(error)
        for item, new in zip(items, kept, strict=True):
            if new is not None:
                deferred = Outcome(DEFERRED, item.request.digest, item.request.received_at)
                self._replies.answer(item, Answer(deferred, duplicate=not new))
        too_many = [item for item, new in zip(items, kept, strict=True) if new is None]
        await self._replies.turn_away(too_many, Overloaded(reason))

    async def _settle(self, items: list[Item]) -> None:
        """4. A batch of one device becomes answers: the one place where a fault of ours is caught."""
        requests = [item.request for item in items]
        # each lane is a task, so this binding is its own
        concerning(requests)
        try:
            answers = await self._handle(items)
        except StorageFull as error:
            if items[0].parked is not None:
                self._parking.lost(str(error))
                return
            self._parking.full(str(error))
            await self._replies.turn_away(items, Overloaded(str(error)))
            return
        except StoreUnavailable as error:
            # what takes long for one device is no trouble of the others; out of the inbox it takes its time
            if not isinstance(error, LongHistory):
                self._parking.lost(str(error))
            if items[0].parked is None:
                await self._park(items, str(error))
            return
        except Exception as error:
            if len(items) > 1:
                # the others shall not suffer from the one
                for item in items:
                    await self._settle([item])
                return
            log.exception("command_fault", command=requests[0].name)
            self._replies.bury(items[0].delivery, "gateway-fault", repr(error))
            fault = Fault(
                "a fault in the gateway; the command is in the dead-letter topic", retry_after_ms=RETRY_AFTER_FAULT
            )
            self._take_out(items[0], turned_away=True)
            await self._replies.turn_away(items, fault)
            return
        for item, answer in zip(items, answers, strict=True):
            self._take_out(item, turned_away=answer.outcome.retry_after_ms is not None)
            self._replies.answer(item, answer)

    def _take_out(self, item: Item, *, turned_away: bool) -> None:
        """Of the inbox, where it comes from there."""
        if item.parked is not None:
            self._parking.settle(item.parked, turned_away=turned_away)
            self._replies.expect()

    async def _handle(self, items: list[Item]) -> list[Answer]:
        """Handle a batch, again and again while the store is away and the patience of the oldest command lasts."""
        parts = self._parts
        requests = [item.request for item in items]
        if items[0].parked is not None:
            answers = await parts.handler.handle(requests)
            self._served()
            return answers
        began = parts.clock.monotonic()
        for item in items:
            parts.observe(Step.QUEUE, began - item.since, 1)
        deadline = items[0].since + parts.patience
        pause = FIRST_PAUSE
        reason = f"no answer within {parts.patience:g} s"
        while True:
            remaining = max(deadline - parts.clock.monotonic(), 0)
            try:
                # whatever is cut off here is found out by the next attempt, or when it comes out of the inbox
                with self._patience.until(asyncio.get_running_loop().time() + remaining):
                    answers = await parts.handler.handle(requests)
            except TimeoutError:
                raise self._too_late(requests[0], reason) from None
            except StorageFull:
                raise  # waiting does not help
            except StoreUnavailable as error:
                if pause > remaining:
                    raise
                reason = str(error)
            else:
                parts.observe(Step.SETTLE, parts.clock.monotonic() - began, len(items))
                if self._parking.since is not None:
                    self._served(wrote=any(one.outcome.persisted_at and not one.duplicate for one in answers))
                return answers
            await asyncio.sleep(pause)
            pause *= 2

    def _too_late(self, request: Request, reason: str) -> StoreUnavailable:
        if self._parts.handler.is_reading(request):
            return LongHistory(f"the device's history takes over {self._parts.patience:g} s to read")
        return StoreUnavailable(reason)

    def _served(self, *, wrote: bool = True) -> None:
        """The store did what it was asked: whoever was turned away meanwhile goes on."""
        was_away = self._parking.away
        self._parking.served(wrote=wrote)
        if was_away:
            # nothing probes for them any more
            for device in self._parking.devices:
                self._wake(device)


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What the pipeline is put together from.

    Attributes:
        reached: waits until the read cache has a position, at most so many seconds; raises TimedOut.
        epoch: number of the current broker connection.
        patience: seconds that a command waits for the store before it is parked.
        batch: most commands of one device that are decided together.
        observe: told how long each step took.
        trace: told of each answer that the broker has.
    """

    intake: Intake
    rate: RateLimit
    handler: Handler
    parking: Parking
    publisher: Publisher
    clock: Clock
    reached: Callable[[int, float], Awaitable[None]]
    epoch: Callable[[], int]
    gateway: str
    deadletter_topic: str
    patience: float
    batch: int
    observe: Observe = unobserved
    trace: Trace = untraced
