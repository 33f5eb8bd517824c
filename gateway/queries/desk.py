"""Where queries arrive: each is read, permitted, worked on beside the others, and always answered once.

A query changes nothing, so its PUBACK goes out before it is worked on, and whoever gets no answer asks again. How many
are worked on and wait is bounded; nothing that a query does may delay a command. What is turned away at once is
PUBACKed when the broker has the answer or the dead letter: so a flood waits at the broker, not in our memory.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from math import ceil
from typing import Any, Final

import orjson
import structlog
from pydantic import ValidationError

from gateway.access import Access
from gateway.acks import error_body, reply_properties
from gateway.codes import status_of
from gateway.deadletter import MAX_TOPIC_KEPT, dead_letter
from gateway.errors import (
    BadEnvelope,
    Deferral,
    Fault,
    Invalid,
    LinkLost,
    NoSuchPosition,
    NotFound,
    NotPermitted,
    Overloaded,
    Refusal,
    StoreUnavailable,
    TimedOut,
    TooFast,
    TooLarge,
    UnreadableTopic,
)
from gateway.intake import invalid, read_json
from gateway.messages import ErrorDetail, MessageProperties, ReplyTo
from gateway.ports import Clock, Delivery, Publisher
from gateway.queries.answers import Result
from gateway.queries.parameters import Parameters
from gateway.rate import RateLimit
from gateway.tally import Tally
from gateway.topics import QueryTopic, Topics

log = structlog.get_logger()

AT_ONCE: Final = 4
"""Queries that are worked on; one that only waits for something to happen does not count."""

MOST: Final = 64
MOST_OF_ONE: Final = 16
"""Queries that are taken and not answered yet, in all and of one actor."""

RETRY_AFTER: Final = 1_000
FAULT_RETRY: Final = 5_000

_JSON: Final = MessageProperties(content_type="application/json")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what he may know."""

    actor: str
    access: Access

    def may_see(self, device: str) -> bool:
        """Whether he is this device, or one of its operators."""
        return not self.access.is_stranger(self.actor, device)

    def check(self, device: str) -> None:
        """Refuse what he may not know.

        Raises:
            NotPermitted: he is neither this device nor one of its operators.
        """
        if not self.may_see(device):
            raise NotPermitted(f"{self.actor} is neither {device} nor one of its operators")

    def check_all(self) -> None:
        """Refuse whoever may not know of every device.

        Raises:
            NotPermitted: no rule makes him an operator of all.
        """
        if not self.access.sees_all(self.actor):
            raise NotPermitted(f"{self.actor} is no operator of all devices")


Find = Callable[[Any, Asker], Result | Awaitable[Result]]
"""Answers a query with these parameters; raises a Refusal or StoreUnavailable."""

Table = Mapping[str, tuple[type[Parameters], Find]]
"""Every query by its name."""


@dataclass(frozen=True, slots=True)
class ReadSide:
    """How far the read side is.

    Attributes:
        position: of the last event in the read cache.
        is_stale: whether it is still catching up.
        reached: waits until it has a position, at most so many seconds; raises TimedOut.
    """

    position: Callable[[], int]
    is_stale: Callable[[], bool]
    reached: Callable[[int, float], Awaitable[None]]


