"""Bugs to be found: each makes one part of the gateway otherwise than it is."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from gateway.adapters.event_index import EventIndex
from gateway.adapters.mqtt_owed import OwedPubacks
from gateway.adapters.tinydb_cache import ReadCache
from gateway.errors import StoreUnavailable
from gateway.handler import Handler
from gateway.messages import Answer, Appended, NewEvent, Outcome, Request, Verdict
from gateway.pipeline import Pipeline, PipelineParts
from gateway.ports import EventStore, Outcomes
from tests.simulation.broker import Broker
from tests.simulation.gateway import Parts
from tests.simulation.link import Connection, Link, LinkDelivery
from tests.simulation.world import World

WINDOW: Final = 8
MANY: Final = 4


class _Around:
    """Whatever a bug does not concern goes to the real part."""

    def __init__(self, part: Any) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


class _EagerStore(_Around):
    def __init__(self, part: EventStore, now: Callable[[], datetime]) -> None:
        super().__init__(part)
        self._now = now

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        task = asyncio.ensure_future(self._part.append(stream, expected, events))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return Appended(tuple(self._part.newest + 1 + at for at, _ in enumerate(events)), self._now())


class AcknowledgedBeforeAppended(Parts):
    def store(self, world: World, store: EventStore) -> EventStore:
        return cast("EventStore", _EagerStore(store, world.now))


class _ShortMemory(_Around):
    """Knows no more than so many commands."""

    def __init__(self, part: Any) -> None:
        super().__init__(part)
        self._recent: OrderedDict[UUID, None] = OrderedDict()

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        found: Mapping[UUID, Outcome] = await self._part.find(stream, revision, keys)
        known = {key: outcome for key, outcome in found.items() if key in self._recent}
        for key in keys:
            self._recent[key] = None
            self._recent.move_to_end(key)
            if len(self._recent) > WINDOW:
                self._recent.popitem(last=False)
        return known


class MemoryTooShort(Parts):
    def outcomes(self, outcomes: Outcomes) -> Outcomes:
        return cast("Outcomes", _ShortMemory(outcomes))


class _Forgetful(_Around):
    async def remember(self, verdicts: Sequence[Verdict]) -> None:
        """Not even that."""


class RefusalNotRemembered(Parts):
    def outcomes(self, outcomes: Outcomes) -> Outcomes:
        return cast("Outcomes", _Forgetful(outcomes))


class _CarelessConnection(Connection):
    """Packet ids are looked up in whatever connection there is."""

    newest: ClassVar[dict[Broker, Connection]] = {}

    def __init__(self, world: World, broker: Broker, accept: Callable[[LinkDelivery], None], owed: OwedPubacks) -> None:
        super().__init__(world, broker, accept, owed)
        self.newest.clear()
        self.newest[broker] = self

    def settled(self, delivery: LinkDelivery) -> None:
        wire = self.newest[self._broker].wire
        wire.to_broker(lambda: self._broker.puback(delivery.packet_id))


class _CarelessLink(Link):
    connection_type = _CarelessConnection


class StaleDeliveryAcknowledged(Parts):
    link = _CarelessLink


class _PromisingConnection(Connection):
    """What was on its way when the connection ended counts as arrived."""

    def end(self) -> None:
        for future in self._in_flight.values():
            future.set_result(None)
        self._in_flight.clear()
        super().end()


class _PromisingLink(Link):
    connection_type = _PromisingConnection


class LostAnswerCounted(Parts):
    link = _PromisingLink


class _HastyCache(ReadCache):
    """Says that it has what it does not have yet."""

    async def flush(self) -> None:
        position = self._position
        self._position = position + 1
        try:
            await super().flush()
        finally:
            self._position = max(position, self._position - 1)


class CheckpointAhead(Parts):
    cache = _HastyCache


class _BlindIndex(EventIndex):
    """Relies on what it has heard, though a crash may have cost it that."""

    async def cover(self, stream: str, revision: int) -> None: ...


class IndexNotCompleted(Parts):
    index = _BlindIndex


class _SwappingHandler(_Around):
    """Tries again from the other end."""

    async def handle(self, requests: Sequence[Request]) -> list[Answer]:
        try:
            return cast("list[Answer]", await self._part.handle(requests))
        except StoreUnavailable:
            answers = await self._part.handle(list(reversed(requests)))
            return list(reversed(answers))


class OrderSwappedOnRetry(Parts):
    def handler(self, handler: Handler) -> Handler:
        return cast("Handler", _SwappingHandler(handler))


class _MixingStore(_Around):
    """Where events of one kind are written together, each gets the content of another one."""

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        others = [other for other in events if other.type == events[-1].type]
        events = [replace(event, data=others[-1].data) if event in others else event for event in events]
        return cast("Appended", await self._part.append(stream, expected, events))


class ContentMixedUp(Parts):
    def store(self, world: World, store: EventStore) -> EventStore:  # noqa: ARG002 - as in Parts
        return cast("EventStore", _MixingStore(store))


class _HurriedHandler(_Around):
    """Has no time for the last command of many, and says that it is done."""

    async def handle(self, requests: Sequence[Request]) -> list[Answer]:
        done = requests[:MANY]
        answers = cast("list[Answer]", await self._part.handle(done))
        return [*answers, *(Answer(Outcome(200, one.digest, one.received_at)) for one in requests[MANY:])]


class AcceptedWithoutEffect(Parts):
    def handler(self, handler: Handler) -> Handler:
        return cast("Handler", _HurriedHandler(handler))


class _TrustingHandler(_Around):
    """Takes an append without an answer for one that was not done."""

    async def handle(self, requests: Sequence[Request]) -> list[Answer]:
        self._part._doubts.clear()
        return cast("list[Answer]", await self._part.handle(requests))


class UnansweredAppendNotDone(Parts):
    def handler(self, handler: Handler) -> Handler:
        return cast("Handler", _TrustingHandler(handler))


class _OvertakingPipeline(Pipeline):
    def _must_wait(self, device: str, items: list[Any]) -> bool:  # noqa: ARG002 - as the pipeline asks
        return self._parking.away


class ParkedOvertaken(Parts):
    def pipeline(self, parts: PipelineParts, group: asyncio.TaskGroup, counters: "Counter[str]") -> Pipeline:
        return _OvertakingPipeline(parts, group, counters)


class _HastyPipeline(Pipeline):
    """Lets the broker forget a command before the answer is out."""

    def accept(self, delivery: Any) -> None:
        super().accept(delivery)
        delivery.acknowledge()


class PubackBeforeAnswer(Parts):
    def pipeline(self, parts: PipelineParts, group: asyncio.TaskGroup, counters: "Counter[str]") -> Pipeline:
        return _HastyPipeline(parts, group, counters)


Planted = Callable[[], Parts]
BUGS: Final[Sequence[Planted]] = (
    AcknowledgedBeforeAppended,
    MemoryTooShort,
    RefusalNotRemembered,
    StaleDeliveryAcknowledged,
    LostAnswerCounted,
    CheckpointAhead,
    IndexNotCompleted,
    OrderSwappedOnRetry,
    ContentMixedUp,
    AcceptedWithoutEffect,
    UnansweredAppendNotDone,
    ParkedOvertaken,
    PubackBeforeAnswer,
)
