"""What goes out for each delivery that was taken: its answer or a dead letter, and after it the PUBACK."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog

from gateway.acks import acknowledgement
from gateway.batch import refused
from gateway.deadletter import MAX_TOPIC_KEPT, dead_letter
from gateway.errors import Deferral, LinkLost, PublishRefused, TimedOut
from gateway.latency import Observe, Step, Trace, unobserved, untraced
from gateway.messages import Answer, MessageProperties, ParkedEntry, Request, WaitFor
from gateway.ports import Clock, Delivery, Publisher
from gateway.records import dataclass
from gateway.tally import Tally

log = structlog.get_logger()

PROJECTION_PATIENCE: Final = 5.0
AGAIN_AFTER: Final = 0.05

_JSON = MessageProperties(content_type="application/json")


@dataclass(frozen=True, slots=True)
class Item:
    """A request, and the delivery to acknowledge when it is answered.

    Attributes:
        since: when it was accepted, in monotonic seconds.
        parked: its place in the inbox, if it comes from there.
    """

    delivery: Delivery
    request: Request
    since: float
    parked: ParkedEntry | None = None


@dataclass(frozen=True, slots=True)
class ReplyParts:
    """What replies are made of.

    Attributes:
        reached: waits until the read cache has a position, at most so many seconds; raises TimedOut.
        unsettle: told of a command from the inbox whose answer did not get out.
        epoch: number of the current broker connection.
        observe: told how long each step took.
        trace: told of each answer that the broker has.
    """

    publisher: Publisher
    clock: Clock
    reached: Callable[[int, float], Awaitable[None]]
    unsettle: Callable[[ParkedEntry], None]
    epoch: Callable[[], int]
    gateway: str
    deadletter_topic: str
    observe: Observe = unobserved
    trace: Trace = untraced


class Replies:
    """Publishes, and acknowledges each delivery once the broker has what is said of it.

    Attributes:
        in_flight: deliveries taken and not acknowledged yet.
        counters: what happened how often, by name.
        connected: set while there is a broker that can take answers.
    """

    def __init__(self, parts: ReplyParts, group: asyncio.TaskGroup, counters: "Counter[str]") -> None:
        self.in_flight = 0
        self.counters = counters
        self.connected = asyncio.Event()
        self._parts = parts
        self._group = group
        self._tally = Tally(counters, parts.clock.monotonic)
        self._drained = asyncio.Event()
        self._drained.set()

    def expect(self) -> None:
        """One more is owed."""
        self.in_flight += 1
        self._drained.clear()

    async def drained(self) -> None:
        """Wait until everything taken is acknowledged, or its connection is gone."""
        await self._drained.wait()

    def answer(self, item: Item, answer: Answer) -> None:
        """The answer goes out, at once or when the read cache shows its effect."""
        self._tally.answered(item.request, answer)
        position = answer.outcome.position
        if item.request.wait_for is WaitFor.PROJECTED and position is not None:
            self._group.create_task(self._answer_projected(item, answer, position), name="answer when projected")
        else:
            self._publish(item, answer)

    async def turn_away(self, items: Sequence[Item], why: Deferral) -> None:
        """Ask for commands to be sent again, and wait until the broker has that.

        Were those behind them settled before, and the answer lost, the broker would bring these again, and late.
        """
        refusals = [(item, Answer(refused(why, item.request))) for item in items]
        for item, answer in refusals:
            self._tally.answered(item.request, answer)
        await asyncio.gather(*(self._insist(item, answer) for item, answer in refusals))

    def bury(self, delivery: Delivery, reason: str, message: str, *, actor: str = "", settle: bool = False) -> None:
        """Publish a dead letter; with ``settle`` nothing else is said of the delivery, so it ends with it."""
        self._tally.buried(actor, reason, topic=delivery.topic[:MAX_TOPIC_KEPT], message=message)
        letter = dead_letter(delivery, reason, message, self._parts.clock.now())
        published = self._parts.publisher.publish(self._parts.deadletter_topic, letter, properties=_JSON)
        if settle:
            published.add_done_callback(partial(self._published, delivery, None))

    async def _answer_projected(self, item: Item, answer: Answer, position: int) -> None:
        try:
            await self._parts.reached(position, PROJECTION_PATIENCE)
        except TimedOut as error:
            answer = Answer(refused(error, item.request))
        self._publish(item, answer)

    async def _insist(self, item: Item, answer: Answer) -> None:
        published = self._send(item, answer)
        while await _is_lost(published):
            await asyncio.sleep(AGAIN_AFTER)
            await self.connected.wait()
            published = self._send(item, answer)
        self._published(item.delivery, item.parked, published)
        if _is_confirmed(published):
            self._trace(item, answer)

    def _publish(self, item: Item, answer: Answer) -> None:
        published = self._send(item, answer)
        published.add_done_callback(partial(self._confirmed, item, answer, self._parts.clock.monotonic()))

    def _send(self, item: Item, answer: Answer) -> "asyncio.Future[None]":
        parts = self._parts
        topic, payload, properties = acknowledgement(item.request, answer, gateway=parts.gateway, epoch=parts.epoch())
        return parts.publisher.publish(topic, payload, properties=properties)

    def _confirmed(self, item: Item, answer: Answer, sent: float, published: "asyncio.Future[None]") -> None:
        confirmed = _is_confirmed(published)
        if confirmed:
            now = self._parts.clock.monotonic()
            self._parts.observe(Step.CONFIRM, now - sent, 1)
            self._parts.observe(Step.TOTAL, now - item.since, 1)
        self._published(item.delivery, item.parked, published)
        if confirmed:
            self._trace(item, answer)

    def _trace(self, item: Item, answer: Answer) -> None:
        """Tell whoever follows traces, after the PUBACK: whatever goes wrong there costs no command anything."""
        try:
            self._parts.trace(item.request, answer)
        except Exception:
            log.exception("trace_fault")

    def _published(self, delivery: Delivery, parked: ParkedEntry | None, published: "asyncio.Future[None]") -> None:
        """The broker has the answer: PUBACK. Without a connection there is nobody to tell, and it comes again."""
        error = None if published.cancelled() else published.exception()
        if isinstance(error, PublishRefused):
            # it has been settled: leaving it unacknowledged would only block all those behind it
            log.error("answer_refused_by_broker", topic=delivery.topic, reason=str(error))
            self.counters["answers_refused_by_broker"] += 1
        elif isinstance(error, LinkLost) or published.cancelled():
            self.counters["answers_not_confirmed"] += 1
        if not published.cancelled() and not isinstance(error, LinkLost):
            delivery.acknowledge()
        elif parked is not None:
            # it was PUBACKed when it was parked, so nobody brings it again but we
            self._parts.unsettle(parked)
        self.in_flight -= 1
        if not self.in_flight:
            self._drained.set()


def _is_confirmed(published: "asyncio.Future[None]") -> bool:
    return not published.cancelled() and published.exception() is None


async def _is_lost(published: "asyncio.Future[None]") -> bool:
    await asyncio.wait((published,))
    return not published.cancelled() and isinstance(published.exception(), LinkLost)