class QueryDesk:
    """Takes queries, and answers each once."""

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        table: Table,
        side: ReadSide,
        publisher: Publisher,
        group: asyncio.TaskGroup,
        *,
        topics: Topics,
        access: Access,
        rate: RateLimit,
        clock: Clock,
        counters: "Counter[str]",
        max_payload: int,
    ) -> None:
        self._table = table
        self._side = side
        self._publisher = publisher
        self._group = group
        self._topics = topics
        self._access = access
        self._rate = rate
        self._clock = clock
        self._tally = Tally(counters, clock.monotonic)
        self._max_payload = max_payload
        self._free = asyncio.Semaphore(AT_ONCE)
        self._taken: Counter[str] = Counter()

    def accept(self, delivery: Delivery) -> None:
        """Take a query. Total: whatever it holds, it is answered; if its topic names nobody, it is a dead letter."""
        try:
            topic = self._topics.parse_query(delivery.topic)
        except UnreadableTopic as error:
            buried = self._bury(delivery, "unreadable-topic", str(error))
            buried.add_done_callback(partial(_settle, delivery))
            return
        reply, misdirected = self._reply_to(delivery, topic)
        refusal = self._turned_away(topic.actor) or misdirected
        if refusal is not None:
            self._answer(topic, reply, refusal).add_done_callback(partial(_settle, delivery))
            return
        delivery.acknowledge()
        self._taken[topic.actor] += 1
        self._group.create_task(self._work(delivery, topic, reply), name=f"query {topic.query}")

    def _turned_away(self, actor: str) -> Refusal | None:
        """Why an actor may not ask just now."""
        wait = self._rate.take(actor, self._clock.monotonic())
        if wait:
            return TooFast(f"{actor} asks too fast", retry_after_ms=ceil(wait * 1_000))
        if self._taken.total() >= MOST or self._taken[actor] >= MOST_OF_ONE:
            return Overloaded("too many queries wait", retry_after_ms=RETRY_AFTER)
        return None

    async def _work(self, delivery: Delivery, topic: QueryTopic, reply: ReplyTo) -> None:
        found: Result | Refusal
        try:
            found = await self._find(delivery, topic)
        except Refusal as refusal:
            found = refusal
            if isinstance(refusal, BadEnvelope | TooLarge):
                self._bury(delivery, refusal.type, refusal.message, topic.actor)
        except NoSuchPosition as error:
            found = Invalid(str(error), field="after")
        except StoreUnavailable as error:
            found = Overloaded(str(error), retry_after_ms=RETRY_AFTER)
        except Exception as error:
            log.exception("query_fault", query=topic.query, actor=topic.actor)
            self._bury(delivery, "gateway-fault", repr(error), topic.actor)
            found = Fault("a fault in the gateway", retry_after_ms=FAULT_RETRY)
        # until the broker has it, an answer takes memory, and so the place of another
        self._answer(topic, reply, found).add_done_callback(partial(self._leave, topic.actor))

    def _leave(self, actor: str, _answered: "asyncio.Future[None]") -> None:
        self._taken -= Counter((actor,))

    def _bury(self, delivery: Delivery, reason: str, message: str, actor: str = "") -> "asyncio.Future[None]":
        self._tally.buried(actor, reason, topic=delivery.topic[:MAX_TOPIC_KEPT], message=message)
        letter = dead_letter(delivery, reason, message, self._clock.now())
        return self._publisher.publish(self._topics.deadletter, letter, properties=_JSON)

    async def _find(self, delivery: Delivery, topic: QueryTopic) -> Result:
        known = self._table.get(topic.query)
        if known is None:
            raise NotFound(f"there is no query {topic.query}", type="unknown-query")
        model, find = known
        parameters = self._read(model, delivery.payload, topic.query)
        may_wait = getattr(parameters, "wait_ms", 0)
        try:
            async with asyncio.timeout((parameters.timeout_ms + may_wait) / 1_000):
                if parameters.min_position is not None:
                    await self._side.reached(parameters.min_position, parameters.timeout_ms / 1_000)
                async with nullcontext() if may_wait else self._free:
                    found = find(parameters, Asker(topic.actor, self._access))
                    return await found if isawaitable(found) else found
        except TimeoutError:
            raise TimedOut(f"no answer within {parameters.timeout_ms} ms") from None

    def _read(self, model: type[Parameters], payload: bytes, query: str) -> Parameters:
        if len(payload) > self._max_payload:
            raise TooLarge(f"the payload has over {self._max_payload} bytes")
        body = orjson.dumps(read_json(payload))
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise invalid(Invalid, error, query, "") from None

    def _reply_to(self, delivery: Delivery, topic: QueryTopic) -> tuple[ReplyTo, Refusal | None]:
        properties = delivery.properties
        default = self._topics.answer(topic.actor, topic.query)
        wanted = properties.response_topic
        if wanted is None or self._topics.may_be_told_on(wanted, topic.actor):
            return ReplyTo(wanted or default, properties.correlation_data), None
        below = self._topics.answer(topic.actor, "")
        refusal = NotPermitted(
            f"a Response Topic must lie below {below}, be of moderate length, and printable",
            type="response-topic-not-permitted",
        )
        return ReplyTo(default, properties.correlation_data), refusal

    def _answer(self, topic: QueryTopic, reply: ReplyTo, found: Result | Refusal) -> "asyncio.Future[None]":
        refusal = found if isinstance(found, Refusal) else None
        self._tally.asked(topic, refusal, is_known=topic.query in self._table)
        body: dict[str, Any] = {
            "query": topic.query,
            "actor": topic.actor,
            "position": self._side.position(),
            "as_of": self._clock.now(),
            "stale": self._side.is_stale(),
        }
        code = 200
        if isinstance(found, Refusal):
            code = found.code
            body["error"] = error_body(ErrorDetail(found.type, found.message, found.field, found.value))
            if isinstance(found, Deferral):
                body["retry_after_ms"] = found.retry_after_ms
        else:
            body["result"] = found.value
            if found.next is not None:
                body["next"] = found.next
        payload = orjson.dumps({**body, "status": status_of(code), "code": code}, option=orjson.OPT_UTC_Z)
        published = self._publisher.publish(reply.topic, payload, properties=reply_properties(reply, code))
        published.add_done_callback(partial(_look, topic.query))
        return published


def _settle(delivery: Delivery, published: "asyncio.Future[None]") -> None:
    """What is said of it is with the broker, or refused for good; otherwise it comes again."""
    if not published.cancelled() and not isinstance(published.exception(), LinkLost):
        delivery.acknowledge()


def _look(query: str, published: "asyncio.Future[None]") -> None:
    if not published.cancelled() and (error := published.exception()) is not None:
        # whoever asked asks again
        log.info("query_not_answered", query=query, reason=str(error))
